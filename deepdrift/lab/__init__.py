"""The teaching bench: data, shifts, trained networks, figures, sliders and exercises.

It may import the whole package; nothing else in the package may import it.
"""

"""The teaching bench: one room per notebook, named like its file, and three shared rooms.

``bench`` (figures, explorers, exercises, evaluation), ``data`` (image sets, shifts) and
``networks`` are shared; what only one notebook needs lies in its room. The lab may import the
whole package; nothing else in the package may import it.
"""

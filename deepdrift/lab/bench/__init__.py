"""What every notebook's room may use: figures, explorers, exercises, evaluation, set-up.

In: arrays and answers. Out: a picture, a slider, a hint, an estimate with its interval. A figure or
a rival that a second notebook needs moves here from its room.
"""

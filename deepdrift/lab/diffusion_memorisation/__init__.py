"""Room of notebook 13: small diffusion models that memorise, or do not, and what gives it away.

In: runs of ``data/build/train_diffusion.py`` on N garments of 16 x 16 pixels. Out: copied samples,
membership, and every statistic that is said to warn, on one axis of training steps.
"""

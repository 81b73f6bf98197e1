"""From scores to p-values, and from many p-values to one.

In: scores of normal samples and of new ones. Out: p-values per sample, thresholds with a stated
false-alarm rate, the drift of a batch. A new rule for a threshold goes to `calibration`, a new way
to combine blocks of scores to `fusion`.
"""

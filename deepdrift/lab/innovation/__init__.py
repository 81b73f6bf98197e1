"""Room of notebook 02b: innovation, the default score by hand, a growing shift."""

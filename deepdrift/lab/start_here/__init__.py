"""Room of notebook 00: one threshold between normal and strange images."""

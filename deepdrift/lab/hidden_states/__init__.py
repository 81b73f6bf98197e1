"""Room of notebook 01: the states of one layer, and what they know."""

"""Room of notebook 02: raw velocity, and why it does not mean danger."""

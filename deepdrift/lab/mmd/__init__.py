"""Room of notebook 06: two-sample tests, by hand and on images."""

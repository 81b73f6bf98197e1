"""Room of notebook 09: maps of what counts for a network, and what a shift does to them."""

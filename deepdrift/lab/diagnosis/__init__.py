"""Room of notebook 05: injected faults, the clinic that judges the diagnosis, and a game."""

"""Room of notebook 02: raw velocity and innovation under a growing shift."""

"""Room of notebook 07: distance from the plane of normal features."""

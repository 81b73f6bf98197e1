"""Room of notebook 04: streams that drift, a live monitor, a race of detectors."""

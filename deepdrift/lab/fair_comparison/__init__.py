"""Room of notebook 08: all detectors on one protocol, and the table that ships."""

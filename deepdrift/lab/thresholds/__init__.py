"""Room of notebook 03: the false-alarm rate that a rule really keeps."""

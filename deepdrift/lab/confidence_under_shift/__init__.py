"""Room of notebook 10: confidence, its calibration and promises while a shift grows."""

"""Room of notebook 12: language models that know and that make things up."""

"""Room of notebook 11: agents with faults, what warns of them, and what a warning is worth.

In: a name from `plants.PLANTS`, one from `faults.FAULTS`, seeds. Out: `simulate.Runs` with the true
states, and tables of alarms and failures (`outcomes`). A new fault is a `faults.Fault` in the
registry; a new plant needs a `plants.Plant` and a policy from ``data/build/train_policies.py``.
"""

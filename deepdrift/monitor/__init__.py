"""One model, watched: states, scores, evidence and alarms tied together.

In: batches. Out: a `Reading` per batch, drift, events, a diagnosis. What needs no model is in
`scorer`; a monitor for a new domain (tokens, episodes) is a module at the top level that uses it.
"""

from deepdrift.monitor.monitor import DeepDriftMonitor

__all__ = ["DeepDriftMonitor"]

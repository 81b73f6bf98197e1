"""Watch a language model answer: how doubtful is an answer, and does that question hold here?

In: a causal decoder, and token ids of prompts and answers, old or just being made. Out: a
`GuardTrace`, the same on every road, and a `Doubt` with two lamps. A new score of an answer goes to
`scores`, a new road to `generating` or `loop`, a new kind of model to `decoder`.
"""

from deepdrift.guard.checks import GuardError
from deepdrift.guard.diagnosis import GuardDiagnosis
from deepdrift.guard.doubt import Doubt
from deepdrift.guard.guard import DeepDriftGuard
from deepdrift.guard.trace import GuardTrace

__all__ = ["DeepDriftGuard", "Doubt", "GuardDiagnosis", "GuardError", "GuardTrace"]

"""Watch an agent act: hidden states and observations along time, with one alarm rate per episode.

In: a policy (torch, stable-baselines3, or a function) and observations one by one, or whole
episodes. Out: `RLDiagnosis`, or numbers in ``info["deepdrift"]`` of a wrapped environment. A new
score of a step goes to `signals`, a new kind of policy to `policies`, of space to `spaces`.
"""

import importlib
from typing import Any

from deepdrift.rl.episodes import Episode, collect_episodes
from deepdrift.rl.monitor import DeepDriftRL
from deepdrift.rl.results import RLCalibration, RLDiagnosis, RLState

__all__ = [
    "DeepDriftRL",
    "Episode",
    "MonitorVectorWrapper",
    "MonitorWrapper",
    "RLCalibration",
    "RLDiagnosis",
    "RLState",
    "collect_episodes",
]


def __getattr__(name: str) -> Any:
    """The wrappers, which need gymnasium, imported when they are first asked for."""
    if name in ("MonitorWrapper", "MonitorVectorWrapper"):
        return getattr(importlib.import_module("deepdrift.rl.wrappers"), name)
    raise AttributeError(f"module 'deepdrift.rl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

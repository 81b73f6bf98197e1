"""The small policies that ship: two hidden layers of 64 units with tanh, then logits or torque."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.lab.data import shipped
from deepdrift.lab.reinforcement_learning.plants import plant


class Policy(nn.Sequential):
    """Observations (N, D) -> logits (N, K), or actions (N, A) within ``[-limit, limit]``.

    Attributes
    ----------
    mean_return : float
        Over 100 episodes with the noise that is always there, after rounding to float32.
    made_by : str
        How it came about.
    """

    mean_return: float
    made_by: str

    def __init__(
        self, n_observations: int, n_outputs: int, *, width: int = 64, limit: float | None = None
    ) -> None:
        super().__init__()
        self.hidden_1 = nn.Linear(n_observations, width)
        self.tanh_1 = nn.Tanh()
        self.hidden_2 = nn.Linear(width, width)
        self.tanh_2 = nn.Tanh()
        self.head = nn.Linear(width, n_outputs)
        if limit is not None:
            self.limit = nn.Hardtanh(-limit, limit)

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """The largest logit's number (N,), or the action (N, A)."""
        outputs = self(observations)
        return outputs if hasattr(self, "limit") else outputs.argmax(dim=1)


def load_policy(name: str, *, root: Any = None) -> Policy:
    """A trained policy in evaluation mode, float32, on the CPU.

    Parameters
    ----------
    name : {"cartpole", "lunarlander", "pendulum"}
    root : path, optional
        See :func:`deepdrift.lab.data.data_folder`.

    Raises
    ------
    LabError
        If the name is unknown.
    DataFileError
        If the file is missing or has been changed.
    """
    from safetensors import safe_open

    plant(name)
    with safe_open(shipped(f"models/policy-{name}.safetensors", root=root), "pt") as file:
        header = file.metadata()
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    n_outputs, width = weights["head.weight"].shape
    limit = float(header["limit"]) if "limit" in header else None
    policy = Policy(weights["hidden_1.weight"].shape[1], n_outputs, width=width, limit=limit)
    policy.load_state_dict(weights)
    policy.mean_return, policy.made_by = float(header["mean_return"]), header["made_by"]
    return policy.eval()

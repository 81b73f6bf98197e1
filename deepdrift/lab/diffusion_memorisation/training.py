"""Train a small diffusion model, step by step, and keep the moving average of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.lab.diffusion_memorisation.noise import LEVELS, add_noise
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet

BATCH, RATE, WARM_UP, AVERAGE = 64, 1e-3, 100, 0.995


class Average:
    """Exponential moving average of the weights; early on it forgets faster."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        decay = min(AVERAGE, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)


class Training:
    """A run: 64 images a step, noise levels uniform, Adam at a constant rate after 100 steps.

    Parameters
    ----------
    images : Tensor, shape (N, 1, 16, 16)
        In [-1, 1].
    seed : int
        Of the first weights, the batches and the noise.

    Attributes
    ----------
    done : int
        Steps so far.
    """

    def __init__(self, images: Tensor, seed: int = 0) -> None:
        self.images, self.done = images, 0
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
            torch.manual_seed(seed)  # noqa: TID251
            self.model = SmallUNet()
        self._optimizer = torch.optim.Adam(self.model.parameters(), RATE)
        self.average = Average(self.model)
        self._generator = torch.Generator().manual_seed(1000 + seed)

    def step(self) -> float:
        """One step; its loss."""
        self.done += 1
        shape, generator = (BATCH, *self.images.shape[1:]), self._generator
        chosen = torch.randint(len(self.images), (BATCH,), generator=generator)
        noise = torch.randn(shape, generator=generator)
        t = torch.randint(LEVELS, (BATCH,), generator=generator)
        self._optimizer.param_groups[0]["lr"] = RATE * min(1.0, self.done / WARM_UP)
        said = self.model(add_noise(self.images[chosen], noise, t), t)
        loss = (said - noise).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.average.update(self.model, self.done)
        return float(loss.detach())

    def averaged(self) -> SmallUNet:
        """A network with the averaged weights, in evaluation mode."""
        model = SmallUNet()
        model.load_state_dict(self.average.weights)
        return model.eval()

    def state(self) -> dict[str, Any]:
        """All that `resume` needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self.average.weights,
            "step": self.done,
            "generator": self._generator.get_state(),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.average.weights, self.done = dict(state["average"]), int(state["step"])
        self._generator.set_state(state["generator"])

"""States of a U-Net along depth and along noise level, one number per image for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.diffusion.inputs import (
    DiffusionError,
    check_images,
    check_levels,
    check_range,
    check_shares,
    check_whole,
)
from deepdrift.diffusion.stages import Stages, _maps, find_stages
from deepdrift.diffusion.steps import StepKey, innovations, steps, velocities
from deepdrift.diffusion.trace import DiffusionTrace
from deepdrift.errors import ForwardError
from deepdrift.scores.innovation import StepPredictor
from deepdrift.states.forward import Quiet, unwrap
from deepdrift.states.layers import find_layer
from deepdrift.states.leaves import listening

LEVELS = (50, 100, 200, 400, 600, 800)
PREDICTIONS = ("epsilon", "v_prediction", "sample")


class DiffusionWatch:
    """Watch a network that predicts the noise in noisy images.

    Parameters
    ----------
    model : nn.Module
        Called as ``model(noisy, levels)``; returns what it predicts, or an object with
        ``sample``, as diffusers' ``UNet2DModel`` does.
    shares : Tensor, shape (T,)
        Share of the variance that is still image at each level, such as
        ``scheduler.alphas_cumprod``.
    levels : sequence of int
        Noise levels to look at.
    stages, bottleneck
        See `find_stages`.
    n_noises : int
        Draws of noise; every image is mixed with the same ones.
    seed : int
    image_range : (float, float)
        That the model was trained on.
    predicts : {"epsilon", "v_prediction", "sample"}
        What the model was trained to predict, as diffusers calls it
        (``scheduler.config.prediction_type``): the noise; the image; or, between them,
        ``sqrt(share) noise - sqrt(1 - share) image`` (Salimans and Ho 2022, appendix D). The loss
        is taken against that, and wrong if this is.

    Examples
    --------
    A network that says that there is no noise: its loss is the mean square of the noise, about 1.

    >>> class Silent(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.down = nn.Sequential(nn.AvgPool2d(2))
    ...         self.mid = nn.Sequential(nn.AvgPool2d(2))
    ...         self.up = nn.Sequential(nn.Upsample(scale_factor=4))
    ...     def forward(self, x, t):
    ...         return 0 * self.up(self.mid(self.down(x)))
    >>> watch = DiffusionWatch(Silent(), torch.linspace(1, 0, 10), levels=[1, 5], n_noises=8)
    >>> trace = watch.read(torch.rand(3, 1, 16, 16) * 2 - 1)
    >>> trace.stages.names, trace.norm.shape
    (('down', 'mid', 'up'), torch.Size([3, 2, 3]))
    >>> bool(((trace.loss - 1).abs() < 0.1).all())
    True
    """

    def __init__(
        self,
        model: nn.Module,
        shares: Tensor,
        *,
        levels: Sequence[int] = LEVELS,
        stages: Sequence[str] | None = None,
        bottleneck: str | None = None,
        n_noises: int = 4,
        seed: int = 0,
        image_range: tuple[float, float] = (-1.0, 1.0),
        predicts: str = "epsilon",
    ) -> None:
        if predicts not in PREDICTIONS:
            raise DiffusionError(
                f"predicts: expected one of {', '.join(PREDICTIONS)}, got {predicts!r}"
            )
        self.predicts = predicts
        self.model = unwrap(model)
        self.shares = check_shares(shares)
        self.levels = tuple(check_levels(levels, len(self.shares)))
        self.n_noises, self.seed = check_whole(n_noises, "n_noises"), check_whole(seed, "seed", 0)
        self.image_range = check_range(image_range)
        self.stages: Stages | None = None
        self._given = stages, bottleneck
        self._quiet = Quiet(self.model)
        self._size: tuple[int, ...] | None = None
        self._predictors: dict[StepKey, StepPredictor] | None = None

    def noise(self, shape: Sequence[int]) -> Tensor:
        """The draws of noise (n_noises, C, H, W) for images of a shape (C, H, W)."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(self.n_noises, *shape, generator=generator)

    def fit(self, images: Tensor, *, batch_size: int = 256) -> DiffusionWatch:
        """Learn what the steps of normal images are like; earlier fits are forgotten.

        Parameters
        ----------
        images : Tensor, shape (N, C, H, W)
            That the model was *not* trained on, if innovation shall tell members.
        """
        new: dict[StepKey, StepPredictor] = {}
        if len(self._checked(images)) < 2:
            raise DiffusionError(
                "images: expected at least 2 to fit on, better some hundreds, got 1"
            )
        for part in images.split(check_whole(batch_size, "batch_size")):
            for draw in self.noise(part.shape[1:]):
                states, _, _ = self._pass(part, draw)
                for key, source, target in steps(states):
                    new.setdefault(key, StepPredictor()).partial_fit(source, target)
        self._predictors = new
        return self

    def read(self, images: Tensor, *, batch_size: int = 256) -> DiffusionTrace:
        """All quantities of some images.

        Raises
        ------
        DiffusionError
            For images of another range, size or kind.
        ForwardError
            Whatever the model raises.
        """
        images, batch_size = self._checked(images), check_whole(batch_size, "batch_size")
        parts = [self._read(part) for part in images.split(batch_size)]
        whole = {
            name: torch.cat([p[name] for p in parts]) if parts[0][name] is not None else None
            for name in parts[0]
        }
        assert self.stages is not None
        return DiffusionTrace(self.levels, self.stages, **whole)

    def _checked(self, images: Tensor) -> Tensor:
        images = check_images(images, "images", *self.image_range)
        size = tuple(images.shape[1:])
        if self._size is not None and size != self._size:
            raise DiffusionError(f"images: expected {self._size} as before, got {size}")
        return images

    def _read(self, images: Tensor) -> dict[str, Any]:
        sums: dict[str, Tensor] = {}
        for draw in self.noise(images.shape[1:]):
            states, norm, loss = self._pass(images, draw)
            found = {"loss": loss, "norm": norm, **velocities(states)}
            if self._predictors is not None:
                found |= innovations(states, self._predictors)
            for name, values in found.items():
                sums[name] = sums.get(name, 0) + values / self.n_noises
        names = ("loss", "norm", "depth_velocity", "level_velocity")
        return {n: sums.get(n) for n in (*names, "depth_innovation", "level_innovation")}

    def _pass(self, images: Tensor, noise: Tensor) -> tuple[list[list[Tensor]], Tensor, Tensor]:
        """States by level and stage (N, C_s); norms (N, K, S); losses (N, K)."""
        like = next((p for p in self.model.parameters() if p.is_floating_point()), images)
        states, norms, losses = [], [], []
        for level in self.levels:
            share = float(self.shares[level])
            noisy = share**0.5 * images + (1 - share) ** 0.5 * noise.to(images)
            given = noisy.to(like.device, like.dtype)
            at = torch.full((len(images),), level, device=like.device)
            if self.stages is None:
                self.stages = self._find(given[:1], at[:1])
            watched = {n: find_layer(self.model, n) for n in self.stages.names}
            with self._quiet(), listening(watched, pick=_maps) as outputs:
                said = self._call(given, at)
            if said.shape != noisy.shape:
                raise DiffusionError(
                    f"model: expected a prediction of shape {tuple(noisy.shape)}, got "
                    f"{tuple(said.shape)}; a model that also predicts a variance, or no noise, "
                    "cannot be read"
                )
            maps = [outputs[n].cpu().double() for n in self.stages.names]
            states.append([m.mean(dim=(2, 3)) for m in maps])
            norms.append(torch.stack([m.square().mean(dim=(1, 2, 3)).sqrt() for m in maps], 1))
            wanted = _target(self.predicts, images, noise, share)
            losses.append((said.cpu().double() - wanted).square().mean(dim=(1, 2, 3)))
        self._size = tuple(images.shape[1:])
        return states, torch.stack(norms, dim=1), torch.stack(losses, dim=1)

    def _find(self, noisy: Tensor, at: Tensor) -> Stages:
        stages, bottleneck = self._given
        with self._quiet():
            return find_stages(
                self.model, lambda: self._call(noisy, at), stages=stages, bottleneck=bottleneck
            )

    def _call(self, noisy: Tensor, at: Tensor) -> Tensor:
        try:
            said = self.model(noisy, at)
        except Exception as error:
            raise ForwardError(
                f"the model refused images of shape {tuple(noisy.shape)}: {error}; it is called "
                "as model(noisy, levels), and a U-Net wants sizes that can be halved often enough"
            ) from error
        said = getattr(said, "sample", said)
        return said[0] if isinstance(said, (tuple, list)) else said


def _target(predicts: str, images: Tensor, noise: Tensor, share: float) -> Tensor:
    """What a perfect model would answer, float64."""
    image, noise = images.detach().cpu().double(), noise.double()
    if predicts == "sample":
        return image
    return noise if predicts == "epsilon" else share**0.5 * noise - (1 - share) ** 0.5 * image

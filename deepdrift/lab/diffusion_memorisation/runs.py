"""One training run: what every checkpoint did, when copying began, and who warned when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError
from deepdrift.lab.diffusion_memorisation.measures import QUANTITIES
from deepdrift.lab.diffusion_memorisation.unet import SIZE

Array = NDArray[Any]
ONSET = 0.1
DIVERGED = 1.05


class RecordError(DeepDriftError, ValueError):
    """A run, or something of a run, that is not recorded."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training run with K checkpoints.

    Attributes
    ----------
    n_images, seed : int
    steps : array, shape (K,)
    copied : array, shape (K, 4)
        Share of copies among 400 samples, its interval, and the same of held-out images.
    twins : array, shape (K, 5)
        Pairs of twins, effective number of images, its interval, radius.
    away : array, shape (K,)
        Median distance of a sample to the nearest of 2,000 held-out images.
    updates, scores : array, shape (K, 4)
        Mean over samples, and AUROC of other samples (larger) against copies, with its interval.
    mean_loss : array, shape (K, 2, L)
        Of members and of held-out images, by noise level.
    auroc : mapping of str to array, shape (K, L, S, 3)
        See `deepdrift.lab.diffusion_memorisation.measures.separations`.
    pictures, nearest : array, shape (K, 12, 16, 16), uint8
        Samples from the same noise in every run, and the nearest training images; empty where
        they do not ship.
    ratios : array, shape (K, 12)
        Distance of these samples to the nearest training image by that to the second nearest.
    """

    n_images: int
    seed: int
    steps: Array
    copied: Array
    twins: Array
    away: Array
    updates: Array
    scores: Array
    mean_loss: Array
    pictures: Array
    nearest: Array
    ratios: Array
    auroc: Mapping[str, Array] = field(repr=False)

    @property
    def name(self) -> str:
        """Such as ``"32 images, seed 0"``."""
        return f"{self.n_images:,} images, seed {self.seed}"

    def place(self, step: int) -> int:
        """Which checkpoint this step is."""
        if step not in self.steps:
            raise RecordError(f"step: expected one of {self.steps.tolist()}, got {step!r}")
        return int(np.flatnonzero(self.steps == step)[0])

    def onset(self, share: float = ONSET) -> float:
        """Step at which so many samples are copies; infinite if never.

        Interpolated between checkpoints in the logarithm of the step.
        """
        return first_crossing(self.steps, self.copied[:, 0], share)

    def first(self, warned: Array) -> float:
        """First checkpoint with a warning, infinite if there is none."""
        return float(self.steps[warned.argmax()]) if warned.any() else float("inf")

    def collision_rings(self) -> Array:
        """Whether twins alone say that no more than 2 N images are drawn from, (K,)."""
        return self.twins[:, 3] <= 2 * self.n_images

    def collision_alarm(self) -> float:
        """The first of these checkpoints."""
        return self.first(self.collision_rings())

    def divergence(self, worse: float = DIVERGED) -> float:
        """First checkpoint behind the smallest held-out loss at which it is 5 % larger."""
        loss = self.mean_loss[:, 1].mean(axis=1)
        late = np.arange(len(loss)) > loss.argmin()
        return self.first(late & (loss > worse * loss.min()))


def first_crossing(steps: Array, values: Array, level: float) -> float:
    """Where a series first reaches a level, interpolated in the logarithm of the steps.

    Examples
    --------
    >>> round(first_crossing(np.array([100, 400]), np.array([0.0, 0.2]), 0.1))
    200
    >>> first_crossing(np.array([100, 400]), np.array([0.0, 0.2]), 0.5)
    inf
    """
    above = np.flatnonzero(values >= level)
    if not len(above):
        return float("inf")
    i = int(above[0])
    if i == 0:
        return float(steps[0])
    a, b = values[i - 1], values[i]
    share = (level - a) / (b - a)
    return float(np.exp(np.log(steps[i - 1]) + share * np.log(steps[i] / steps[i - 1])))


def predict_onset(known: Mapping[int, float], n_images: int) -> float:
    """Onset for another number of images, if it grows in proportion to them.

    The mean of ``onset / n`` over the known runs, times ``n_images`` (Bonnaire et al. 2025).

    Examples
    --------
    >>> predict_onset({32: 640.0, 64: 1280.0}, 512)
    10240.0
    """
    if not known:
        raise RecordError("known: expected at least one run with its onset")
    return n_images * float(np.mean([onset / n for n, onset in known.items()]))


N_SHOWN = 12


def as_run(
    n_images: int,
    seed: int,
    checkpoints: Mapping[int, Mapping[str, Array]],
    train: Array,
    *,
    pictures: bool = True,
) -> Run:
    """A run from what was measured of its checkpoints.

    Parameters
    ----------
    n_images, seed : int
    checkpoints : mapping of step to named arrays
        See `deepdrift.lab.diffusion_memorisation.measures.measure`.
    train : array, shape (n_images, 1, 16, 16)
    pictures : bool
        Whether to keep the pictures.
    """
    tables = [checkpoints[step] for step in sorted(checkpoints)]

    def column(name: str, kind: type = np.float32) -> Array:
        return np.stack([t[name] for t in tables]).astype(kind)

    shown = tables if pictures else []
    return Run(
        n_images, seed, np.array(sorted(checkpoints), np.int32), column("copied"),
        column("twins"), column("away")[:, 0], column("updates"), column("scores"),
        column("mean_loss"),
        np.array([as_bytes(t["images"][:N_SHOWN]) for t in shown], np.uint8),
        np.array([as_bytes(train[t["nearest"][:N_SHOWN]]) for t in shown], np.uint8),
        np.array([t["ratio"][:N_SHOWN] for t in shown], np.float32),
        {k: column(f"auroc/{k}", np.float16) for k in QUANTITIES},
    )  # fmt: skip


def as_bytes(images: Any) -> Array:
    """Images (N, 1, 16, 16) in [-1, 1] as bytes (N, 16, 16).

    Examples
    --------
    >>> as_bytes(np.array([-1.0, 0.2, 1.5, 1.0]).repeat(256).reshape(4, 1, 16, 16))[:, 0, 0]
    array([  0, 153, 255, 255], dtype=uint8)
    """
    images = np.asarray(images).reshape(-1, SIZE, SIZE)
    return ((images.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)

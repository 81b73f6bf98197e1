"""All that is measured of one checkpoint: copies, twins, membership, and the sampler's way.

Fixed before any run was looked at, but for the radius of twins (held-out garments and the run of 32
images with seed 0):

* *Copying*: 400 samples from the same noise for every checkpoint of every run, 50 DDIM steps.
* *Membership*: at most 256 training images against 256 held-out ones, the same noise for all;
  AUROC above 0.5 means that a quantity is larger for held-out images.
* Innovation is fitted on 512 other held-out images.
* Sign, quantity and noise level of a rival are chosen on the run of 32 images with seed 0, at the
  first checkpoint with at least 10 % copies, and spent on the other seeds (`choose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepdrift.diffusion import DiffusionTrace, DiffusionWatch, collisions, copied
from deepdrift.diffusion.watch import LEVELS
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.diffusion_memorisation.noise import sample, signal_shares
from deepdrift.lab.diffusion_memorisation.unet import SIZE

N_SAMPLES, N_STEPS, N_MEMBERS, N_FIT = 400, 50, 256, 512
N_LATE = 10  # last steps of the sampler, in which its updates are compared
QUANTITIES = (
    "loss", "norm", "depth_velocity", "level_velocity", "depth_innovation", "level_innovation",
)  # fmt: skip


def starting_noise(n: int = N_SAMPLES) -> Tensor:
    """Noise (n, 1, 16, 16) that every checkpoint of every run starts from."""
    return torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(13))


@dataclass(frozen=True, eq=False)
class Sampled:
    """Samples, and how the sampler came to them.

    Attributes
    ----------
    images : Tensor, shape (N, 1, 16, 16)
    updates : Tensor, shape (N,)
        Mean length of the change of the estimated image in the last ``N_LATE`` steps.
    scores : Tensor, shape (N,)
        Mean length of the predicted noise in all steps.
    """

    images: Tensor
    updates: Tensor
    scores: Tensor


def draw_samples(model: nn.Module, noise: Tensor, n_steps: int = N_STEPS) -> Sampled:
    """Sample, and keep the lengths of the updates and of the predicted noise."""
    shares, estimates, lengths = signal_shares(), [], []

    def watch(level: int, noisy: Tensor, image: Tensor) -> None:
        share = float(shares[level])
        said = (noisy - share**0.5 * image) / (1 - share) ** 0.5
        lengths.append(said.flatten(1).norm(dim=1))
        estimates.append(image)
        del estimates[: -N_LATE - 1]

    images = sample(model, noise, n_steps, watch)
    changes = [
        (b - a).flatten(1).norm(dim=1) for a, b in zip(estimates, estimates[1:], strict=False)
    ]
    return Sampled(images, torch.stack(changes).mean(dim=0), torch.stack(lengths).mean(dim=0))


def separations(
    members: DiffusionTrace, held_out: DiffusionTrace
) -> dict[str, NDArray[np.float64]]:
    """AUROC with interval of every quantity, noise level and stage: name -> (K, S, 3)."""
    found = {}
    for name in QUANTITIES:
        a, b = (getattr(t, name).flatten(2) if getattr(t, name).ndim == 3 else
                getattr(t, name)[:, :, None] for t in (members, held_out))  # fmt: skip
        table = np.empty((*a.shape[1:], 3))
        for k in range(a.shape[1]):
            for s in range(a.shape[2]):
                e = auroc(a[:, k, s].numpy(), b[:, k, s].numpy())
                table[k, s] = e.value, e.low, e.high
        found[name] = table
    return found


def measure(
    model: nn.Module,
    train: Tensor,
    held_out: Tensor,
    *,
    n_samples: int = N_SAMPLES,
    n_steps: int = N_STEPS,
    n_members: int = N_MEMBERS,
    n_fit: int = N_FIT,
) -> dict[str, NDArray[np.float64]]:
    """Everything about one checkpoint, as named arrays.

    Parameters
    ----------
    model : SmallUNet
    train : Tensor, shape (N, 1, 16, 16)
    held_out : Tensor, shape (>= n_members + n_fit, 1, 16, 16)
    n_samples, n_steps : int
        Samples that are drawn, and steps of the sampler.
    n_members, n_fit : int
        Training images at most and held-out images that are compared, and held-out images on
        which innovation is fitted.
    """
    drawn = draw_samples(model, starting_noise(n_samples), n_steps)
    others, fit = held_out[:n_members], held_out[n_members : n_members + n_fit]
    copies, twins = copied(drawn.images, train, others), collisions(drawn.images)
    watch = DiffusionWatch(model, signal_shares(), levels=LEVELS).fit(fit)
    members, strangers = watch.read(train[:n_members]), watch.read(others)
    away = torch.cdist(drawn.images.flatten(1), held_out.flatten(1)).min(dim=1).values
    found = {
        "copied": np.array([copies.share, copies.low, copies.high, copies.null_share]),
        "ratio": copies.ratio.numpy(),
        "nearest": copies.nearest.numpy(),
        "twins": np.array([twins.twins, twins.effective, twins.low, twins.high, twins.radius]),
        "away": np.array([away.median()]),
        "updates": np.array([drawn.updates.mean(), *_by_copy(drawn.updates, copies.is_copy)]),
        "scores": np.array([drawn.scores.mean(), *_by_copy(drawn.scores, copies.is_copy)]),
        "mean_loss": np.stack([members.loss.mean(dim=0), strangers.loss.mean(dim=0)]),
        "images": drawn.images.numpy(),
    }
    return found | {f"auroc/{k}": v for k, v in separations(members, strangers).items()}


def _by_copy(values: Tensor, is_copy: Tensor) -> tuple[float, float, float]:
    """AUROC of samples that are no copies (larger) against copies; NaN with fewer than five."""
    if min(int(is_copy.sum()), int((~is_copy).sum())) < 5:
        return (float("nan"),) * 3
    e = auroc(values[is_copy].numpy(), values[~is_copy].numpy())
    return e.value, e.low, e.high


def agreement(a: Tensor, b: Tensor) -> float:
    """How alike two networks paint from the same noise: 1 the same pictures, 0 unrelated ones.

    One minus the mean squared distance of the pairs by that of shuffled pairs.

    Examples
    --------
    >>> x = torch.randn(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> agreement(x, x), agreement(x, x.roll(7, 0)) < 0.3
    (1.0, True)
    """
    own = (a - b).flatten(1).double().square().sum(dim=1).mean()
    every = torch.cdist(a.flatten(1).double(), b.flatten(1).double()).square()
    n = len(a)
    others = (every.sum() - every.diagonal().sum()) / (n * (n - 1))
    return float(1 - own / others)


@dataclass(frozen=True)
class Rival:
    """A quantity at one noise level and stage, with the sign that it was given on seed 0.

    Attributes
    ----------
    quantity : str
    level, stage : int
        Places in the tables of `separations`.
    larger_for_members : bool
    """

    quantity: str
    level: int
    stage: int
    larger_for_members: bool

    def of(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """AUROC for members (value, low, high) of tables (..., K, S, 3) of its quantity."""
        found = table[..., self.level, self.stage, :]
        return found if not self.larger_for_members else (1 - found)[..., [0, 2, 1]]


def choose(table: NDArray[np.float64], quantity: str, stages: Sequence[int]) -> Rival:
    """The noise level, stage and sign that separate best in one table (K, S, 3).

    Examples
    --------
    >>> table = np.full((2, 3, 3), 0.5)
    >>> table[1, 2] = 0.2
    >>> choose(table, "norm", [0, 1, 2])
    Rival(quantity='norm', level=1, stage=2, larger_for_members=True)
    """
    gaps = np.abs(table[:, list(stages), 0] - 0.5)
    level, place = np.unravel_index(int(gaps.argmax()), gaps.shape)
    stage = list(stages)[int(place)]
    return Rival(quantity, int(level), stage, bool(table[level, stage, 0] < 0.5))

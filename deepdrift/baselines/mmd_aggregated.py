"""A drift test that needs no bandwidth: the evidence of many, combined before permuting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from deepdrift.baselines.discrepancy import Bandwidth
from deepdrift.baselines.kernels import Kernel, bandwidth_grid, find_kernel
from deepdrift.baselines.mmd import MMDDrift
from deepdrift.baselines.permutation import TIE, GroupSums
from deepdrift.errors import CalibrationError
from deepdrift.states.batches import Forward
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts


class MMDAggregated(MMDDrift):
    """The largest effect size over bandwidths, itself tested by permutation.

    ``T = max_s (MMD^2_s - mean_s) / sd_s`` with mean and standard deviation over the permutations
    and the observed split together. All bandwidths share the permutations, and T is permuted as a
    whole (the max-T principle of Westfall and Young, 1993): the level is exact without splitting
    data or correcting for the number of bandwidths. The median heuristic misses differences at
    scales far from the typical distance; this test does not, and where the heuristic fits, it
    loses little.

    ``combine="fuse"`` takes the statistic of MMD-FUSE instead (Biggs, Schrab and Gretton, NeurIPS
    2023): ``1 / c  log mean_s exp(c MMD^2_s / sqrt(N_s))`` with ``N_s`` the mean of ``k_s^2`` over
    all pooled pairs and ``c = sqrt(n (n - 1))``, n the smaller sample. MMDAgg (Schrab et al., JMLR
    24, 2023) is a third way to the same end: one rejection rule per bandwidth, their common level
    found by permutation.

    Parameters
    ----------
    reference, kernel, n_permutations, alpha, generator, feature_map, layer, layout,
    mask, forward
        As for `MMDDrift`.
    sigma : float or sequence of float, optional
        The bandwidths; by default `bandwidth_grid` of both samples pooled, anew for each test.
    n_bandwidths : int
        Length of that grid.
    combine : {"max", "fuse"}

    Notes
    -----
    Costs about ``n_bandwidths`` times an `MMDDrift` test.

    Examples
    --------
    A comb with teeth at the integers against one shifted by half a tooth: the same distribution
    for a wide kernel, another one for a narrow kernel.

    >>> g = torch.Generator().manual_seed(0)
    >>> def comb(n, shift):
    ...     teeth = torch.randint(-5, 6, (n, 1), generator=g) + shift
    ...     return teeth + 0.1 * torch.randn(n, 1, generator=g)
    >>> normal, shifted = comb(100, 0.0), comb(100, 0.5)
    >>> MMDDrift(normal).test(shifted).is_drift, MMDAggregated(normal).test(shifted).is_drift
    (False, True)
    """

    _kind = "MMDAggregated"
    _name = "aggregated MMD²"
    _saved = (*MMDDrift._saved, "n_bandwidths", "combine")

    def __init__(
        self,
        reference: Any,
        *,
        sigma: Bandwidth = None,
        kernel: str | Kernel = "gaussian",
        n_bandwidths: int = 10,
        combine: Literal["max", "fuse"] = "max",
        n_permutations: int = 100,
        alpha: float = 0.05,
        generator: torch.Generator | int | None = None,
        feature_map: Callable[[Any], Any] | None = None,
        layer: str | None = None,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
    ) -> None:
        if n_bandwidths < 1:
            raise CalibrationError(f"n_bandwidths: expected at least one, got {n_bandwidths!r}")
        if combine not in ("max", "fuse"):
            raise CalibrationError(f"combine: expected 'max' or 'fuse', got {combine!r}")
        self.n_bandwidths, self.combine = int(n_bandwidths), combine
        super().__init__(
            reference,
            sigma=sigma,
            kernel=kernel,
            n_permutations=n_permutations,
            alpha=alpha,
            generator=generator,
            feature_map=feature_map,
            layer=layer,
            layout=layout,
            mask=mask,
            forward=forward,
        )

    def _bandwidths(self, pooled: Tensor, generator: torch.Generator) -> tuple[float, ...]:
        return bandwidth_grid(pooled, self.n_bandwidths, generator=generator)

    def _kernels(self, sigma: tuple[float, ...]) -> list[Callable[[Tensor], Tensor]]:
        kernel = find_kernel(self.kernel)
        return [lambda squared, s=s: kernel(squared, s) for s in sigma]

    def _statistic(self, sums: GroupSums) -> tuple[Tensor, float]:
        values = sums.unbiased()
        return _fused(values, sums) if self.combine == "fuse" else _largest(values, sums)


def _largest(values: Tensor, sums: GroupSums) -> tuple[Tensor, float]:
    """Largest standardised value over bandwidths; (S, B) to (B,), and what rounding may make."""
    rounding = TIE * sums.mean.abs()
    spread = values.std(dim=1, correction=0)
    varies = spread > rounding  # not so for equal samples: such a bandwidth has nothing to say
    if not bool(varies.any()):
        return torch.zeros_like(values[0]), 0.0
    values, spread = values[varies], spread[varies]
    standard = (values - values.mean(dim=1, keepdim=True)) / spread[:, None]
    return standard.amax(dim=0), float((rounding[varies] / spread).max())


def _fused(values: Tensor, sums: GroupSums) -> tuple[Tensor, float]:
    """Soft maximum of MMD-FUSE over bandwidths; (S, B) to (B,), and what rounding may make."""
    size = sums.square.sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    n = min(sums.n, sums.m)
    sharpness = math.sqrt(n * (n - 1))
    fused = torch.logsumexp(sharpness * values / size[:, None], dim=0) - math.log(len(values))
    return fused / sharpness, TIE

"""Drift test by maximum mean discrepancy: do two samples come from one distribution?

The test speaks about samples, never about one input, and the statistic means something only
against its own permutation distribution: two kernels or two feature maps have two scales.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepdrift.baselines.discrepancy import (
    Bandwidth,
    averaged_kernel,
    mmd2_biased,
    mmd2_linear,
    mmd2_unbiased,
)
from deepdrift.baselines.kernels import (
    Kernel,
    as_bandwidths,
    as_generator,
    find_kernel,
    median_heuristic,
)
from deepdrift.baselines.permutation import (
    TIE,
    GroupSums,
    check_permutations,
    decide,
    group_sums,
    random_splits,
)
from deepdrift.baselines.samples import Features
from deepdrift.errors import CalibrationError, StateError
from deepdrift.states.batches import Forward
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts
from deepdrift.states.storage import read_kind, write_tensors

__all__ = ["DriftTest", "MMDDrift", "mmd2_biased", "mmd2_linear", "mmd2_unbiased"]


@dataclass(frozen=True)
class DriftTest:
    """Outcome of a two-sample permutation test.

    Attributes
    ----------
    is_drift : bool
        ``p_value <= alpha``, the same as ``distance >= distance_threshold``.
    p_value : float
        In [1 / (n_permutations + 1), 1]; never 0.
    distance, distance_threshold : float
        Statistic, and the smallest value that would be called drift.
    alpha : float
        Largest probability of calling drift where there is none.
    n_permutations, n_reference, n_test : int
    effect_size : float
        Distance in standard deviations above the mean of its permuted values: the number to
        compare between feature maps, not the distance.
    sigma : tuple of float
        Bandwidths used.
    null : Tensor, shape (n_permutations,)
        Permuted values of the statistic, for a histogram.
    """

    is_drift: bool
    p_value: float
    distance: float
    distance_threshold: float
    alpha: float
    n_permutations: int
    n_reference: int
    n_test: int
    effect_size: float
    sigma: tuple[float, ...]
    statistic: str = "MMD²"
    null: Tensor = field(
        default_factory=lambda: torch.empty(0, device="cpu"), repr=False, compare=False
    )

    def __str__(self) -> str:
        word, verb = ("Drift", "reaches") if self.is_drift else ("No drift found", "is below")
        return (
            f"{word}: {self.statistic} {self.distance:.3g} {verb} its threshold "
            f"{self.distance_threshold:.3g} (p = {self.p_value:.3g}, alpha = {self.alpha:g}, "
            f"{self.n_permutations} permutations, {self.n_reference} reference and {self.n_test} "
            "test samples)."
        )


class MMDDrift:
    """Permutation test of a reference sample against new samples, exact for every sample size.

    Under exchangeability (independent samples of one distribution; not the same images before and
    after a change, which are paired) ``P(is_drift) <= alpha`` holds for every n, kernel and
    number of permutations.

    Parameters
    ----------
    reference : Tensor or array (N, D), N >= 2; or whatever ``feature_map`` takes; or a loader
    sigma : float or sequence of float, optional
        As for `mmd2_unbiased`; by default the `median_heuristic` of both samples pooled, anew for
        each test: permuting the groups does not change it, so the level stays exact.
    kernel : str or callable
        As for `mmd2_unbiased`.
    n_permutations : int
        At least ``1 / alpha - 1``.
    alpha : float
        Level, between 0 and 1.
    generator : torch.Generator or int, optional
        Source of the permutations. A seed (0 by default) gives the same answer at every call; a
        generator is advanced. Global generators are neither used nor changed.
    feature_map : callable or nn.Module, optional
        Turns inputs into features ``(N, D)``, for the reference and for every test.
    layer : str, optional
        Take the pooled state of this layer of the network ``feature_map``. What is odd about it in
        the reference (a state that depends on its batch, or on chance) is said in a warning.
    layout, mask
        How the layer's axes and padding are read, see `deepdrift.record`.
    forward : callable, optional
        ``forward(model, batch)`` runs the network on batches of another form.

    Raises
    ------
    CalibrationError
        For a reference or parameters that cannot define a test.

    Notes
    -----
    Time grows with ``(N + M)^2 (D + n_permutations)``, memory only with ``N + M``: the kernel
    matrix is made in small tiles and never held.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(1)
    >>> normal, shifted = torch.randn(80, 4, generator=g), torch.randn(60, 4, generator=g) + 1
    >>> test = MMDDrift(normal, n_permutations=99).test(shifted)
    >>> test.is_drift, test.p_value
    (True, 0.01)
    """

    _kind = "MMDDrift"
    _name = "MMD²"
    _saved: tuple[str, ...] = ("sigma", "kernel", "n_permutations", "alpha")

    def __init__(
        self,
        reference: Any,
        *,
        sigma: Bandwidth = None,
        kernel: str | Kernel = "gaussian",
        n_permutations: int = 100,
        alpha: float = 0.05,
        generator: torch.Generator | int | None = None,
        feature_map: Callable[[Any], Any] | None = None,
        layer: str | None = None,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
    ) -> None:
        check_permutations(n_permutations, alpha)
        find_kernel(kernel)
        self.sigma, self.kernel = as_bandwidths(sigma), kernel
        self.n_permutations, self.alpha = int(n_permutations), float(alpha)
        self.generator = generator
        self.features = Features(feature_map, layer, layout=layout, mask=mask, forward=forward)
        self.reference = self.features(reference, "reference", minimum=2, error=CalibrationError)

    def test(self, x: Any) -> DriftTest:
        """Compare new samples with the reference.

        Parameters
        ----------
        x : like the reference, at least two samples of its width

        Raises
        ------
        StateError
            For another width, fewer than two samples, NaN or infinity in the samples or the kernel.
        """
        x = self.features(x, "x", minimum=2, width=self.reference.shape[1])
        # The smaller group is the one marked: its sums lose no digits to subtraction.
        first, second = sorted((x, self.reference), key=len)
        pooled, generator = torch.cat([first, second]), as_generator(self.generator)
        sigma = self.sigma or self._bandwidths(pooled, generator)
        members = random_splits(len(first), len(second), self.n_permutations, generator)
        values, slack = self._statistic(group_sums(pooled, members, self._kernels(sigma)))
        if not bool(values.isfinite().all()):
            raise StateError(
                f"x: the kernel gave NaN or infinity (bandwidth {sigma}); choose a sigma near the "
                "distances between samples, or check the kernel function"
            )
        p_value, threshold = decide(values, self.alpha, slack)
        null = values[1:]
        excess, spread = float(values[0] - null.mean()), float(null.std(correction=0))
        return DriftTest(
            is_drift=p_value <= self.alpha,
            p_value=p_value,
            distance=float(values[0]),
            distance_threshold=threshold,
            alpha=self.alpha,
            n_permutations=self.n_permutations,
            n_reference=len(self.reference),
            n_test=len(x),
            effect_size=excess / spread if spread > slack else 0.0,
            sigma=sigma,
            statistic=self._name,
            null=null,
        )

    def _bandwidths(self, pooled: Tensor, generator: torch.Generator) -> tuple[float, ...]:
        return (median_heuristic(pooled, generator=generator),)

    def _kernels(self, sigma: tuple[float, ...]) -> list[Callable[[Tensor], Tensor]]:
        return [averaged_kernel(self.kernel, sigma)]

    def _statistic(self, sums: GroupSums) -> tuple[Tensor, float]:
        """Values of all splits ``(B,)`` and the difference that rounding may make."""
        return sums.unbiased()[0], TIE * float(sums.mean[0].abs())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write reference and settings to a safetensors file; the feature map is not saved.

        Raises
        ------
        CalibrationError
            If the kernel is a function, which cannot be stored.
        """
        if callable(self.kernel):
            raise CalibrationError("kernel: a function cannot be saved; use a kernel's name")
        tensors, seed = {"reference": self.reference}, self.generator
        if isinstance(seed, torch.Generator):
            tensors["generator"], seed = seed.get_state(), None
        header = {k: getattr(self, k) for k in self._saved}
        write_tensors(path, tensors, {"kind": self._kind} | header | {"generator": seed})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        feature_map: Callable[[Any], Any] | None = None,
        layer: str | None = None,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
    ) -> MMDDrift:
        """Inverse of `save`; pass the feature map again if there was one.

        Raises
        ------
        ReferenceFileError
            If the file is missing, damaged, or holds something else.
        """
        tensors, header = read_kind(path, cls._kind)
        header.pop("kind")
        if "generator" in tensors:
            header["generator"] = torch.Generator()
            header["generator"].set_state(tensors["generator"])
        loaded = cls(tensors["reference"], **header)
        loaded.features = Features(feature_map, layer, layout=layout, mask=mask, forward=forward)
        return loaded

"""DIME: distance to the hyperplane that normal features span, and distance inside it.

Sjögren and Trygg, "Out-of-Distribution Example Detection in Deep Neural Networks using Distance
to Modelled Embedding" (arXiv 2108.10673, 2021). Chemometrics knows the two distances as the square
roots of Q (or SPE) and of Hotelling's T^2. Larger means more unusual; every input has its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from deepdrift.baselines.plane import choose_rank, percentile_levels, principal_directions
from deepdrift.baselines.samples import as_sample, join
from deepdrift.errors import CalibrationError, NotFittedError, StateError
from deepdrift.evidence.calibration import combine_p_values, conformal_p_values
from deepdrift.states.storage import read_kind, write_tensors

_FLOOR = 1e-10  # smallest variance inside the plane, relative to the largest
_PART = 2**18  # numbers of a piece of queries: 2 MB
_TINY = 1e-150  # and for a plane on which nothing varies at all


class DIME:
    """Plane of the main directions of normal features, with calibrated distances.

    With the singular value decomposition ``X - mean = U S V^T`` of N normal samples, the plane has
    the smallest rank r for which ``sum_{i <= r} s_i^2 / sum s_i^2`` reaches the threshold.

    Parameters
    ----------
    explained_variance_threshold : float or int
        Share of the variance in (0, 1], or the rank itself, >= 1 (``1`` is rank one, ``1.0`` all
        of the variance).
    n_percentiles : int
        Resolution of the probabilities, >= 2.
    centered : bool
        False puts the plane through the origin instead of the mean, as published in version 1.0.1
        of dime-pytorch: distances then depend on where the origin is.

    Raises
    ------
    CalibrationError
        For a threshold or ``n_percentiles`` outside these ranges.

    Examples
    --------
    Normal points vary along the diagonal of a plane; (1, 0) lies half a diagonal away from it.

    >>> diagonal = torch.linspace(-3, 3, 41)[:, None] * torch.ones(1, 2)
    >>> dime = DIME(0.99).fit(diagonal)
    >>> dime.rank
    1
    >>> round(dime.distance_to_hyperplane([[1.0, 0.0]]).item() ** 2, 12)
    0.5
    """

    def __init__(
        self,
        explained_variance_threshold: float | int = 0.99,
        n_percentiles: int = 5000,
        centered: bool = True,
    ) -> None:
        threshold = explained_variance_threshold
        whole = isinstance(threshold, Integral)
        valid = isinstance(threshold, Real) and not isinstance(threshold, bool)
        if not valid or not (threshold >= 1 if whole else 0 < threshold <= 1):
            raise CalibrationError(
                "explained_variance_threshold: expected a share in (0, 1] or a whole rank >= 1, "
                f"got {threshold!r}"
            )
        if not isinstance(n_percentiles, Integral) or n_percentiles < 2:
            raise CalibrationError(
                f"n_percentiles: expected a whole number >= 2, got {n_percentiles!r}"
            )
        self.explained_variance_threshold = int(threshold) if whole else float(threshold)
        self.n_percentiles, self.centered = int(n_percentiles), bool(centered)
        self._fitted: dict[str, Tensor] = {}
        self._calibration: dict[str, Tensor] = {}

    # ---- fit ----

    def fit(self, x: Any, calibrate_against_trainingset: bool = False) -> DIME:
        """Find the plane; an earlier calibration is dropped.

        Parameters
        ----------
        x : Tensor or array, shape (N, P), N >= 2
            Normal features, finite.
        calibrate_against_trainingset : bool
            Also calibrate with these samples. Their own distances are too small (the plane was
            fitted to them), so false alarms exceed the stated rate: held-out samples are better.

        Raises
        ------
        CalibrationError
            For unusable samples, equal samples, or a rank that they do not span.
        """
        x = as_sample(x, "x", minimum=2, error=CalibrationError)
        mean = x.mean(dim=0)
        origin = mean if self.centered else torch.zeros_like(mean)
        directions, sizes = principal_directions(x, origin)
        shares = sizes.square() / sizes.square().sum()
        rank = choose_rank(shares, self.explained_variance_threshold)
        basis = directions[:, :rank]
        scores = (x - mean) @ basis
        self._fitted = {
            "hyperplane_basis_vectors": basis.contiguous(),
            "explained_variance": shares[:rank].clone(),
            "origin": origin,
            "mean": mean,
            "covariance": scores.T @ scores / (len(x) - 1),
            "n_samples": torch.tensor(len(x), device="cpu"),
        }
        self._calibration = {}
        self._prepare()
        return self.calibrate(x) if calibrate_against_trainingset else self

    def _prepare(self) -> None:
        """Map W of centred scores with ``|W t|`` the distance inside the plane."""
        values, vectors = torch.linalg.eigh(self._fitted["covariance"])
        floor = max(_FLOOR * float(values[-1]), _TINY)
        self._inner = vectors.T / values.clamp(min=floor).sqrt()[:, None]

    @property
    def hyperplane_basis_vectors(self) -> Tensor:
        """Orthonormal directions of the plane, columns, shape (P, r)."""
        return self._need_fit()["hyperplane_basis_vectors"]

    @property
    def explained_variance(self) -> Tensor:
        """Share of the variance along each direction, shape (r,)."""
        return self._need_fit()["explained_variance"]

    @property
    def rank(self) -> int:
        """Number of directions of the plane."""
        return self.hyperplane_basis_vectors.shape[1]

    @property
    def n_samples(self) -> int:
        """Number of samples the plane was fitted to."""
        return int(self._need_fit()["n_samples"])

    # ---- distances ----

    def transform(self, x: Any) -> Tensor:
        """Coordinates ``(N, r)`` inside the plane, float64."""
        origin, basis = self._need_fit()["origin"], self.hyperplane_basis_vectors
        return torch.cat([(part - origin) @ basis for part in self._parts(x)])

    def inverse_transform(self, scores: Any) -> Tensor:
        """Points ``(N, P)`` of the plane with these coordinates."""
        basis = self.hyperplane_basis_vectors
        scores = as_sample(scores, "scores", width=basis.shape[1], finite=False)
        return scores @ basis.T + self._fitted["origin"]

    def residual_sum_of_squares(self, x: Any, dim: int = 1) -> Tensor:
        """Squared distance to the plane: per sample (``dim=1``) or summed per feature (0)."""
        origin, basis = self._need_fit()["origin"], self.hyperplane_basis_vectors

        def squares(part: Tensor) -> Tensor:
            centred = part - origin
            return torch.addmm(centred, centred @ basis, basis.T, alpha=-1).square_().sum(dim=dim)

        parts = [squares(part) for part in self._parts(x)]
        return torch.stack(parts).sum(dim=0) if dim == 0 else torch.cat(parts)

    def distance_to_hyperplane(self, x: Any, return_probabilities: bool = False) -> Tensor:
        """How far each sample lies from the plane, in the units of the features.

        Parameters
        ----------
        x : Tensor or array, shape (N, P)
        return_probabilities : bool
            Instead, the share of calibration samples nearer to the plane: the highest of
            ``n_percentiles`` percentile levels whose percentile the distance reaches; 1 is the
            most unusual.

        Returns
        -------
        Tensor, shape (N,), float64, >= 0
            Infinite (probability 1) for samples that hold NaN or infinity.

        Raises
        ------
        NotFittedError
            Before `fit`, or for probabilities before `calibrate`.
        StateError
            For another width.
        """
        distances = _never_nan(self.residual_sum_of_squares(x).sqrt())
        return self._probabilities(distances, "out") if return_probabilities else distances

    def distance_within_hyperplane(self, x: Any, return_probabilities: bool = False) -> Tensor:
        """How far each sample's projection lies from the mean, in standard deviations.

        Mahalanobis distance of the coordinates with the covariance (divisor N - 1) of the fitted
        samples; parameters and result as for `distance_to_hyperplane`.
        """
        mean, basis = self._need_fit()["mean"], self.hyperplane_basis_vectors
        inner = basis @ self._inner.T
        parts = [((part - mean) @ inner).square_().sum(dim=1).sqrt_() for part in self._parts(x)]
        distances = _never_nan(torch.cat(parts))
        return self._probabilities(distances, "within") if return_probabilities else distances

    # ---- calibration ----

    def calibrate(self, x: Any) -> DIME:
        """Remember the distances of normal samples ``(N, P)`` that were not fitted on.

        Raises
        ------
        CalibrationError
            For no samples, or samples that are not finite.
        NotFittedError
            Before `fit`.
        """
        width = len(self._need_fit()["mean"])
        x = as_sample(x, "x", width=width, error=CalibrationError)
        self._calibration = {
            "out": self.distance_to_hyperplane(x).sort().values,
            "within": self.distance_within_hyperplane(x).sort().values,
        }
        return self

    def p_values(self, x: Any, distance: Literal["out", "within", "both"] = "both") -> Tensor:
        """Conformal p-values: small is unusual, and ``P(p <= alpha) <= alpha`` for a normal sample.

        Parameters
        ----------
        x : Tensor or array, shape (N, P)
        distance : {"out", "within", "both"}
            Distance to the plane, inside it, or both with Bonferroni's correction
            ``min(1, 2 min(p_out, p_within))``.

        Returns
        -------
        Tensor, shape (N,), float64, >= 1 / (n + 1); 0 for NaN or infinity.
        """
        measured = {
            "out": self.distance_to_hyperplane(x),
            "within": self.distance_within_hyperplane(x),
        }
        if distance not in (*measured, "both"):
            raise CalibrationError(
                f"distance: expected 'out', 'within' or 'both', got {distance!r}"
            )
        normal = self._need_calibration()
        p = {k: conformal_p_values(normal[k], d) for k, d in measured.items()}
        if distance == "both":
            return combine_p_values(torch.stack(list(p.values()), dim=1), "bonferroni")
        return p[distance]

    def _probabilities(self, distances: Tensor, key: str) -> Tensor:
        return percentile_levels(self._need_calibration()[key], distances, self.n_percentiles)

    # ---- on disk ----

    def to_tensors(self) -> dict[str, Tensor]:
        """Plane, calibration and settings as named tensors; `from_tensors` restores them."""
        threshold = self.explained_variance_threshold
        kind = torch.int64 if isinstance(threshold, int) else torch.float64
        settings = {
            "threshold": torch.tensor(threshold, dtype=kind, device="cpu"),
            "n_percentiles": torch.tensor(self.n_percentiles, device="cpu"),
            "centered": torch.tensor(self.centered, device="cpu"),
        }
        calibration = {f"calibration.{k}": v for k, v in self._calibration.items()}
        return settings | self._need_fit() | calibration

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> DIME:
        """Inverse of `to_tensors`."""
        tensors = dict(tensors)
        new = cls(*(tensors.pop(k).item() for k in ("threshold", "n_percentiles", "centered")))
        for name, value in tensors.items():
            part, _, rest = name.partition("calibration.")
            (new._calibration if rest else new._fitted)[rest or part] = value
        new._prepare()
        return new

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file."""
        write_tensors(path, self.to_tensors(), {"kind": "DIME"})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DIME:
        """Inverse of `save`.

        Raises
        ------
        ReferenceFileError
            If the file is missing, damaged, or holds something else.
        """
        return cls.from_tensors(read_kind(path, "DIME")[0])

    # ---- checks ----

    def _parts(self, x: Any) -> Iterator[Tensor]:
        """Queries as float64, some rows at a time: one pass through the cache, bounded memory."""
        width = len(self._need_fit()["mean"])
        if not isinstance(x, Tensor | np.ndarray):
            x = join(x, "x")
        x = x.detach() if isinstance(x, Tensor) else torch.as_tensor(x, device="cpu")
        for part in x.split(max(1, _PART // width)) if x.ndim == 2 else (x,):
            yield as_sample(part, "x", minimum=0, width=width, finite=False, error=StateError)

    def _need_fit(self) -> dict[str, Tensor]:
        if not self._fitted:
            raise NotFittedError("DIME: call fit(x) with normal features first")
        return self._fitted

    def _need_calibration(self) -> dict[str, Tensor]:
        self._need_fit()
        if not self._calibration:
            raise NotFittedError("DIME: call calibrate(x) with held-out normal features first")
        return self._calibration


def _never_nan(distances: Tensor) -> Tensor:
    return distances.nan_to_num(nan=math.inf, posinf=math.inf)

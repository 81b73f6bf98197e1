"""Distance of a state to what its layer holds on normal data.

Squared Mahalanobis distance to the nearest class mean with one covariance for all classes
(Lee et al., NeurIPS 2018, eq. 2), per layer; without labels all data form one class.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError, NotFittedError, StateError
from deepdrift.scores.maps import DistanceMap, distance_map
from deepdrift.scores.moments import finite_samples
from deepdrift.scores.velocity import StatesLike, as_states

_ALL = -1  # class number of data without labels; `check_labels` admits none below 0


class _Layer:
    """Labels ``(C,)``, counts and means per class, one scatter within, and the map from them."""

    def __init__(self, labels: Tensor, counts: Tensor, means: Tensor, scatter: Tensor) -> None:
        self.labels, self.counts, self.means, self.scatter = labels, counts, means, scatter
        self._map: DistanceMap | None = None

    @classmethod
    def of(cls, state: Tensor, labels: Tensor) -> _Layer:
        labels, rows, counts = labels.unique(return_inverse=True, return_counts=True)
        x = state.detach().double()
        means = x.new_zeros(len(labels), x.shape[1]).index_add_(0, rows, x) / counts[:, None]
        x = x - means[rows]
        return cls(labels, counts, means, x.T @ x)

    def merge(self, other: _Layer) -> _Layer:
        """Classes side by side as one ``(C, D)``: the update of Chan et al. for all at once."""
        if bool((self.labels == _ALL).any()) != bool((other.labels == _ALL).any()):
            return self.pooled().merge(other.pooled())  # some data have no labels
        labels = torch.cat([self.labels, other.labels]).unique()
        counts, means = zip(*(part._spread(labels) for part in (self, other)), strict=True)
        n, both, gap = counts[0] + counts[1], counts[0] * counts[1] > 0, means[1] - means[0]
        share = counts[1].double() / n
        delta = gap[both] * (counts[0] * share)[both, None].sqrt()
        scatter = (self.scatter + other.scatter).addmm_(delta.T, delta)
        return _Layer(labels, n, means[0] + gap * share[:, None], scatter)

    def _spread(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Counts and means for more labels; zero where this layer has none."""
        rows = torch.searchsorted(labels, self.labels)
        counts = self.counts.new_zeros(len(labels)).index_copy_(0, rows, self.counts)
        means = self.means.new_zeros(len(labels), self.means.shape[1])
        return counts, means.index_copy_(0, rows, self.means)

    def pooled(self) -> _Layer:
        counts = self.counts.double()
        mean = counts @ self.means / self.n
        delta = (self.means - mean) * counts[:, None].sqrt()
        scatter = self.scatter + delta.T @ delta
        return _Layer(
            torch.tensor([_ALL], device="cpu"),
            torch.tensor([self.n], device="cpu"),
            mean[None],
            scatter,
        )

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def map(self, device: torch.device) -> DistanceMap:
        """The solved map on a device, kept for the next call."""
        if self._map is None:
            self._map = distance_map(self.counts, self.means, self.scatter)
        self._map = self._map.to(device)
        return self._map


class LayerDistance:
    """Mahalanobis distance to the nearest class mean, for every watched layer.

    ``d_l = min_c (z_l - m_lc)^T C_l^-1 (z_l - m_lc)`` with the shrunk within-class covariance
    C_l. Sums per class are kept, not samples, so fits on disjoint shards merge exactly.

    Examples
    --------
    Two classes at 0 and 10 with unit variance: a state at 5 belongs to neither.

    >>> g = torch.Generator().manual_seed(0)
    >>> labels = torch.arange(4000) % 2
    >>> z = torch.randn(4000, 1, generator=g) + 10 * labels[:, None]
    >>> distance = LayerDistance().fit({"layer": z}, labels)
    >>> distance.score({"layer": torch.tensor([[0.0], [5.0]])}).round().flatten().tolist()
    [0.0, 25.0]
    """

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}

    @property
    def layers(self) -> list[str]:
        """Names of the fitted layers."""
        return list(self._layers)

    @property
    def widths(self) -> dict[str, int]:
        """Fitted layers and the widths of their states."""
        return {name: len(layer.scatter) for name, layer in self._layers.items()}

    @property
    def n_samples(self) -> int:
        """Number of normal samples seen."""
        return next((layer.n for layer in self._layers.values()), 0)

    @property
    def n_classes(self) -> int:
        """Number of class means per layer."""
        return next((len(layer.labels) for layer in self._layers.values()), 0)

    def fit(self, states: StatesLike, labels: Tensor | None = None) -> LayerDistance:
        """Forget what was seen and learn from normal states, layer -> ``(N, D_l)``.

        Parameters
        ----------
        states : mapping or sequence of Tensor, each (N, D_l)
        labels : Tensor, shape (N,), integers >= 0, optional
            Classes; without them one class.
        """
        self._layers = LayerDistance().partial_fit(states, labels)._layers
        return self

    def partial_fit(self, states: StatesLike, labels: Tensor | None = None) -> LayerDistance:
        """Learn from more normal states; once some came without labels, all form one class."""
        named = {k: finite_samples(v, f"states[{k!r}]").cpu() for k, v in as_states(states).items()}
        if self._layers:
            self._check(named)
        n = len(next(iter(named.values())))
        labels = torch.full((n,), _ALL, device="cpu") if labels is None else check_labels(labels, n)
        layers = {name: _Layer.of(state, labels) for name, state in named.items()}
        if self._layers:
            layers = {name: self._layers[name].merge(new) for name, new in layers.items()}
        self._layers = layers  # all or none
        return self

    def merge(self, other: LayerDistance) -> LayerDistance:
        """Distance fitted on the data of both; neither is changed."""
        if self.widths != other.widths:
            raise StateError(f"other: expected layers of widths {self.widths}, got {other.widths}")
        new = LayerDistance()
        new._layers = {k: layer.merge(other._layers[k]) for k, layer in self._layers.items()}
        return new

    def pooled(self) -> LayerDistance:
        """The same data as one class: exactly what a fit without labels gives."""
        new = LayerDistance()
        new._layers = {k: layer.pooled() for k, layer in self._layers.items()}
        return new

    def maps(self) -> list[DistanceMap]:
        """What `score` does to the state of every layer, on the CPU."""
        return [layer.map(torch.device("cpu")) for layer in self._layers.values()]

    def score(self, states: StatesLike) -> Tensor:
        """Squared distance to the nearest class mean.

        Returns
        -------
        Tensor, shape (N, L), float64, on the CPU, >= 0; NaN or infinite for non-finite states.
        """
        if not self._layers:
            raise NotFittedError("LayerDistance: call fit(states) on normal data first")
        named = as_states(states)
        self._check(named)
        found = [self._layers[k].map(v.device).squared(v) for k, v in named.items()]
        return torch.stack(found, dim=1).cpu()

    def _check(self, states: Mapping[str, Tensor]) -> None:
        found = {k: v.shape[1] for k, v in states.items()}
        if list(found.items()) != list(self.widths.items()):
            raise StateError(f"states: expected layers of widths {self.widths}, got {found}")

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums as named tensors; `from_tensors` restores the distance."""
        tensors = {}
        for i, layer in enumerate(self._layers.values()):
            tensors[f"{i}.labels"], tensors[f"{i}.counts"] = layer.labels, layer.counts
            tensors[f"{i}.means"], tensors[f"{i}.scatter"] = layer.means, layer.scatter
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], layers: list[str]) -> LayerDistance:
        """Inverse of `to_tensors`; ``layers`` gives the names in order."""
        new = cls()
        for i, name in enumerate(layers):
            parts = (tensors[f"{i}.{key}"] for key in ("labels", "counts", "means", "scatter"))
            new._layers[name] = _Layer(*parts)
        return new


def relative_distance(distance: LayerDistance, states: StatesLike) -> Tensor:
    """Distance to the nearest class minus distance to the whole (Ren et al. 2021, eq. 3).

    Both are Mahalanobis distances, with the covariance within classes and that of all samples.
    What is unusual about every class alike cancels; what fits no class remains.

    Parameters
    ----------
    distance : LayerDistance
        Fitted with labels of two classes or more.
    states : mapping or sequence of Tensor, each (N, D_l)

    Returns
    -------
    Tensor, shape (N, L), float64
        Negative for most normal samples; infinite where it cannot be computed.

    References
    ----------
    Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", 2021,
    arXiv 2106.09022.

    Examples
    --------
    Two classes at 0 and 10: the point between them is close to the whole and to no class.

    >>> z = torch.tensor([[-1.0], [1.0], [9.0], [11.0]]).repeat(500, 1)
    >>> distance = LayerDistance().fit({"logit": z}, torch.tensor([0, 0, 1, 1]).repeat(500))
    >>> relative_distance(distance, {"logit": torch.tensor([[0.0], [5.0]])}).round().tolist()
    [[-1.0], [25.0]]
    """
    if distance.n_classes < 2:
        raise NotFittedError(
            f"distance: expected two classes or more, got {distance.n_classes}; fit with labels"
        )
    relative = distance.score(states) - distance.pooled().score(states)
    return torch.where(relative.isnan(), torch.inf, relative)


def check_labels(labels: Tensor, n: int) -> Tensor:
    """Labels as int64 ``(n,)``.

    Raises
    ------
    CalibrationError
        For another shape, fractions, or negative labels.
    """
    labels = torch.as_tensor(labels, device="cpu").detach().cpu()
    if labels.shape != (n,) or labels.is_floating_point() or labels.is_complex():
        raise CalibrationError(
            f"labels: expected {n} integers, got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if bool((labels < 0).any()):
        raise CalibrationError(
            f"labels: expected class numbers >= 0, got {int(labels.min())}; drop those samples or "
            "fit without labels"
        )
    return labels.long().contiguous()

"""The sums behind innovation and distance of a chain of layers, each made once.

Per layer the scatter, per step the scatter between its two layers, and with labels the sum of each
class: all that `deepdrift.scores.maps` needs, and no sample is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError, StateError
from deepdrift.scores.distance import LayerDistance, check_labels
from deepdrift.scores.innovation import Innovation, StepPredictor
from deepdrift.scores.maps import DistanceMap, StepMap, distance_map, step_map
from deepdrift.scores.moments import Moments, finite_samples
from deepdrift.scores.velocity import StatesLike, as_states

_ROWS = 4096  # samples that are float64 at one time
_WIDEST = 40_000  # a covariance of this width takes 13 GB


@dataclass
class _Layer:
    """Sums of ``x - origin``: of vectors, of outer products (lower half), of vectors per class."""

    origin: Tensor
    total: Tensor
    square: Tensor
    per_class: Tensor

    def clone(self) -> _Layer:
        return _Layer(*(v.clone() for v in vars(self).values()))

    def mean(self, n: int) -> Tensor:
        return self.origin + self.total / n

    def class_means(self, counts: Tensor) -> Tensor:
        return self.origin + self.per_class / counts[:, None]

    def comoment(self, n: int) -> Tensor:
        lower = self.square.tril()
        full = lower + lower.tril(-1).T
        return full.addmm_(self.total[:, None], self.total[None], alpha=-1 / n)

    def within(self, n: int, counts: Tensor) -> Tensor:
        """Scatter around the class means: what is left of the comoment."""
        gaps = (self.per_class / counts[:, None] - self.total / n) * counts[:, None].sqrt()
        return self.comoment(n).addmm_(gaps.T, gaps, alpha=-1)


class ChainSums:
    """Running sums of the states of a chain of layers, added to in place.

    They are centred on the mean of the first batch, so that no digit is lost to states far from
    zero. Sums of disjoint shards merge into the sums of all.

    Parameters
    ----------
    with_steps : bool
        Whether the scatter between neighbouring layers is wanted (for `Innovation`).
    breaks : collection of str
        Layers that do not go on from the one before: the first of a second tower, of a decoder,
        of a branch beside another. No step leads into them.

    Examples
    --------
    >>> a = torch.tensor([[0.0], [2.0], [4.0]])
    >>> sums = ChainSums().add({"a": a, "b": 3 * a})
    >>> sums.n, sums.layers
    (3, ['a', 'b'])
    >>> sums.add({"a": a, "b": 3 * a}).n
    6
    """

    def __init__(self, with_steps: bool = True, breaks: Collection[str] = ()) -> None:
        self.with_steps, self.breaks = with_steps, frozenset(breaks)
        self.n = 0
        self.labels: Tensor | None = None  # (C,), ascending; None: all data form one class
        self.counts = torch.empty(0, dtype=torch.float64, device="cpu")  # (C,)
        self._layers: dict[str, _Layer] = {}
        self._cross: dict[int, Tensor] = {}  # number of a layer -> scatter of the step into it
        self._shared = False  # whether another object holds the same tensors

    @property
    def layers(self) -> list[str]:
        """Names of the layers."""
        return list(self._layers)

    @property
    def widths(self) -> dict[str, int]:
        """Layers and the widths of their states."""
        return {name: len(layer.origin) for name, layer in self._layers.items()}

    @property
    def targets(self) -> list[int]:
        """Numbers of the layers that a step leads into."""
        return sorted(self._cross)

    @property
    def n_classes(self) -> int:
        """Number of class means per layer."""
        return 1 if self.labels is None else len(self.labels)

    def add(self, states: StatesLike, labels: Tensor | None = None) -> ChainSums:
        """Add normal states, layer -> ``(N, D_l)``, all or none of them.

        Parameters
        ----------
        states : mapping or sequence of Tensor, each (N, D_l)
        labels : Tensor, shape (N,), integers >= 0, optional
            Once some data came without, all form one class.
        """
        named = {k: finite_samples(v, f"states[{k!r}]") for k, v in as_states(states).items()}
        found = {k: v.shape[1] for k, v in named.items()}
        if self.n and list(found.items()) != list(self.widths.items()):
            raise StateError(f"states: expected layers of widths {self.widths}, got {found}")
        n = len(next(iter(named.values())))
        labels = None if labels is None else check_labels(labels, n)
        self._own(named)
        rows = self._class_rows(labels)
        for part in torch.arange(n, device="cpu").split(_ROWS):
            part = slice(int(part[0]), int(part[-1]) + 1)
            self._add({k: v[part] for k, v in named.items()}, None if rows is None else rows[part])
        self.n += n
        return self

    def _own(self, states: Mapping[str, Tensor]) -> None:
        """Make the tensors that are added to in place, or copy them if they are shared."""
        if not self.n:
            wide = max(states, key=lambda name: states[name].shape[1], default="")
            width = states[wide].shape[1] if states else 0
            if width > _WIDEST:
                raise CalibrationError(
                    f"layer {wide!r}: its state has {width:,} numbers, whose covariance would take "
                    f"{8e-9 * width**2:,.0f} GB; project states with n_channels=256, or average "
                    "positions instead of pooling='flatten'"
                )
            for name, state in states.items():
                origin = state.detach().double().mean(dim=0).cpu()
                d = len(origin)
                square, per_class = origin.new_zeros(d, d), origin.new_zeros(0, d)
                self._layers[name] = _Layer(origin, torch.zeros_like(origin), square, per_class)
            wide = list(self.widths.items()) if self.with_steps else []
            self._cross = {
                i: torch.zeros(wide[i - 1][1], wide[i][1], dtype=torch.float64, device="cpu")
                for i in range(1, len(wide))
                if wide[i][0] not in self.breaks
            }
            self.with_steps = bool(self._cross)
        elif self._shared:
            self._layers = {k: layer.clone() for k, layer in self._layers.items()}
            self._cross = {i: cross.clone() for i, cross in self._cross.items()}
        self._shared = False

    def _class_rows(self, labels: Tensor | None) -> Tensor | None:
        """Row of each sample among the classes; makes room for classes that are new."""
        if labels is None or (self.n and self.labels is None):
            self._pool()
            return None
        known = (
            torch.empty(0, dtype=torch.int64, device="cpu") if self.labels is None else self.labels
        )
        self._spread(torch.cat([known, labels]).unique())
        rows = torch.searchsorted(self.labels, labels.contiguous())
        self.counts = self.counts + torch.bincount(rows, minlength=len(self.labels))
        return rows

    def _pool(self) -> None:
        self.labels, self.counts = None, self.counts[:0]
        for layer in self._layers.values():
            layer.per_class = layer.per_class[:0]

    def _spread(self, labels: Tensor) -> None:
        """Give the sums per class a row for each of these labels."""
        if self.labels is not None and torch.equal(labels, self.labels):
            return
        old = self.counts, *(layer.per_class for layer in self._layers.values())
        new = [v.new_zeros(len(labels), *v.shape[1:]) for v in old]
        if self.labels is not None:
            rows = torch.searchsorted(labels, self.labels)
            new = [v.index_copy_(0, rows, values) for v, values in zip(new, old, strict=True)]
        self.labels, self.counts = labels, new[0]
        for layer, values in zip(self._layers.values(), new[1:], strict=True):
            layer.per_class = values

    def _add(self, states: Mapping[str, Tensor], rows: Tensor | None) -> None:
        before = None
        for i, (name, layer) in enumerate(self._layers.items()):
            x = states[name].detach().cpu().double() - layer.origin
            layer.total += x.sum(dim=0)
            layer.square.addmm_(x.T, x)
            if rows is not None:
                layer.per_class.index_add_(0, rows, x)
            if i in self._cross:
                self._cross[i].addmm_(before.T, x)
            before = x

    def share(self) -> ChainSums:
        """The same sums for another owner; whoever adds to them next makes a copy first."""
        new = ChainSums(self.with_steps, self.breaks)
        vars(new).update(vars(self) | {"_shared": True})
        new._layers = {k: _Layer(**vars(layer)) for k, layer in self._layers.items()}
        new._cross = dict(self._cross)
        self._shared = True
        return new

    def merge(self, other: ChainSums) -> ChainSums:
        """Sums of the data of both; neither is changed.

        Raises
        ------
        StateError
            If the layers, their widths or the kinds of sums differ.
        """
        mine, theirs = ((list(p.widths.items()), p.targets) for p in (self, other))
        if mine != theirs:
            raise StateError(f"other: expected layers of widths {mine[0]}, got {theirs[0]}")
        new, other = self.share(), other.share()
        new._own({})  # copies
        if self.labels is None or other.labels is None:
            new._pool(), other._pool()
        else:
            labels = torch.cat([self.labels, other.labels]).unique()
            new._spread(labels), other._spread(labels)
        gap = None
        for i, (layer, add) in enumerate(
            zip(new._layers.values(), other._layers.values(), strict=True)
        ):
            last, gap = gap, (add.origin - layer.origin, add.total)
            _shift(layer.square, gap, gap, other.n, add.square)
            layer.total += add.total + other.n * gap[0]
            layer.per_class += add.per_class + other.counts[:, None] * gap[0]
            if i in self._cross:
                _shift(new._cross[i], last, gap, other.n, other._cross[i])
        new.n, new.counts = self.n + other.n, new.counts + other.counts
        return new

    def pooled(self) -> ChainSums:
        """The same data as one class: exactly what sums without labels are."""
        new = self.share()
        new._pool()
        return new

    # What follows from the sums

    def maps(
        self, ridge: float = 1e-3, with_distances: bool = True
    ) -> tuple[list[DistanceMap], list[StepMap]]:
        """Distance map of every layer and step map of every step, solved in float64."""
        distances, steps, before = [], [], None
        for i, layer in enumerate(self._layers.values()):
            mean, covariance = layer.mean(self.n), layer.comoment(self.n) / self.n
            if not with_distances:
                pass
            elif self.labels is None:
                counts = torch.tensor([self.n], device="cpu")
                distances.append(distance_map(counts, mean[None], covariance * self.n))
            else:
                within = layer.within(self.n, self.counts)
                means = layer.class_means(self.counts)
                distances.append(distance_map(self.counts, means, within))
            if i in self._cross:
                cross = self._cross_covariance(i)
                steps.append(step_map(self.n, before[0], mean, before[1], cross, covariance, ridge))
            before = mean, covariance
        return distances, steps

    def pooled_maps(self) -> list[DistanceMap]:
        """Distance map of every layer as if all data were one class."""
        counts = torch.tensor([self.n], device="cpu")
        layers = self._layers.values()
        return [distance_map(counts, v.mean(self.n)[None], v.comoment(self.n)) for v in layers]

    def _cross_covariance(self, i: int) -> Tensor:
        source, target = list(self._layers.values())[i - 1 : i + 1]
        shift = torch.outer(source.total, target.total / self.n)
        return (self._cross[i] - shift) / self.n

    def distance(self) -> LayerDistance:
        """A stand-alone `LayerDistance` of the same data; costs a copy of the sums."""
        tensors = {}
        for i, layer in enumerate(self._layers.values()):
            one = self.labels is None
            tensors[f"{i}.labels"] = torch.tensor([-1], device="cpu") if one else self.labels
            tensors[f"{i}.counts"] = (
                torch.tensor([self.n], device="cpu") if one else self.counts.long()
            )
            tensors[f"{i}.means"] = (
                layer.mean(self.n)[None] if one else layer.class_means(self.counts)
            )
            tensors[f"{i}.scatter"] = (
                layer.comoment(self.n) if one else layer.within(self.n, self.counts)
            )
        return LayerDistance.from_tensors(tensors, self.layers)

    def innovation(self, ridge: float = 1e-3) -> Innovation:
        """A stand-alone `Innovation` of the same data; costs several copies of the sums."""
        new, layers = Innovation(ridge), list(self._layers.items())
        for i in self.targets:
            (a, x), (b, y) = layers[i - 1 : i + 1]
            xy = self._cross_covariance(i) * self.n
            upper = torch.cat([x.comoment(self.n), xy], dim=1)
            lower = torch.cat([xy.T, y.comoment(self.n)], dim=1)
            mean = torch.cat([x.mean(self.n), y.mean(self.n)])
            moments = Moments(self.n, mean, torch.cat([upper, lower]))
            new.steps[f"{a}->{b}"] = StepPredictor.from_moments(moments, len(x.origin), ridge)
        return new

    # Keeping

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums as named tensors, symmetric ones as their lower half; see `from_tensors`."""
        tensors, self._shared = {"n": torch.tensor([self.n], device="cpu")}, True
        if self.labels is not None:
            tensors |= {"labels": self.labels, "counts": self.counts}
        for i, layer in enumerate(self._layers.values()):
            tensors |= {f"{i}.origin": layer.origin, f"{i}.total": layer.total}
            tensors[f"{i}.square"] = layer.square[_lower(len(layer.origin))]
            if self.labels is not None:
                tensors[f"{i}.classes"] = layer.per_class
        return tensors | {f"{i}.cross": cross for i, cross in self._cross.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], layers: list[str]) -> ChainSums:
        """Inverse of `to_tensors`; ``layers`` gives the names in order."""
        cross = {i: tensors[f"{i}.cross"] for i in range(1, len(layers)) if f"{i}.cross" in tensors}
        new = cls(
            bool(cross), [layers[i] for i in range(1, len(layers)) if cross and i not in cross]
        )
        new.n, new.labels = int(tensors["n"]), tensors.get("labels")
        new.counts = tensors.get("counts", new.counts)
        for i, name in enumerate(layers):
            origin, total = tensors[f"{i}.origin"], tensors[f"{i}.total"]
            square = origin.new_zeros(len(origin), len(origin))
            square[_lower(len(origin))] = tensors[f"{i}.square"]
            none = origin.new_zeros(0, len(origin))
            new._layers[name] = _Layer(origin, total, square, tensors.get(f"{i}.classes", none))
        new._cross = cross
        new._shared = True  # the tensors are the caller's
        return new


def _lower(width: int) -> Tensor:
    return torch.ones(width, width, dtype=torch.bool, device="cpu").tril()


def _shift(mine: Tensor, x: tuple, y: tuple, n: int, theirs: Tensor) -> None:
    """Add a sum of products ``(x - a)(y - b)^T``, made around other origins, to ours.

    ``x``, ``y`` hold how far those origins are from ours, and the sums of x - a and y - b.
    """
    (gap_x, total_x), (gap_y, total_y) = x, y
    mine += theirs
    mine.addmm_(gap_x[:, None], (total_y + n * gap_y)[None]).addmm_(total_x[:, None], gap_y[None])

"""The states of one layer, projected to a plane, and what they know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepdrift.errors import require
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control
from deepdrift.lab.bench.evaluation import Array, as_scores
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures.roc import roc_curve

decomposition = require("sklearn.decomposition", "lab")

N_BINS = 40


@dataclass(frozen=True)
class _LayerView:
    width: int
    explained: float
    points: dict[str, Array]  # (n, 2) per set
    norms: dict[str, Array]  # (N,) per set
    aurocs: dict[str, float] = field(default_factory=dict)  # per set but the first


class LayerPicker(Explorer):
    """Pick a layer; see where its states lie, how long they are, and what a score sees there.

    Left: states projected on the two directions in which the *normal* states of that layer spread
    most (PCA fitted on the first set). Right: lengths of the states. Controls: ``layer``, and
    ``pooling`` where states of several are given.

    Parameters
    ----------
    states_by_set : mapping of str to mapping of layer name to array_like, shape (N, D)
        The first set is the normal one; all sets hold the same layers. Or several of these by the
        name of the pooling that made them, of the same sets and layers.
    scores : mapping of str to mapping of layer name to array_like, shape (N,), optional
        Scores of the same samples by set and layer, larger meaning more unusual; nested as
        ``states_by_set`` is. Each set is then shown with its AUROC in that layer.
    n_points : int
        At most so many points per set are drawn (the first ones); numbers use all.

    Examples
    --------
    >>> normal = {"stem": [[3.0, 4.0], [0.0, 5.0]]}
    >>> states = {"bags": normal, "digits": {"stem": [[0.6, 0.8]]}}
    >>> scores = {"bags": {"stem": [1.0, 4.0]}, "digits": {"stem": [3.0]}}
    >>> app = LayerPicker(states, scores=scores)
    >>> print(app.summary())
    Layer stem (2 numbers per image): two directions hold 100 % of the spread of bags. Median \
length of a state: bags 5, digits 1 (0.20 times as long). AUROC here: digits 0.50.
    >>> app.aurocs(layer="stem")
    {'digits': 0.5}
    """

    _panels = (1.0, 1.25)

    def __init__(
        self,
        states_by_set: Mapping[str, Any],
        *,
        scores: Mapping[str, Any] | None = None,
        n_points: int = 250,
    ) -> None:
        by_pooling = {"": states_by_set}
        if _depth(states_by_set) == 3:
            by_pooling = dict(states_by_set)
        judged = scores if scores is None or _depth(scores) == 3 else {"": scores}
        if judged is not None and judged.keys() != by_pooling.keys():
            raise ExplorerError(
                f"scores: expected them for {', '.join(by_pooling) or 'the states'}, as the "
                f"states are, got {', '.join(judged) or 'one set of them'}"
            )
        self._views = {}
        for pooling, states in by_pooling.items():
            for layer, view in self._views_of(states, n_points).items():
                if judged is not None:
                    view.aurocs.update(self._judge(judged[pooling], layer))
                self._views[pooling, layer] = view
        layers = list(dict.fromkeys(layer for _, layer in self._views))
        if len(self._views) != len(layers) * len(by_pooling):
            raise ExplorerError("states_by_set: expected the same layers for every pooling")
        controls = {"layer": choice_control("layer", layers)}
        if "" not in by_pooling:
            controls["pooling"] = choice_control("pooling", list(by_pooling))
        self._only = next(iter(by_pooling))
        n = {name: len(view.points[name]) for name in self._sets}
        self._colour_of_point = np.repeat(
            [figures.COLOURS[i % 7] for i in range(len(n))], [*n.values()]
        )
        self._order = np.random.default_rng(0).permutation(len(self._colour_of_point))
        self._start(controls)

    def _views_of(self, states_by_set: Mapping[str, Any], n_points: int) -> dict[str, _LayerView]:
        if not states_by_set or not next(iter(states_by_set.values())):
            raise ExplorerError("states_by_set: expected at least one set with one layer, got none")
        self._sets = [str(name) for name in states_by_set]
        layers = list(next(iter(states_by_set.values())))
        for name, states in states_by_set.items():
            if set(states) != set(layers):
                raise ExplorerError(
                    f"states_by_set[{name!r}]: expected the layers {', '.join(layers)}, "
                    f"got {', '.join(states)}"
                )
        return {layer: self._project(states_by_set, layer, n_points) for layer in layers}

    def _judge(self, scores: Mapping[str, Any], layer: str) -> dict[str, float]:
        first, *strange = self._sets
        return {
            name: roc_curve(
                as_scores(scores[first][layer], first), as_scores(scores[name][layer], name)
            ).auroc
            for name in strange
        }

    @staticmethod
    def _project(states_by_set: Mapping[str, Any], layer: str, n_points: int) -> _LayerView:
        states = {}
        for name, by_layer in states_by_set.items():
            x = by_layer[layer]
            x = x.detach().cpu().double().numpy() if hasattr(x, "detach") else np.asarray(x, float)
            if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
                raise ExplorerError(
                    f"states_by_set[{name!r}][{layer!r}]: expected finite states of shape (N, D), "
                    f"got shape {x.shape}" + (" with NaN or infinity" if x.ndim == 2 else "")
                )
            states[str(name)] = x
        normal = next(iter(states.values()))
        n, width = normal.shape
        points = {name: np.zeros((len(x[:n_points]), 2)) for name, x in states.items()}
        explained = 1.0
        if normal.std(axis=0).any():  # a dead layer has no directions
            pca = decomposition.PCA(min(2, n, width), svd_solver="full").fit(normal)
            explained = float(pca.explained_variance_ratio_.sum())
            for name, x in states.items():
                flat = pca.transform(x[:n_points])
                points[name][:, : flat.shape[1]] = flat
        norms = {name: np.linalg.norm(x, axis=1) for name, x in states.items()}
        return _LayerView(width, explained, points, norms)

    def _view(self, layer: str, pooling: str | None = None) -> _LayerView:
        return self._views[self._only if pooling is None else pooling, layer]

    def aurocs(self, **values: Any) -> dict[str, float]:
        """AUROC of each set but the first in a layer, two digits; empty without scores."""
        view = self._view(**self._values_at(values))
        return {name: round(value, 2) for name, value in view.aurocs.items()}

    def _sentence(self, layer: str, pooling: str | None = None) -> str:
        view = self._view(layer, pooling)
        first = self._sets[0]
        base = float(np.median(view.norms[first]))
        lengths = [f"{first} {base:.3g}"]
        for name in self._sets[1:]:
            median = float(np.median(view.norms[name]))
            ratio = f" ({median / base:.2f} times as long)" if base > 0 else ""
            lengths.append(f"{name} {median:.3g}{ratio}")
        how = "" if pooling is None else f", pooling {pooling}"
        seen = ", ".join(f"{name} {value:.2f}" for name, value in view.aurocs.items())
        return (
            f"Layer {layer}{how} ({view.width} numbers per image): two directions hold "
            f"{100 * view.explained:.0f} % of the spread of {first}. "
            f"Median length of a state: {', '.join(lengths)}."
            + (f" AUROC here: {seen}." if seen else "")
        )

    def _draw(self, axes: list[Any], layer: str, pooling: str | None = None) -> None:
        view = self._view(layer, pooling)
        cloud, lengths = axes
        # in one mixed order, so that no set lies on top of another
        points = np.concatenate(list(view.points.values()))[self._order]
        cloud.scatter(
            *points.T, s=10, c=self._colour_of_point[self._order], alpha=0.6, linewidths=0
        )
        cloud.set(xlabel="first direction of the normal states", ylabel="second direction")
        cloud.set_title(f"{layer}: where the states lie")
        cloud.locator_params(nbins=5)
        edges = figures.histogram_edges(*view.norms.values(), n_bins=N_BINS)
        peak = 0.0
        for i, name in enumerate(self._sets):
            inside = np.clip(view.norms[name], edges[0], edges[-1])
            share = np.histogram(inside, edges)[0] / len(inside)
            peak = max(peak, float(share.max()))
            first = {"fill": True, "alpha": 0.25} if i == 0 else {}
            lengths.stairs(share, edges, color=figures.COLOURS[i % 7], linewidth=1.8, **first)
        lengths.set_ylim(0, peak * (1.15 + 0.13 * len(self._sets)))
        lengths.set_title("How long they are")
        lengths.set(xlabel="length of the state (Euclidean norm)", yticks=[])
        lengths.spines["left"].set_visible(False)
        for i, name in enumerate(self._sets):
            seen = f": AUROC {view.aurocs[name]:.2f}" if name in view.aurocs else ""
            figures.draw_name(lengths, name + seen, i)


def _depth(nested: Any) -> int:
    """How many mappings lie within each other."""
    if not isinstance(nested, Mapping) or not nested:
        return int(isinstance(nested, Mapping))
    return 1 + _depth(next(iter(nested.values())))

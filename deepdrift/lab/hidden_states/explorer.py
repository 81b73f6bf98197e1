"""The states of one layer, projected to a plane, and what they know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepdrift.errors import require
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control
from deepdrift.lab.bench.evaluation import Array
from deepdrift.lab.bench.explorer import Explorer

decomposition = require("sklearn.decomposition", "lab")


@dataclass(frozen=True)
class _LayerView:
    width: int
    explained: float
    points: dict[str, Array]  # (n, 2) per set
    norms: dict[str, Array]  # (N,) per set


class LayerPicker(Explorer):
    """Pick a layer; see where its states lie and how long they are.

    Left: states projected on the two directions in which the *normal* states of that layer spread
    most (PCA fitted on the first set). Right: lengths of the states. Control: ``layer``.

    Parameters
    ----------
    states_by_set : mapping of str to mapping of layer name to array_like, shape (N, D)
        The first set is the normal one; all sets hold the same layers.
    n_points : int
        At most so many points per set are drawn (the first ones); numbers use all.

    Examples
    --------
    >>> normal = {"stem": [[3.0, 4.0], [0.0, 5.0]]}
    >>> app = LayerPicker({"bags": normal, "digits": {"stem": [[0.6, 0.8]]}})
    >>> print(app.summary())
    Layer stem (2 numbers per image): two directions hold 100 % of the spread of bags. Median \
length of a state: bags 5, digits 1 (0.20 times as long).
    """

    _panels = (1.0, 1.25)

    def __init__(
        self, states_by_set: Mapping[str, Mapping[str, Any]], *, n_points: int = 400
    ) -> None:
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
        self._views = {layer: self._project(states_by_set, layer, n_points) for layer in layers}
        self._start({"layer": choice_control("layer", layers)})

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

    def _sentence(self, layer: str) -> str:
        view = self._views[layer]
        first = self._sets[0]
        base = float(np.median(view.norms[first]))
        lengths = [f"{first} {base:.3g}"]
        for name in self._sets[1:]:
            median = float(np.median(view.norms[name]))
            ratio = f" ({median / base:.2f} times as long)" if base > 0 else ""
            lengths.append(f"{name} {median:.3g}{ratio}")
        return (
            f"Layer {layer} ({view.width} numbers per image): two directions hold "
            f"{100 * view.explained:.0f} % of the spread of {first}. "
            f"Median length of a state: {', '.join(lengths)}."
        )

    def _draw(self, axes: list[Any], layer: str) -> None:
        view = self._views[layer]
        cloud, lengths = axes
        for i, name in enumerate(self._sets):
            x, y = view.points[name].T
            cloud.plot(x, y, "o", markersize=3, alpha=0.45, color=figures.COLOURS[i % 7], mew=0)
        cloud.set(xlabel="first direction of the normal states", ylabel="second direction")
        cloud.set_title(f"{layer}: where the states lie")
        cloud.locator_params(nbins=5)
        edges = figures.histogram_edges(*view.norms.values(), n_bins=40)
        peak = 0.0
        for i, name in enumerate(self._sets):
            share = np.histogram(view.norms[name], edges)[0] / len(view.norms[name])
            peak = max(peak, float(share.max()))
            lengths.stairs(share, edges, fill=True, alpha=0.45, color=figures.COLOURS[i % 7])
        lengths.set_ylim(0, peak * (1.1 + 0.12 * len(self._sets)))
        lengths.set_title("how long they are")
        lengths.set(xlabel="length of the state (Euclidean norm)", yticks=[])
        lengths.spines["left"].set_visible(False)
        for i, name in enumerate(self._sets):
            figures.draw_name(lengths, name, i)

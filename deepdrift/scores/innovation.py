"""Innovation: how far a state moves beyond what normal data predict.

A *step predictor* learns, on normal (source, target) pairs, the ridge regression of the target on
the source and the covariance of what remains. A new pair is scored by the squared length of its
whitened residual. Source and target may be neighbouring layers, consecutive times (with the
action beside the state), or neighbouring noise levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from deepdrift.errors import NotFittedError, StateError
from deepdrift.scores.maps import StepMap, step_map
from deepdrift.scores.moments import Moments, finite_samples
from deepdrift.scores.velocity import StatesLike, as_states, as_tensor


class StepPredictor:
    """Ridge prediction of a target from a source, and how surprising the residual is.

    ``r = (y - mean_y) - A (x - mean_x)``, ``A`` by ridge regression, and the score is
    ``q = r^T C^-1 r`` with the shrunk residual covariance C: the squared Mahalanobis radius of
    the innovation, about D_y on normal data. For a Gaussian chain the q add up to the
    Mahalanobis distance of the whole trajectory (chain rule).

    Fitting keeps sums, not samples: O(N D^2) time, O(D^2) memory with D = D_x + D_y; scoring one
    pair costs one D_y x D product.

    Parameters
    ----------
    ridge : float
        Relative to the mean variance of the source.

    Examples
    --------
    The target is twice the source, plus noise of variance 1: an error of 3 scores about 9.

    >>> g = torch.Generator().manual_seed(0)
    >>> x = torch.randn(20_000, 1, generator=g)
    >>> y = 2 * x + torch.randn(20_000, 1, generator=g)
    >>> step = StepPredictor(ridge=0.0).fit(x, y)
    >>> step.score(torch.tensor([[1.0], [1.0]]), torch.tensor([[2.0], [5.0]])).round().tolist()
    [0.0, 9.0]
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        if not ridge >= 0:
            raise StateError(f"ridge: expected a number >= 0, got {ridge!r}")
        self.ridge = float(ridge)
        self._moments: Moments | None = None
        self._source_width = 0
        self._map: StepMap | None = None

    @property
    def n_samples(self) -> int:
        """Number of normal pairs seen."""
        return 0 if self._moments is None else self._moments.n

    @classmethod
    def from_moments(cls, moments: Moments, source_width: int, ridge: float) -> StepPredictor:
        """Predictor from the moments of ``[source, target]``."""
        new = cls(ridge)
        new._moments, new._source_width = moments, source_width
        return new

    def fit(self, source: Tensor, target: Tensor) -> StepPredictor:
        """Forget what was seen and learn from normal pairs ``(N, D_x)``, ``(N, D_y)``."""
        new = StepPredictor(self.ridge).partial_fit(source, target)
        self._moments, self._source_width, self._map = new._moments, new._source_width, None
        return self

    def partial_fit(self, source: Tensor, target: Tensor) -> StepPredictor:
        """Learn from more normal pairs; the order and size of batches do not matter."""
        source, target = finite_samples(source, "source"), finite_samples(target, "target")
        if len(source) != len(target):
            raise StateError(f"target: expected {len(source)} samples, got {len(target)}")
        moments = Moments.of(torch.cat([source.cpu(), target.cpu()], dim=1))
        new = StepPredictor.from_moments(moments, source.shape[1], self.ridge)
        merged = new if self._moments is None else self.merge(new)
        self._moments, self._source_width = merged._moments, merged._source_width
        self._map = None
        return self

    def merge(self, other: StepPredictor) -> StepPredictor:
        """Predictor fitted on the data of both; neither is changed.

        Raises
        ------
        NotFittedError, StateError
            If one has seen nothing, or if widths or ridge differ.
        """
        mine, theirs = self._fitted(), other._fitted()
        if self._widths() != other._widths() or self.ridge != other.ridge:
            raise StateError(
                f"other: expected widths {self._widths()} and ridge {self.ridge:g}, "
                f"got {other._widths()} and {other.ridge:g}"
            )
        return StepPredictor.from_moments(mine.merge(theirs), self._source_width, self.ridge)

    def score(self, source: Tensor, target: Tensor) -> Tensor:
        """Squared whitened residual of each pair.

        Parameters
        ----------
        source, target : Tensor, shapes (N, D_x), (N, D_y)

        Returns
        -------
        Tensor, shape (N,), float64, on the CPU, >= 0; NaN or infinite for non-finite input.
        """
        pair = as_tensor(source), as_tensor(target)
        return self._checked(*pair).squared(*pair).cpu()

    def residual(self, source: Tensor, target: Tensor) -> Tensor:
        """Whitened residual ``(N, D_y)``, float32: identity covariance on normal data."""
        pair = as_tensor(source), as_tensor(target)
        return self._checked(*pair).residual(*pair)

    def _checked(self, source: Tensor, target: Tensor) -> StepMap:
        """The solved map, on the device of states that have the widths it was solved for."""
        widths = self._widths()
        if source.shape[1:] != widths[:1] or target.shape != (len(source), widths[1]):
            raise StateError(
                f"source, target: expected shapes (N, {widths[0]}), (N, {widths[1]}) as fitted, "
                f"got {tuple(source.shape)}, {tuple(target.shape)}"
            )
        if self._map is None:
            self._map = self._solve()
        self._map = self._map.to(source.device)
        return self._map

    def _solve(self) -> StepMap:
        moments, d = self._fitted(), self._source_width
        covariance, mean = moments.covariance, moments.mean
        blocks = covariance[:d, :d], covariance[:d, d:], covariance[d:, d:]
        return step_map(moments.n, mean[:d], mean[d:], *blocks, self.ridge)

    def _fitted(self) -> Moments:
        if self._moments is None:
            raise NotFittedError("StepPredictor: call fit(source, target) on normal data first")
        return self._moments

    def _widths(self) -> tuple[int, int]:
        return self._source_width, len(self._fitted().mean) - self._source_width

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums as named tensors; `from_tensors` restores the predictor."""
        m = self._fitted()
        shape = torch.tensor([m.n, self._source_width], device="cpu")
        return {
            "shape": shape,
            "mean": m.mean,
            "comoment": m.comoment,
            "ridge": torch.tensor([self.ridge], dtype=torch.float64, device="cpu"),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> StepPredictor:
        """Inverse of `to_tensors`."""
        n, width = (int(v) for v in tensors["shape"])
        moments = Moments(n, tensors["mean"], tensors["comoment"])
        return cls.from_moments(moments, width, float(tensors["ridge"]))


class Innovation:
    """One `StepPredictor` between each pair of consecutive layers.

    Parameters
    ----------
    ridge : float
        See `StepPredictor`.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> a = torch.randn(500, 2, generator=g)
    >>> innovation = Innovation().fit({"a": a, "b": a.flip(1), "c": a.sum(1, keepdim=True)})
    >>> list(innovation.steps)
    ['a->b', 'b->c']
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> usual, broken = {"a": x, "b": x.flip(1)}, {"a": x, "b": x}
    >>> c = {"c": x.sum(1, keepdim=True)}
    >>> int(innovation.score(broken | c).argmax())  # the step that does what it never did
    0
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge = ridge
        self.steps: dict[str, StepPredictor] = {}

    def fit(self, states: StatesLike) -> Innovation:
        """Learn every step from normal states, layer -> ``(N, D_l)``, two layers or more."""
        self.steps = Innovation(self.ridge).partial_fit(states).steps
        return self

    def partial_fit(self, states: StatesLike) -> Innovation:
        """Learn from more normal states of the same layers."""
        named = as_states(states, at_least=2)
        names = step_names(named)
        if self.steps and list(self.steps) != names:
            raise StateError(f"states: expected the steps {list(self.steps)}, got {names}")
        layers, steps = list(named.values()), {}
        for name, source, target in zip(names, layers, layers[1:], strict=False):
            new = StepPredictor(self.ridge).fit(source, target)
            steps[name] = self.steps[name].merge(new) if self.steps else new
        self.steps = steps  # all or none
        return self

    def merge(self, other: Innovation) -> Innovation:
        """Innovation fitted on the data of both; neither is changed."""
        if list(self.steps) != list(other.steps):
            raise StateError(
                f"other: expected the steps {list(self.steps)}, got {list(other.steps)}"
            )
        new = Innovation(self.ridge)
        new.steps = {k: step.merge(other.steps[k]) for k, step in self.steps.items()}
        return new

    def score(self, states: StatesLike) -> Tensor:
        """Squared whitened residual of every step.

        Returns
        -------
        Tensor, shape (N, L - 1), float64.

        Raises
        ------
        NotFittedError
            Before `fit`.
        StateError
            If the layers or their widths are not those of the fit.
        """
        if not self.steps:
            raise NotFittedError("Innovation: call fit(states) on normal data first")
        named = as_states(states, at_least=2)
        if step_names(named) != list(self.steps):
            raise StateError(
                f"states: expected the steps {list(self.steps)}, got {step_names(named)}"
            )
        layers = list(named.values())
        pairs = zip(self.steps.values(), layers, layers[1:], strict=False)
        return torch.stack([step.score(a, b) for step, a, b in pairs], dim=1)


def step_names(layers: Iterable[str]) -> list[str]:
    """Names of the steps between consecutive layers.

    Examples
    --------
    >>> step_names(["stem", "block", "head"])
    ['stem->block', 'block->head']
    """
    names = list(layers)
    return [f"{a}->{b}" for a, b in zip(names, names[1:], strict=False)]

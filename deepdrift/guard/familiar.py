"""Do the layers still follow from one another as on normal text? At rank 32, in one product.

States are projected to a few numbers by a fixed random matrix, and each layer is predicted from the
one before. The layers that follow least from the one before speak for a prompt, or a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from deepdrift.errors import NotFittedError
from deepdrift.guard.checks import GuardError
from deepdrift.scores.chain import ChainSums
from deepdrift.states.projection import Projection

MAX_RANK = 256  # beyond that a step keeps another form, see `deepdrift.scores.maps`
N_ODDEST = 2  # layers that speak for a prompt or token
_LEARNT = ("source", "target", "offset", "predict", "white", "allowance")
FEWEST = 10  # normal sketches below which a prediction between layers means nothing


class Sketch:
    """Project the states of all layers to at most ``rank`` numbers each.

    Examples
    --------
    >>> Sketch(4)([torch.ones(2, 9), torch.ones(2, 9)]).shape  # two layers, two rows
    torch.Size([2, 2, 4])
    """

    def __init__(self, rank: int) -> None:
        if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= MAX_RANK:
            raise GuardError(
                f"rank: expected a whole number from 1 to {MAX_RANK} (32 is the default), got "
                f"{rank!r}"
            )
        self.rank = rank
        self._project = Projection(rank)

    def __call__(self, states: Sequence[Tensor] | Tensor) -> Tensor:
        """States of L layers, each ``(N, D)``, to ``(N, L, r)``, float32."""
        if isinstance(states, Tensor):  # (L, N, D)
            n_layers, n, width = states.shape
            flat = self._project(states.reshape(n_layers * n, width).float())
            return flat.reshape(n_layers, n, flat.shape[1]).transpose(0, 1)
        if len({state.shape[1] for state in states}) == 1:
            return self(torch.stack(list(states)))
        parts = [self._project(state.float()) for state in states]
        narrow = max(part.shape[1] for part in parts)
        parts = [torch.nn.functional.pad(part, (0, narrow - part.shape[1])) for part in parts]
        return torch.stack(parts, dim=1)


class Familiar:
    """Prediction of every layer from the one before, at low rank, and what is normal about it.

    Parameters
    ----------
    ridge : float
        See `deepdrift.StepPredictor`.

    Examples
    --------
    Two layers that always agree; then one that does not.

    >>> x = torch.randn(200, 1, 3, generator=torch.Generator().manual_seed(0))
    >>> familiar = Familiar().fit(torch.cat([x, x], dim=1))
    >>> odd = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    >>> scores = familiar.score(odd)
    >>> bool(scores[0] < 1 < 1000 < scores[1])
    True
    """

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge = ridge
        self.n = 0
        none = torch.empty(0, device="cpu")
        self._source = self._target = self._offset = self._predict = self._white = none
        self._allowance = none

    def fit(self, sketches: Tensor, what: str = "prompts") -> Familiar:
        """Learn from sketches ``(N, L, r)`` of normal text; ``what`` they are, for messages.

        Raises
        ------
        GuardError
            For fewer than `FEWEST`, or fewer than two layers.
        CalibrationError
            If some are not finite.
        """
        n, n_layers, _ = sketches.shape
        if n < FEWEST:
            raise GuardError(
                f"pairs: expected {FEWEST} normal {what} or more to learn from, got {n}; some 50 "
                "are better"
            )
        if n_layers < 2:
            raise GuardError(
                "layers: innovation needs two layers or more, one to predict from, got 1"
            )
        chain = ChainSums().add({str(i): sketches[:, i] for i in range(n_layers)})
        _, steps = chain.maps(self.ridge, with_distances=False)
        self._source = torch.stack([step.source for step in steps])[:, None]
        self._target = torch.stack([step.target for step in steps])[:, None]
        self._offset = torch.stack([step.offset for step in steps])[:, None]
        self._predict = torch.stack([step.predict.T for step in steps])
        self._white = torch.stack([step.white.T for step in steps])
        self._allowance = torch.tensor([step.allowance for step in steps], device="cpu")
        self.n = n
        return self

    def to_tensors(self) -> dict[str, Tensor]:
        """What was learnt, as named tensors; `from_tensors` restores it."""
        return {"n": torch.tensor(self.n, device="cpu")} | {
            name: getattr(self, f"_{name}") for name in _LEARNT
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Familiar:
        """Inverse of `to_tensors`."""
        new = cls()
        new.n = int(tensors["n"])
        for name in _LEARNT:
            setattr(new, f"_{name}", tensors[name])
        return new

    def squared(self, sketches: Tensor) -> Tensor:
        """Squared standardised residual of every step, ``(N, L - 1)``, float64.

        The same as `deepdrift.Innovation` of the sketches, all steps in one product.
        """
        if not self.n:
            raise NotFittedError("innovation: call guard.fit(pairs) with normal answers first")
        x = sketches.float().transpose(0, 1)
        rest = torch.baddbmm(self._offset, x[:-1] - self._source, self._predict)
        rest = torch.baddbmm(rest, x[1:] - self._target, self._white)
        square = torch.linalg.vector_norm(rest, dim=2, dtype=torch.float64).square()
        return (square - self._allowance[:, None]).clamp(min=0).T

    def innovation(self, sketches: Tensor) -> Tensor:
        """Root mean square residual of every layer, ``(N, L)``, float32; NaN for the first."""
        rms = (self.squared(sketches) / sketches.shape[2]).sqrt().float()
        return torch.cat([rms.new_full((len(rms), 1), torch.nan), rms], dim=1)

    def score(self, sketches: Tensor) -> Tensor:
        """One number ``(N,)``, float64, for each sketch: the mean square of its two oddest layers.

        A fault often shows in one layer, and thirty healthy ones would outvote it.
        """
        squared = self.squared(sketches)
        return (
            squared.topk(min(N_ODDEST, squared.shape[1]), dim=1).values.mean(dim=1)
            / (sketches.shape[2])
        )


class GroupedRanks:
    """Conformal p-values of single tokens, calibrated on whole answers.

    Tokens of one answer resemble each other, so that 1,000 tokens of 40 answers are no 1,000
    observations. Each answer counts once: ``p = (1 + sum_i share_i) / (n + 1)`` with the share of
    answer i's tokens that score at least as high, for n answers. For a token drawn at random from
    a new answer ``P(p <= alpha) <= alpha`` (pooling of distribution functions in Lee, Barber and
    Willett, Distribution-free inference with hierarchical data, 2023).

    Parameters
    ----------
    scores : Tensor, shape (M,)
        Of all tokens, finite.
    groups : Tensor, shape (M,), int64
        Which answer a token is from.

    Attributes
    ----------
    given : tuple of Tensor
        Scores and groups.

    Examples
    --------
    Two answers, of one token and of two: 2.5 is reached by half of the second one only.

    >>> ranks = GroupedRanks(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 1, 1]))
    >>> ranks.p_values(torch.tensor([2.5, 0.0, 9.0, torch.nan])).tolist()
    [0.5, 1.0, 0.3333333333333333, 0.0]
    """

    def __init__(self, scores: Tensor, groups: Tensor) -> None:
        self.given = scores, groups
        _, inverse, counts = groups.unique(return_inverse=True, return_counts=True)
        order = scores.double().argsort()
        self.n = len(counts)
        self._ordered = scores.double()[order].contiguous()
        weights = (1 / counts.double())[inverse][order]
        below = torch.cat([weights.new_zeros(1), weights.cumsum(0)])
        self._p = (1 + (self.n - below).clamp(min=0)) / (self.n + 1)

    def p_values(self, scores: Tensor) -> Tensor:
        """Shape of ``scores``, float64, in (0, 1]; 0 where a score is not finite."""
        p = self._p[torch.searchsorted(self._ordered, scores.double().contiguous())]
        return torch.where(scores.isfinite(), p, 0.0)

"""Scores of an answer by name; larger means more doubtful, for all of them and always."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepdrift.errors import NotFittedError
from deepdrift.guard.checks import GuardError
from deepdrift.guard.trace import GuardTrace


def ces(trace: GuardTrace, reference: Tensor) -> Tensor:
    """Mean and largest entropy of an answer, each through a reference distribution, then averaged.

    After the Calibrated Entropy Score of Villani and others (arXiv 2605.28264, 2026), which sends
    mean and maximum through the distribution function of token entropies of right answers; the
    weights (a half each) are ours.

    Parameters
    ----------
    trace : GuardTrace
    reference : Tensor, shape (M,), ascending
        Entropies of the tokens of normal answers.

    Returns
    -------
    Tensor, shape (B,), float64, in [0, 1]; NaN for an answer without tokens.
    """
    mean = trace.mean_entropy
    parts = torch.stack([mean, trace.ces - mean]).contiguous()
    shares = torch.searchsorted(reference.double(), parts, right=True).double() / len(reference)
    return torch.where(parts.isnan().any(dim=0), torch.nan, shares.mean(dim=0))


def _last_layer(values: Tensor, trace: GuardTrace) -> Tensor:
    """Mean over the answer of what the last layer says, shape (B,)."""
    known = trace.mask & ~values[..., -1].isnan()
    total = torch.where(known, values[..., -1].double(), 0.0).sum(dim=1)
    return torch.where(known.any(dim=1), total / known.sum(dim=1), torch.nan)


def _all_layers(trace: GuardTrace) -> Tensor:
    """Root mean square innovation of the answer's tokens over layers, the mean over the answer."""
    rms = trace.innovation[..., 1:].double().square().mean(dim=-1).sqrt()
    total = torch.where(trace.mask, rms, 0.0).sum(dim=1)
    return torch.where(trace.lengths > 0, total / trace.lengths, torch.nan)


SCORES: dict[str, Callable[[GuardTrace], Tensor]] = {
    "nll": lambda trace: trace.nll,
    "mean": lambda trace: trace.mean,
    "maximum": lambda trace: trace.maximum,
    "first": lambda trace: trace.first,
    "entropy": lambda trace: trace.mean_entropy,
    "ces": lambda trace: trace.ces,
    "velocity": lambda trace: _last_layer(trace.velocity, trace),
    "innovation": _all_layers,
}


def answer_score(trace: GuardTrace, name: str, reference: Tensor | None = None) -> Tensor:
    """The score of that name of every answer.

    ============ ==================================================================
    name         of an answer
    ============ ==================================================================
    nll          negative log-likelihood of the whole answer, the default
    mean         the same per token
    maximum      of its most surprising token
    first        of its first token alone
    entropy      mean entropy of its tokens
    ces          mean and largest entropy, see `ces`
    velocity     mean change of the last layer's state from token to token, raw
    innovation   mean over tokens of the root mean square innovation over layers
    ============ ==================================================================

    Returns
    -------
    Tensor, shape (B,), float64

    Raises
    ------
    GuardError
        For another name.
    NotFittedError
        For ``innovation`` before `fit`.
    """
    if name not in SCORES:
        raise GuardError(f"score: expected one of {', '.join(SCORES)}, got {name!r}")
    if name == "ces" and reference is not None:
        return ces(trace, reference)
    found = SCORES[name](trace)
    if name == "innovation" and trace.innovation.numel() and bool(trace.innovation.isnan().all()):
        raise NotFittedError("score: innovation needs guard.fit(pairs) with normal answers first")
    return found

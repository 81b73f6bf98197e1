"""What a guard says of one step of a loop."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdrift.guard.normal import Normal
from deepdrift.guard.run import Run
from deepdrift.guard.tokens import answer_mask
from deepdrift.guard.trace import ALERT, INVALID, NORMAL, STARTING


@dataclass(frozen=True, eq=False)
class GuardDiagnosis:
    """Verdict on the newest token of B rows, or on the prompt.

    Attributes
    ----------
    step : int
        Tokens of the answer so far; 0 for the prompt.
    token : Tensor, shape (B,), int64, or None for the prompt
    log_prob, entropy : Tensor, shape (B,)
        Of the token, from raw logits, in nats; NaN for the prompt.
    nll : Tensor, shape (B,), float64
        Of the answer so far.
    p_value : Tensor, shape (B,), float64
        Unfamiliarity of the token's states, for the prompt that of the prompt; NaN before
        calibration.
    state : Tensor, shape (B,), int64
        -1 nothing to compare with, 0 normal, 2 alert, 3 invalid (not finite).
    is_doubtful : Tensor, shape (B,), bool
        Whether `nll` is above the threshold of whole answers; it only grows, so that the promise
        for whole answers holds at every step. False before calibration.
    next_logits : Tensor, shape (B, V)
        Raw, for whoever chooses the next token.
    """

    step: int
    token: Tensor | None
    log_prob: Tensor
    entropy: Tensor
    nll: Tensor
    p_value: Tensor
    state: Tensor
    is_doubtful: Tensor
    next_logits: Tensor

    @property
    def flagged(self) -> Tensor:
        """Rows ``(B,)``, bool, that are unfamiliar, doubtful or not finite."""
        return (self.state == ALERT) | (self.state == INVALID) | self.is_doubtful

    @property
    def is_anomaly(self) -> bool:
        """Whether any row is flagged."""
        return bool(self.flagged.any())

    def __str__(self) -> str:
        where = "prompt" if self.token is None else f"token {self.step}"
        if bool((self.state == INVALID).any()):
            return f"INVALID at {where}: logits or states are not finite."
        if bool((self.state == STARTING).all()) and not self.is_anomaly:
            return f"STARTING at {where}: nothing to compare with yet."
        n = int(self.flagged.sum())
        least = float(torch.where(self.p_value.isnan(), 1.0, self.p_value).min())
        return (
            f"{'ALERT' if n else 'NORMAL'} at {where}: {n} of {len(self.state)} rows flagged "
            f"({int(self.is_doubtful.sum())} doubtful), smallest p = {least:.3f}."
        )


def diagnose(run: Run, normal: Normal, names: Sequence[Hashable]) -> GuardDiagnosis:
    """What is said of the newest token of a run, or of its prompt; names are of templates."""
    n, templates = len(names), [normal.template(name) for name in names]
    alive, spent = [True] * n, [0.0] * n
    if run.settled:
        newest, sketch = run.settled[-1], run.settled[-1].sketch.cpu()
        token, log_prob, entropy = newest.token.cpu(), newest.log_prob.cpu(), newest.entropy.cpu()
        tokens = torch.stack([step.token for step in run.settled], dim=1).cpu()
        mask = answer_mask(tokens, *run.ends)
        log_probs = torch.stack([step.log_prob for step in run.settled], dim=1).cpu().double()
        spent, alive = (
            (-torch.where(mask, log_probs, 0.0).sum(dim=1)).tolist(),
            mask[:, -1].tolist(),
        )
        p = normal.token_p_values(sketch).tolist()
    else:
        sketch = run.prompt_sketch.cpu()
        token, log_prob = None, torch.full((n,), torch.nan, device="cpu")
        entropy = log_prob
        both = zip(templates, sketch, strict=True)
        p = [math.nan if t is None else float(t.p_values(row[None])[0]) for t, row in both]
    logits = run.logits.cpu()
    sound = sketch.isfinite().flatten(1).all(dim=1) & run.sound.cpu()
    if run.settled:
        sound &= ~log_prob.isnan()
    state = [_verdict(*row, normal.alpha) for row in zip(alive, sound.tolist(), p, strict=True)]
    limits = [math.inf if t is None else t.threshold("nll") for t in templates]
    return GuardDiagnosis(
        len(run.settled),
        token,
        log_prob,
        entropy,
        torch.tensor(spent, dtype=torch.float64, device="cpu"),
        torch.tensor(
            [x if a else math.nan for x, a in zip(p, alive, strict=True)],
            dtype=torch.float64,
            device="cpu",
        ),
        torch.tensor(state, device="cpu"),
        torch.tensor([x > limit for x, limit in zip(spent, limits, strict=True)], device="cpu"),
        logits,
    )


def _verdict(alive: bool, sound: bool, p: float, alpha: float) -> int:
    """State of one row; a row that stopped has none."""
    if not alive:
        return STARTING
    if not sound:
        return INVALID
    if math.isnan(p):
        return STARTING
    return ALERT if p <= alpha else NORMAL

"""The one record that every road gives: what happened at each token of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

STARTING, NORMAL, ALERT, INVALID = -1, 0, 2, 3  # as in `deepdrift.rl.results.RLState`


@dataclass(frozen=True, eq=False)
class GuardTrace:
    """An answer, token by token; B rows of at most T tokens, L watched layers, rank r.

    Attributes
    ----------
    tokens : Tensor, shape (B, T), int64
    mask : Tensor, shape (B, T), bool
        Where a token of the answer stands. A row that stopped is frozen: False, and NaN in all
        that follows.
    log_prob, entropy : Tensor, shape (B, T), float32
        Of the token that was chosen, and of what could have been, from raw logits; in nats.
    velocity : Tensor, shape (B, T, L), float32
        Length of the change of a layer's state, at the position that predicts the token, from the
        position before; NaN where there is none.
    innovation : Tensor, shape (B, T, L), float32
        Root mean square of the standardised residual of the state when it is predicted from the
        layer before, about 1 for normal answers; NaN for the first layer and before `fit`.
    p_value : Tensor, shape (B, T), float64
        Unfamiliarity of the token's states; NaN before calibration.
    state : Tensor, shape (B, T), int64
        -1 nothing to compare with, 0 normal, 2 alert, 3 invalid (not finite).
    layers : tuple of str
    sketch : Tensor, shape (B, T, L, r), float32
        Random projection of the states to r numbers, from which innovation is computed.
    prompt_sketch : Tensor, shape (B, L, r), float32
        The same at the last token of the prompt.
    prompts : tuple of tuple of int
        Token ids of the prompts, without padding.
    """

    tokens: Tensor
    mask: Tensor
    log_prob: Tensor
    entropy: Tensor
    velocity: Tensor
    innovation: Tensor
    p_value: Tensor
    state: Tensor
    layers: tuple[str, ...]
    sketch: Tensor
    prompt_sketch: Tensor
    prompts: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each answer, shape (B,)."""
        return self.mask.sum(dim=1)

    def _fold(self, values: Tensor, how: str) -> Tensor:
        """Sum, mean or maximum ``(B,)``, float64, over the answer; NaN where there is none."""
        x, n = torch.where(self.mask, values.double(), 0.0), self.lengths
        if how == "max":
            found = torch.where(self.mask, values.double(), -torch.inf)
            found = torch.cat([found, found.new_full((len(self), 1), -torch.inf)], 1).amax(dim=1)
        else:
            found = x.sum(dim=1) / (n if how == "mean" else 1)
        return torch.where(n > 0, found, torch.nan)

    @property
    def nll(self) -> Tensor:
        """Negative log-likelihood of the whole answer, shape (B,), in nats."""
        return self._fold(-self.log_prob, "sum")

    @property
    def mean(self) -> Tensor:
        """The same per token, shape (B,)."""
        return self._fold(-self.log_prob, "mean")

    @property
    def maximum(self) -> Tensor:
        """That of the most surprising token, shape (B,)."""
        return self._fold(-self.log_prob, "max")

    @property
    def first(self) -> Tensor:
        """That of the first token alone, shape (B,)."""
        none = self.log_prob.new_full((len(self), 1), torch.nan)
        return torch.where(self.lengths > 0, torch.cat([-self.log_prob, none], 1)[:, 0], torch.nan)

    @property
    def mean_entropy(self) -> Tensor:
        """Mean entropy over the answer, shape (B,)."""
        return self._fold(self.entropy, "mean")

    @property
    def ces(self) -> Tensor:
        """Mean plus largest entropy, shape (B,): the two parts of `deepdrift.guard.scores.ces`."""
        return self.mean_entropy + self._fold(self.entropy, "max")

    @property
    def answers(self) -> list[list[int]]:
        """Tokens of each answer."""
        return [row[keep].tolist() for row, keep in zip(self.tokens, self.mask, strict=True)]

    def rows(self, index: Sequence[int]) -> GuardTrace:
        """The trace of some rows, in the order given."""
        at = torch.as_tensor(index, dtype=torch.int64, device="cpu")
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v[at] for k, v in parts.items() if isinstance(v, Tensor)}
        return replace(self, **moved, prompts=tuple(self.prompts[i] for i in at.tolist()))

    def __str__(self) -> str:
        n = int(self.mask.sum())
        alerts = int((self.state == ALERT).sum())
        broken = int((self.state == INVALID).sum())
        judged = bool(((self.state != STARTING) & self.mask).any())
        verdict = f"{alerts} ALERT, {broken} INVALID" if judged else "not calibrated"
        return f"{len(self)} answers, {n} tokens, {len(self.layers)} layers: {verdict}."


def blank_trace(
    tokens: Tensor,
    mask: Tensor,
    log_prob: Tensor,
    entropy: Tensor,
    velocity: Tensor,
    sketch: Tensor,
    prompt_sketch: Tensor,
    layers: tuple[str, ...],
    prompts: tuple[tuple[int, ...], ...],
) -> GuardTrace:
    """A trace of what was measured; what is normal nobody has said yet."""
    return GuardTrace(
        tokens=tokens,
        mask=mask,
        log_prob=log_prob.float(),
        entropy=entropy.float(),
        velocity=velocity.float(),
        innovation=torch.full_like(velocity, torch.nan, dtype=torch.float32),
        p_value=torch.full_like(log_prob, torch.nan, dtype=torch.float64),
        state=torch.full_like(tokens, -1),
        layers=layers,
        sketch=sketch.float(),
        prompt_sketch=prompt_sketch.float(),
        prompts=prompts,
    )


_EMPTY = {"tokens": 0, "mask": False, "state": STARTING}


def freeze(trace: GuardTrace) -> GuardTrace:
    """The trace with nothing but the answers: NaN, token 0 and no state outside the mask."""
    changed = {}
    for name in ("tokens", "log_prob", "entropy", "velocity", "p_value", "innovation", "state"):
        value = getattr(trace, name)
        mask = trace.mask[..., None] if value.ndim == 3 else trace.mask
        changed[name] = torch.where(mask, value, _EMPTY.get(name, torch.nan))
    changed["sketch"] = torch.where(trace.mask[..., None, None], trace.sketch, torch.nan)
    return replace(trace, **changed)


def join(traces: Sequence[GuardTrace]) -> GuardTrace:
    """One trace of the rows of several, padded to the longest answer."""
    longest = max(trace.tokens.shape[1] for trace in traces)
    parts: dict[str, Tensor] = {}
    for f in fields(GuardTrace):
        values = [getattr(trace, f.name) for trace in traces]
        if f.name in ("layers", "prompts"):
            continue
        if f.name != "prompt_sketch":
            fill = _EMPTY.get(f.name, torch.nan)
            values = [_lengthened(value, longest, fill) for value in values]
        parts[f.name] = torch.cat(values)
    prompts = tuple(prompt for trace in traces for prompt in trace.prompts)
    return GuardTrace(**parts, layers=traces[0].layers, prompts=prompts)


def _lengthened(value: Tensor, longest: int, fill: float) -> Tensor:
    shape = (len(value), longest - value.shape[1], *value.shape[2:])
    return torch.cat([value, value.new_full(shape, fill)], dim=1)

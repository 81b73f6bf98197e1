"""A loop written by hand: token ids in, a verdict out; the model runs once for each token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepdrift.guard.checks import (
    GuardError,
    Rows,
    as_rows,
    check_context,
    check_rows,
    check_vocabulary,
)
from deepdrift.guard.decoder import Decoder
from deepdrift.guard.run import Run
from deepdrift.guard.tap import Tap
from deepdrift.states.forward import Quiet

_ELSE = "use guard.read(prompt_ids, answer_ids), or guard.watch() around a loop of your own"


class HandLoop:
    """Runs the model with its cache on a prompt, then token by token.

    Parameters
    ----------
    decoder : Decoder
    run : Run
    quiet : Quiet
    """

    def __init__(self, decoder: Decoder, run: Run, quiet: Quiet) -> None:
        if decoder.cache_name is None:
            raise GuardError(
                f"model: {type(decoder.network).__name__} has no cache (no argument named "
                f"cache, past_key_values or the like), and the guard never runs a prefix twice; "
                f"{_ELSE}"
            )
        self.run = run
        self._decoder, self._quiet = decoder, quiet
        self._mask = torch.empty(0, 0, device="cpu")
        self._ragged = False
        # asking every module for its mode takes half a millisecond: once an answer is enough
        self._evaluating = not any(module.training for module in decoder.network.modules())

    @property
    def started(self) -> bool:
        """Whether the prompt was read."""
        return self.run.prompt is not None

    def start(self, prompt: Any, attention_mask: Any = None) -> None:
        """Run the prompt, padded on the left."""
        decoder = self._decoder
        rows = check_rows(as_rows(prompt, "token", attention_mask), "token", None)
        check_vocabulary(rows, "token", decoder.vocabulary)
        check_context([len(row) for row in rows], "token", decoder.context)
        ids, self._mask = _flush_right(rows)
        self._ragged = not bool(self._mask.all())
        own = hasattr(decoder.network, "config") or "position_ids" in decoder.arguments
        if self._ragged and not ("attention_mask" in decoder.arguments and own):
            raise GuardError(
                f"token: prompts of unequal length ({', '.join(str(len(r)) for r in rows[:4])}) "
                f"need padding, and {type(decoder.network).__name__} takes no attention_mask with "
                "position_ids; run rows of one length, or guard.read(prompt_ids, answer_ids)"
            )
        self._pass(ids, None)

    def step(self, token: Any) -> None:
        """Run one more token of each row."""
        prompt = self.run.prompt
        ids = _column(token, len(prompt))
        check_vocabulary(ids.tolist(), "token", self._decoder.vocabulary)
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        check_context(self._mask.sum(dim=1).tolist(), "token", self._decoder.context)
        self._pass(ids, self.run.cache)

    def _pass(self, ids: Tensor, cache: Any) -> None:
        decoder, mask = self._decoder, None
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if self._ragged:
            linear = getattr(cache, "is_linear", None)  # recurrent: padding is behind it
            recurrent = linear is not None and (
                all(linear) if hasattr(linear, "__iter__") else linear
            )
            mask = None if recurrent else self._mask.to(decoder.device)
        wanted = {} if cache is None else {decoder.cache_name: cache}
        steady = self._evaluating and not decoder.network.training and self._quiet.draws is False
        with torch.no_grad() if steady else self._quiet(), Tap(decoder, self.run):
            decoder.call(
                ids,
                attention_mask=mask,
                position_ids=positions.to(decoder.device) if self._ragged else None,
                use_cache=True,
                logits_to_keep=1,
                **wanted,
            )
        if self.run.cache is None:
            raise GuardError(
                f"model: {type(decoder.network).__name__} returned no cache, and the guard never "
                f"runs a prefix twice; {_ELSE}"
            )


def _flush_right(rows: Rows) -> tuple[Tensor, Tensor]:
    """Rows padded on the left, and where a token stands."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.int64, device="cpu")
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = torch.tensor(row, device="cpu")
        mask[i, longest - len(row) :] = 1
    return ids, mask


def _column(token: Any, n: int) -> Tensor:
    """One token for each of n rows ``(n, 1)``."""
    ids = torch.as_tensor(token, device="cpu").detach()
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.numel() != n or ids.ndim > 2:
        raise GuardError(
            f"token: expected one token id for each of {n} rows, got {ids.dtype} of shape "
            f"{tuple(ids.shape)}; guard.reset() begins a new answer"
        )
    return ids.reshape(n, 1).long()

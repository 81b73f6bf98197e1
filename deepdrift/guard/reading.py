"""Text that exists already: one forward over prompts and answers, no generation."""

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
from deepdrift.guard.familiar import Sketch
from deepdrift.guard.places import moved
from deepdrift.guard.run import Ends
from deepdrift.guard.tap import Tap
from deepdrift.guard.tokens import answer_mask, log_probabilities
from deepdrift.guard.trace import GuardTrace, blank_trace, freeze
from deepdrift.states.forward import Quiet


class _OnePass:
    """Keeps what the one pass made."""

    states: list[Tensor]
    result: Any

    def entered(self, call: dict[str, Any]) -> None:
        """Nothing to refuse: the rows are ours."""

    def left(self, states: list[Tensor], result: Any) -> None:
        """Keep it."""
        self.states, self.result = states, result


def prompts_and_answers(
    prompt_ids: Any, answer_ids: Any, attention_mask: Any, decoder: Decoder, ends: Ends
) -> tuple[Rows, Rows]:
    """Both as rows without padding, checked.

    Raises
    ------
    GuardError
        For empty prompts, tokens outside of the vocabulary, sequences beyond the context, another
        number of answers than prompts, a mask that fits neither.
    """
    prompt_mask, answer_keep = attention_mask, None
    if attention_mask is not None and isinstance(prompt_ids, Tensor):
        mask = torch.as_tensor(attention_mask, device="cpu")
        mask = mask[None] if mask.ndim == 1 else mask
        width = prompt_ids.shape[-1]
        prompt_mask, answer_keep = mask[:, :width], mask[:, width:]
        answer_keep = answer_keep if answer_keep.shape[1] else None
    prompts = check_rows(as_rows(prompt_ids, "prompt_ids", prompt_mask), "prompt_ids", None)
    check_vocabulary(prompts, "prompt_ids", decoder.vocabulary)
    if answer_ids is None:
        answers: Rows = [[] for _ in prompts]
    else:
        if isinstance(answer_ids, Tensor) and answer_keep is None and answer_ids.ndim > 0:
            tokens = answer_ids[None] if answer_ids.ndim == 1 else answer_ids
            answer_keep = answer_mask(tokens, *ends) & (tokens >= 0)
        answers = as_rows(answer_ids, "answer_ids", answer_keep)
        if not answers and len(prompts) == 1:
            answers = [[]]
    if len(answers) != len(prompts):
        raise GuardError(
            f"answer_ids: expected one answer for each of {len(prompts)} prompts, got "
            f"{len(answers)}"
        )
    check_vocabulary(answers, "answer_ids", decoder.vocabulary)
    check_context([len(p) for p in prompts], "prompt_ids", decoder.context)
    both = [len(p) + len(a) for p, a in zip(prompts, answers, strict=True)]
    check_context(both, "prompt_ids, answer_ids", decoder.context)
    return prompts, answers


def read(
    decoder: Decoder, sketch: Sketch, quiet: Quiet, prompts: Rows, answers: Rows
) -> GuardTrace:
    """The trace of answers to prompts, in one forward.

    Rows are set flush left with padding behind, which no earlier token of a causal model sees, so
    that no position needs to be told.
    """
    rows = [p + a for p, a in zip(prompts, answers, strict=True)]
    (ids, real), (tokens, mask) = _flush_left(rows), _flush_left(answers)
    longest, n_answer = ids.shape[1], tokens.shape[1]
    ends = torch.tensor([len(p) - 1 for p in prompts], device="cpu")  # what predicts an answer
    left_out = int(ends.min())
    one, keep = _OnePass(), longest - left_out
    with quiet(), Tap(decoder, one):
        decoder.call(
            ids,
            attention_mask=None if bool(real.all()) else real.long().to(decoder.device),
            use_cache=False,
            logits_to_keep=keep,
        )
    logits, _ = decoder.output(one.result)
    left_out = longest - logits.shape[1]  # a model may not know logits_to_keep
    place = ends[:, None] + torch.arange(n_answer, device="cpu")[None]
    row, column = mask.nonzero(as_tuple=True)
    at = place[row, column]
    log_p, entropy = log_probabilities(logits[row, at - left_out])
    chosen = tokens[row, column].to(log_p.device)
    log_prob = log_p.gather(1, chosen[:, None])[:, 0]
    velocity, sketches = _states(one.states, row, at, sketch)
    every = torch.arange(len(rows), device="cpu")
    _, prompt_sketch = _states(one.states, every, ends, sketch)
    shape = (len(rows), n_answer)
    return freeze(
        blank_trace(
            tokens,
            mask,
            _spread(log_prob, mask, shape),
            _spread(entropy, mask, shape),
            _spread(velocity, mask, (*shape, len(decoder.layers))),
            _spread(sketches, mask, (*shape, *prompt_sketch.shape[1:])),
            prompt_sketch.cpu(),
            decoder.layers,
            tuple(map(tuple, prompts)),
        )
    )


def _flush_left(rows: Rows) -> tuple[Tensor, Tensor]:
    """Rows padded on the right, and where a token stands."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.int64, device="cpu")
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64, device="cpu")
        mask[i, : len(row)] = True
    return ids, mask


def _states(states: list[Tensor], row: Tensor, at: Tensor, sketch: Sketch) -> tuple[Tensor, Tensor]:
    """Velocities ``(n, L)`` and sketches ``(n, L, r)`` at n positions."""
    now = [state[row, at].float() for state in states]
    before = [state[row, (at - 1).clamp(min=0)].float() for state in states]
    velocity = moved(now, before)
    none = (at == 0).to(velocity.device)
    return velocity.masked_fill(none[:, None], torch.nan), sketch(now)


def _spread(values: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values of the tokens of the answers in their places, NaN elsewhere."""
    spread = torch.full(shape, torch.nan, dtype=torch.float32, device="cpu")
    spread[mask] = values.float().cpu()
    return spread

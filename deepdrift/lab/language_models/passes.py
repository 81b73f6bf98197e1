"""One pass over a prompt and its answer, and what is kept of the states inside.

Positions: the state that *predicts* a token stands one place before it. Of an answer of T tokens
that are the last token of the prompt and the first T - 1 of the answer. The names and meanings of
what is kept are those of `deepdrift.guard.GuardTrace` where it has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from deepdrift.lab.language_models.answering import by_length, padded
from deepdrift.states.projection import Projection

__all__ = ["RANK", "Reading", "blocks_of", "joined", "read", "states_of"]

RANK = 32


@dataclass(frozen=True, eq=False)
class Reading:
    """What is kept of N answers of at most T tokens, L blocks of width D, rank r.

    Attributes
    ----------
    tokens : Tensor, shape (N, T), int64
    mask : Tensor, shape (N, T), bool
    log_prob, entropy : Tensor, shape (N, T), float32
        Of each token, in nats; 0 outside the mask.
    velocity : Tensor, shape (N, T, L), float32
        Length of the change of a block's state to the position that predicts the token, from the
        position before; 0 outside the mask.
    sketch : Tensor, shape (N, T, L, r), float32
        Random projection of the states that predict; 0 outside the mask.
    prompt_sketch : Tensor, shape (N, L, r), float32
        The same at the last token of the prompt.
    update : Tensor, shape (N, L), float32
        Length of what each block adds to the state at the last token of the prompt.
    last, middle, name : Tensor, shape (N, D), float32
        States: last block and middle block (L // 2 of L) at the last token of the prompt; middle
        block at the last token of the name that is asked about.
    """

    tokens: Tensor
    mask: Tensor
    log_prob: Tensor
    entropy: Tensor
    velocity: Tensor
    sketch: Tensor
    prompt_sketch: Tensor
    update: Tensor
    last: Tensor
    middle: Tensor
    name: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def at(self, index: Tensor) -> Reading:
        """Some of them: a mask or indices."""
        return Reading(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def fold(self, values: Tensor, how: str = "sum") -> Tensor:
        """Sum, mean or maximum ``(N,)``, float64, of values ``(N, T)`` over the answer."""
        x = values.double()
        if how == "max":
            return x.masked_fill(~self.mask, -torch.inf).amax(dim=1)
        total = x.masked_fill(~self.mask, 0.0).sum(dim=1)
        return total / self.mask.sum(dim=1) if how == "mean" else total


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a `FactModel` or of a Llama of transformers."""
    return list(model.model.layers if hasattr(model, "model") else model.blocks)


@contextmanager
def states_of(blocks: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Fill a list with what goes into the first block and what comes out of each, ``(B, T, D)``.

    The hooks are gone when the block of code ends.
    """
    found: list[Tensor] = []
    hooks = [
        blocks[0].register_forward_pre_hook(lambda _, args: found.append(args[0].detach())),
        *(
            block.register_forward_hook(lambda _, args, out: found.append(out.detach()))
            for block in blocks
        ),
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def read(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    name_at: Sequence[int],
    batch: int = 256,
    rank: int = RANK,
) -> Reading:
    """Read answers that exist already, one pass for each batch of prompts of equal length.

    Parameters
    ----------
    model : nn.Module
    prompts, answers : sequences of N token id lists, none empty
    name_at : sequence of int
        Place in each prompt of the last token of the name that is asked about.
    batch : int
    rank : int
        Width of the sketches.

    Examples
    --------
    >>> from deepdrift.lab.language_models.fact_model import FactModel
    >>> reading = read(FactModel().eval(), [[0, 1], [0, 2, 3]], [[4, 5], [6]], [1, 1])
    >>> reading.mask.tolist(), reading.velocity.shape
    ([[True, True], [True, False]], torch.Size([2, 2, 4]))
    """
    blocks, project = blocks_of(model), Projection(rank)
    tokens, mask = padded(answers)
    parts: list[Reading] = []
    order: list[int] = []
    for rows in by_length(prompts, batch):
        first = len(prompts[rows[0]])
        ids, said = torch.tensor([list(prompts[i]) for i in rows]), tokens[rows]
        with states_of(blocks) as states:
            result = model(torch.cat([ids, said[:, :-1]], dim=1))
        logits = getattr(result, "logits", result)[:, first - 1 :]
        names = torch.tensor([name_at[i] for i in rows])
        parts.append(_kept(states, logits, said, mask[rows], names, first, project))
        order += rows
    whole = joined(parts)
    return whole.at(torch.tensor(order).argsort())


def _kept(
    states: list[Tensor],
    logits: Tensor,
    tokens: Tensor,
    mask: Tensor,
    names: Tensor,
    first: int,
    project: Projection,
) -> Reading:
    log_p = logits.float().log_softmax(dim=-1)
    log_prob = log_p.gather(2, tokens[..., None])[..., 0]
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    stacked = torch.stack(states, dim=2)  # (B, P + T - 1, L + 1, D)
    ends = stacked[:, first - 2 :, 1:]
    velocity = ends.diff(dim=1).norm(dim=-1)
    ends = ends[:, 1:]
    n, t, depth, width = ends.shape
    sketch = project(ends.reshape(-1, width)).view(n, t, depth, -1)
    at_end = stacked[:, first - 1]
    middle = depth // 2  # block number depth // 2, counted from one: the input stands first
    return Reading(
        tokens=tokens,
        mask=mask,
        log_prob=log_prob.masked_fill(~mask, 0.0),
        entropy=entropy.masked_fill(~mask, 0.0),
        velocity=velocity.masked_fill(~mask[..., None], 0.0),
        sketch=sketch.masked_fill(~mask[..., None, None], 0.0),
        prompt_sketch=sketch[:, 0].clone(),
        update=at_end.diff(dim=1).norm(dim=-1),
        last=at_end[:, -1].clone(),
        middle=at_end[:, middle].clone(),
        name=stacked[torch.arange(n), names, middle].clone(),
    )


def joined(parts: Sequence[Reading]) -> Reading:
    """One reading of several, of answers of the same number of columns."""
    return Reading(
        **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Reading)}
    )

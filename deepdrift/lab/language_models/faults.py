"""Break one block of a model, and let its states say which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deepdrift.lab.language_models.passes import RANK, blocks_of, states_of
from deepdrift.scores.distance import LayerDistance
from deepdrift.scores.innovation import StepPredictor
from deepdrift.states.projection import Projection

__all__ = ["FAULTS", "FAULTY_BLOCKS", "accused", "broken", "chain_scores", "last_states"]

FAULTY_BLOCKS = (4, 9, 14, 19, 24, 28)
"""Blocks of SmolLM2, counted from one, that were broken in the recorded run."""

FAULTS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "left out": lambda x, y, g: x,
    "halved": lambda x, y, g: (x + y) / 2,
    "noise": lambda x, y, g: (
        y + torch.randn(y.shape, generator=g) * (y - x).square().mean(dim=-1, keepdim=True).sqrt()
    ),
}
"""What is done to a block's output y, given its input x: its update left out, halved, or noise of
the update's own size added."""


@contextmanager
def broken(block: nn.Module, fault: str, seed: int = 0) -> Iterator[None]:
    """A block that has one of the `FAULTS` as long as the code inside runs.

    Examples
    --------
    >>> block = nn.Linear(1, 1)
    >>> with broken(block, "left out"):
    ...     block(torch.tensor([[7.0]])).item()
    7.0
    """
    draws, change = torch.Generator().manual_seed(seed), FAULTS[fault]
    handle = block.register_forward_hook(lambda _, args, out: change(args[0], out, draws))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def last_states(model: nn.Module, prompts: Sequence[Sequence[int]]) -> Tensor:
    """States of every block at the last token of each prompt, ``(N, L, D)``."""
    rows = []
    for prompt in prompts:
        with states_of(blocks_of(model)) as states:
            model(torch.tensor([list(prompt)]))
        rows.append(torch.stack([s[0, -1] for s in states[1:]]))
    return torch.stack(rows)


def chain_scores(normal: Tensor, states: Tensor, rank: int = RANK) -> tuple[Tensor, Tensor]:
    """Innovation of the step into every block, and distance in every block, ``(N, L)`` each.

    On sketches of ``rank`` numbers, fitted on normal states ``(M, L, D)``. No step leads into the
    first block; its distance stands for both.
    """
    project = Projection(rank)

    def sketch(x: Tensor) -> Tensor:
        return project(x.reshape(-1, x.shape[-1])).view(*x.shape[:2], -1)

    fit, new = sketch(normal), sketch(states)
    depth = range(fit.shape[1])
    distance = LayerDistance().fit({str(i): fit[:, i] for i in depth})
    d = distance.score({str(i): new[:, i] for i in depth})
    q = [d[:, 0]]
    for i in depth[1:]:
        step = StepPredictor().fit(fit[:, i - 1], fit[:, i])
        q.append(step.score(new[:, i - 1], new[:, i]))
    return torch.stack(q, dim=1), d


def accused(normal: Tensor, scores: Tensor) -> dict[str, Tensor]:
    """Which block is named, counted from one, by two rules; ``(N,)`` each.

    Parameters
    ----------
    normal, scores : Tensor, shapes (M, L), (N, L)
        Of one kind of `chain_scores`, for normal prompts that nothing was fitted on, and new ones.

    Returns
    -------
    dict of str to Tensor
        ``"largest"``: where the logarithm exceeds its normal mean by most standard deviations;
        ``"first"``: the first block beyond the largest normal score, 0 if there is none.

    Examples
    --------
    A fault in block 2 that block 3 passes on, enlarged: only the second rule names block 2.

    >>> normal = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    >>> found = accused(normal, torch.tensor([[1.0, 9.0, 99.0]]))
    >>> found["largest"].item(), found["first"].item()
    (3, 2)
    """
    a, b = normal.clamp(min=1e-9).log(), scores.clamp(min=1e-9).log()
    z = (b - a.mean(dim=0)) / a.std(dim=0)
    beyond = b > a.amax(dim=0)
    first = torch.where(beyond.any(dim=1), beyond.int().argmax(dim=1) + 1, 0)
    return {"largest": z.argmax(dim=1) + 1, "first": first}

"""The token microscope: how far every block's state moves at every token, and why.

The velocity at a position is the length of the change of a block's state from the position before.
Most of it says which token came next, so each token's mean velocity is taken away and what is left
is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.lab.language_models.passes import blocks_of, states_of
from deepdrift.lab.language_models.records import Records

__all__ = [
    "ANSWERS",
    "Slide",
    "explained_share",
    "follows_the_token",
    "slides",
    "velocity_map",
]

ANSWERS = ("own", "right", "another country's")
SEPARATOR = "\x1f"


@torch.no_grad()
def velocity_map(model: nn.Module, ids: Sequence[int]) -> Tensor:
    """Length of the change of each block's state at each position, ``(T, L)``; the first is NaN.

    Examples
    --------
    >>> from deepdrift.lab.language_models.fact_model import FactModel
    >>> velocity_map(FactModel().eval(), [0, 4, 5]).isnan().any(dim=1).tolist()
    [True, False, False]
    """
    with states_of(blocks_of(model)) as states:
        model(torch.tensor([list(ids)]))
    velocity = torch.stack([s[0].diff(dim=0).norm(dim=-1) for s in states[1:]], dim=1)
    return torch.cat([velocity.new_full((1, velocity.shape[1]), torch.nan), velocity])


@dataclass(frozen=True, eq=False)
class Slide:
    """One question with one answer under the microscope.

    Attributes
    ----------
    country : str
    answer : str
        One of `ANSWERS`.
    pieces : tuple of str, length T
        Tokens as text, prompt and answer.
    first : int
        Place of the answer's first token.
    velocity : array, shape (T, 30)
        NaN where there is no position before.
    unexplained : array, shape (T, 30)
        Velocity less the mean where this token stands anywhere in the run; NaN for tokens that the
        run does not contain.
    """

    country: str
    answer: str
    pieces: tuple[str, ...]
    first: int
    velocity: np.ndarray
    unexplained: np.ndarray


def slides(records: Records) -> list[Slide]:
    """The recorded slides: country after country, each with three answers."""
    o = records.other
    place = {int(t): i for i, t in enumerate(o["seen_tokens"])}
    means = o["seen_velocity"].astype(float)
    empty = np.full(means.shape[1], np.nan)
    found = []
    for k, (ids, size) in enumerate(zip(o["swap_ids"], o["swap_size"], strict=True)):
        velocity = o["swap_velocity"][k, :size].astype(float)
        usual = np.stack([means[place[t]] if t in place else empty for t in ids[:size].tolist()])
        country = k // len(ANSWERS)
        rows = records.rows("statement") & (records.country == country)
        found.append(
            Slide(
                records.countries[country].name,
                ANSWERS[k % len(ANSWERS)],
                tuple(str(o["swap_pieces"][k]).split(SEPARATOR)),
                int(records.prompt_tokens[rows][0]),
                velocity,
                velocity - usual,
            )
        )
    return found


def follows_the_token(slides: Sequence[Slide]) -> dict[str, np.ndarray]:
    """How much the velocity at the answer's first token differs, by block.

    Returns
    -------
    dict of str to array, shape (30,)
        ``"same question, another token"``: mean absolute difference between the own and the other
        country's capital after one question, where the tokens differ; ``"same token, another
        question"``: between the questions that were given one token; both as shares of the mean
        velocity. The smaller says what the velocity follows.
    """
    by_country = [slides[i : i + len(ANSWERS)] for i in range(0, len(slides), len(ANSWERS))]
    first = [(s.pieces[s.first], s.velocity[s.first]) for s in slides]
    scale = np.mean([v for _, v in first], axis=0)
    swapped = [
        np.abs(a.velocity[a.first] - c.velocity[c.first])
        for a, _, c in by_country
        if a.pieces[a.first] != c.pieces[c.first]
    ]
    groups: dict[str, list[tuple[int, np.ndarray]]] = {}
    for k, (piece, v) in enumerate(first):
        groups.setdefault(piece, []).append((k // len(ANSWERS), v))
    same = [
        np.abs(a - b)
        for group in groups.values()
        for i, (one, a) in enumerate(group)
        for two, b in group[i + 1 :]
        if one != two
    ]
    return {
        "same question, another token": np.mean(swapped, axis=0) / scale,
        "same token, another question": np.mean(same, axis=0) / scale,
    }


def explained_share(velocity: np.ndarray, token: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Share of the variance of the velocity that is explained, block by block.

    Adjusted R^2 of additive group means by least squares, so that groups of few samples explain
    nothing by their number alone; about 0 or slightly below where nothing is explained.

    Parameters
    ----------
    velocity : array, shape (N, L)
    token, place : array of int, shape (N,)
        Which token stands at the position; which position it is, in its template.

    Returns
    -------
    array, shape (3, L)
        By the token, by the place, by both.

    Examples
    --------
    >>> token = np.array([0, 0, 1, 1, 0, 1])
    >>> explained_share(5.0 * token[:, None], token, np.array([0, 1, 0, 1, 1, 0]))[[0, 2], 0]
    array([1., 1.])
    """
    y = np.asarray(velocity, dtype=np.float64)
    groups = [np.unique(g, return_inverse=True)[1] for g in (token, place)]
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0) / (len(y) - 1)
    shares = []
    for wanted in (groups[:1], groups[1:], groups):
        design = np.concatenate([np.eye(g.max() + 1)[g] for g in wanted], axis=1)
        beta, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
        rest = ((y - design @ beta) ** 2).sum(axis=0) / (len(y) - rank)
        shares.append(1 - rest / total)
    return np.stack(shares)

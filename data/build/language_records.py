"""From the raw run of ``build_language.py`` to the arrays that ship; no model is needed here."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.lab.language_models.capitals import TEMPLATES, Country, normalise
from deepdrift.lab.language_models.doubt import INSIDE, Inside, disagreement, output_scores
from deepdrift.lab.language_models.microscope import explained_share
from deepdrift.lab.language_models.passes import Reading, joined
from deepdrift.lab.language_models.records import N_FOLDS, folds
from deepdrift.lab.language_models.unfamiliar import format_p_values

PROBE_STRENGTH = 0.01


def reading_of(done: dict[str, Any], n_tokens: int) -> Reading:
    """A template's `Reading`, of answers as wide as the longest of all templates."""
    parts = {}
    for f in fields(Reading):
        x = torch.from_numpy(done[f"reading_{f.name}"])
        if f.name in ("tokens", "mask", "log_prob", "entropy", "velocity", "sketch"):
            x = torch.cat([x, x.new_zeros(len(x), n_tokens - x.shape[1], *x.shape[2:])], dim=1)
        parts[f.name] = x
    return Reading(**parts)


def inside_scores(
    reading: Reading, right: Tensor, country: Tensor, n: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Scores of every answer by what was fitted on the other countries, and innovation by step."""
    fold = torch.from_numpy(folds(n, N_FOLDS))[country]
    found = {name: torch.zeros(len(reading), dtype=torch.float64) for name in INSIDE}
    steps = torch.zeros(len(reading), reading.velocity.shape[2] - 1, dtype=torch.float64)
    for k in range(N_FOLDS):
        rows, others = fold == k, fold != k
        fitted = Inside(
            reading.at(others & right), None, reading.at(others & ~right), PROBE_STRENGTH
        )
        part = reading.at(rows)
        for name, values in fitted.score(part).items():
            found[name][rows] = values
        steps[rows] = fitted.steps(part)
    return found, steps


def explained(walks: dict[str, Any], answers_only: bool) -> np.ndarray:
    """Adjusted R^2 of the velocity by token, by template and place, by both: ``(3, L)``."""
    token, place, v = [], [], []
    for t, walk in enumerate(walks.values()):
        rows = walk["answer"] if answers_only else np.ones(len(walk["token"]), dtype=bool)
        token.append(walk["token"][rows].astype(np.int64))
        place.append(walk["place"][rows].astype(np.int64) + 1000 * t)
        v.append(walk["v"][rows].astype(np.float64))
    return explained_share(np.concatenate(v), np.concatenate(token), np.concatenate(place))


def token_means(walks: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens seen, how often, and the mean velocity of every block where they stand."""
    token = np.concatenate([w["token"] for w in walks.values()]).astype(np.int64)
    v = np.concatenate([w["v"] for w in walks.values()]).astype(np.float64)
    names, index, counts = np.unique(token, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), v.shape[1]))
    np.add.at(sums, index, v)
    return names, counts, sums / counts[:, None]


def write_records(
    out: Path,
    countries: list[Country],
    done: dict[str, Any],
    walks: dict[str, Any],
    swap: dict[str, Any],
    broke: dict[str, Any],
    entropy: dict[str, Any],
) -> None:
    """Write the file that ships."""
    n, names = len(countries), list(TEMPLATES)
    longest = max(int(d["lengths"].max()) for d in done.values())
    reading = joined([reading_of(done[t], longest) for t in names])
    country = torch.arange(n).repeat(len(names))
    template = torch.arange(len(names)).repeat_interleave(n)

    def stacked(key: str) -> np.ndarray:
        return np.concatenate([done[t][key] for t in names])

    right = torch.from_numpy(stacked("right"))
    scores = output_scores(reading)
    said = [[normalise(str(x)) for x in done[t]["text"]] for t in names]
    scores["disagreement"] = torch.from_numpy(disagreement(said).flatten())
    inside, steps = inside_scores(reading, right, country, n)
    scores |= inside
    scores["sample entropy"] = torch.from_numpy(
        np.concatenate([entropy[t]["entropy"] for t in names]).astype(np.float64)
    )
    p, format_steps = format_p_values(reading.prompt_sketch, template, country)
    tokens, seen, means = token_means(walks)
    rank = reading.prompt_sketch.shape[-1]

    def rms(q: Tensor) -> np.ndarray:
        return (q / rank).sqrt().clamp(max=6e4).numpy().astype(np.float16)

    np.savez_compressed(
        out,
        templates=np.array(names),
        country=country.numpy().astype(np.uint8),
        template=template.numpy().astype(np.uint8),
        right=right.numpy(),
        text=stacked("text"),
        tokens=stacked("tokens")[:, :longest],
        lengths=stacked("lengths"),
        prompt_tokens=stacked("prompt_tokens"),
        log_prob=reading.log_prob.numpy().astype(np.float32),
        entropy=reading.entropy.numpy().astype(np.float32),
        velocity=reading.velocity.numpy().astype(np.float16),
        update=reading.update.numpy().astype(np.float16),
        score_names=np.array(list(scores)),
        scores=torch.stack(list(scores.values())).numpy().astype(np.float32),
        innovation=rms(steps),
        format_p=p.numpy().astype(np.float32),
        format_innovation=rms(format_steps),
        explained=explained(walks, answers_only=False).astype(np.float32),
        explained_answers=explained(walks, answers_only=True).astype(np.float32),
        seen_tokens=tokens.astype(np.uint16),
        seen_counts=seen.astype(np.uint16),
        seen_velocity=means.astype(np.float16),
        **{f"swap_{k}": v for k, v in swap.items()},
        **{f"broken_{k}": v for k, v in broke.items()},
    )
    print(out, out.stat().st_size, "bytes")

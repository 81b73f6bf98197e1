"""The recorded run of SmolLM2 on capitals, and what is measured of it without the model.

All measures, splits and signs were written down before the run, in
``data/build/build_language.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.data import shipped
from deepdrift.lab.language_models.capitals import Country, load_countries, normalise
from deepdrift.lab.language_models.clustered import Layout, rate

__all__ = ["N_FOLDS", "N_QUARTERS", "Records", "folds", "load_records"]

N_FOLDS, N_QUARTERS = 5, 4


def folds(n: int, k: int, seed: int = 0) -> np.ndarray:
    """Which of k folds each of n countries is in, as equal as can be.

    Examples
    --------
    >>> np.bincount(folds(160, 5)).tolist()
    [32, 32, 32, 32, 32]
    """
    return np.random.default_rng(seed).permutation(np.arange(n) % k)


@dataclass(frozen=True, eq=False)
class Records:
    """N = countries x templates answers, all of one template beside each other.

    Attributes
    ----------
    countries : list of Country
    templates : tuple of str
    country, template : array of int, shape (N,)
    right : array of bool, shape (N,)
    text : array of str, shape (N,)
        Answers.
    tokens : array of int, shape (N, T)
    lengths, prompt_tokens : array of int, shape (N,)
    log_prob, entropy : array, shape (N, T), float32, in nats
    velocity : array, shape (N, T, 30), float16
        Length of the change of each block's state, see `passes.Reading`; 0 beyond the answer.
    update : array, shape (N, 30), float16
        Length of what each block adds at the last token of the prompt.
    scores : dict of str to array, shape (N,), float32
        All of `doubt.OUTPUT` and `doubt.INSIDE`, and "sample entropy"; what is fitted was fitted on
        other countries (`folds`).
    innovation : array, shape (N, 29), float16
        Root mean square residual of every step between blocks at the last token of the prompt.
    format_p : array, shape (5, N), float32
        P-value of every prompt under a guard of each template, calibrated on other countries.
    format_innovation : array, shape (5, N, 29), float16
    other : dict of str to array
        Explained variance, mean velocities by token, swaps, broken blocks.
    """

    countries: list[Country]
    templates: tuple[str, ...]
    country: np.ndarray
    template: np.ndarray
    right: np.ndarray
    text: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    prompt_tokens: np.ndarray
    log_prob: np.ndarray
    entropy: np.ndarray
    velocity: np.ndarray
    update: np.ndarray
    scores: dict[str, np.ndarray]
    innovation: np.ndarray
    format_p: np.ndarray
    format_innovation: np.ndarray
    other: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.right)

    @property
    def wrong(self) -> np.ndarray:
        """Which answers are wrong, bool ``(N,)``."""
        return ~self.right

    @cached_property
    def population(self) -> np.ndarray:
        """Of each answer's country."""
        return np.array([c.population for c in self.countries])[self.country]

    @cached_property
    def said(self) -> np.ndarray:
        """Answers in normal form, ``(templates, countries)``."""
        texts = [normalise(str(text)) for text in self.text]
        return np.array(texts).reshape(len(self.templates), -1)

    @cached_property
    def controls(self) -> dict[str, np.ndarray]:
        """Tokens of the answer and of the prompt, population, how common the answer is."""
        common = [[int((row == x).sum()) - 1 for x in row] for row in self.said]
        return {
            "length": self.lengths.astype(float),
            "position": self.prompt_tokens.astype(float),
            "unpopularity": -np.log(self.population.astype(float)),
            "common answer": np.log1p(np.array(common, dtype=float).flatten()),
        }

    @cached_property
    def fold(self) -> np.ndarray:
        """The fold of each answer's country."""
        return folds(len(self.countries), N_FOLDS)[self.country]

    def rows(self, template: str) -> np.ndarray:
        """Answers of one template, bool ``(N,)``."""
        return self.template == self.templates.index(template)

    def layout(self, **how: Any) -> Layout:
        """Wrong against right within each template, countries as clusters."""
        return Layout(self.wrong, self.template, self.country, **how)

    def right_share(self) -> dict[str, Estimate]:
        """Share of right answers by template."""
        return {
            t: rate(self.right[self.rows(t)], self.country[self.rows(t)]) for t in self.templates
        }

    def table(self, layout: Layout | None = None) -> dict[str, Estimate]:
        """AUROC for "wrong" of every score and control."""
        layout = layout or self.layout()
        return {name: layout.auroc(s) for name, s in (self.scores | self.controls).items()}


def load_records(path: str | Path | None = None, facts: str | Path | None = None) -> Records:
    """The shipped records, or those of another file of ``data/build/build_language.py``."""
    with np.load(path or shipped("capitals.npz"), allow_pickle=False) as file:
        arrays = dict(file)
    names = arrays.pop("score_names").tolist()
    arrays["scores"] = dict(zip(names, arrays["scores"], strict=True))
    for name in ("country", "template", "tokens", "lengths", "prompt_tokens"):
        arrays[name] = arrays[name].astype(np.int64)
    known = Records.__dataclass_fields__
    kept = {k: v for k, v in arrays.items() if k in known}
    kept["templates"] = tuple(kept["templates"].tolist())
    other = {k: v for k, v in arrays.items() if k not in known}
    n = len(set(kept["country"].tolist()))
    return Records(load_countries(facts)[:n], **kept, other=other)

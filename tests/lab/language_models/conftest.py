"""A made run: 60 countries, five templates, and scores whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.language_models.capitals import TEMPLATES, load_countries
from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT
from deepdrift.lab.language_models.records import Records

N, T, L = 60, 4, 3


@pytest.fixture(scope="session")
def made() -> Records:
    """Whole-answer NLL is all there is to know; its first token is a part, "probe" the rest."""
    rng = np.random.default_rng(0)
    k = len(TEMPLATES)
    country, template = np.tile(np.arange(N), k), np.repeat(np.arange(k), N)
    shared = np.tile(rng.normal(size=N), k)  # one country is hard in every template
    lengths = rng.integers(1, T + 1, size=N * k)
    first, rest = rng.gamma(2, 1, size=N * k), rng.gamma(2, 1, size=N * k)
    wrong = first + rest + shared + rng.normal(size=N * k) * 0.5 > 4
    scores = {name: rng.normal(size=N * k) for name in (*OUTPUT, *INSIDE, "sample entropy")}
    scores |= {"first": first, "nll": first + rest, "probe": rest}
    here = np.arange(T) < lengths[:, None]
    tokens = np.where(here, rng.integers(1, 9, size=(N * k, T)), 0)
    before = np.concatenate([100 + template[:, None], tokens[:, :-1]], axis=1)
    velocity = np.where(here, before, 0)[..., None] * np.ones(L)  # the token and nothing else
    p = rng.uniform(size=(k, N * k))
    p[np.arange(k)[:, None] != template[None]] = 0.01  # every other format is flagged
    countries = load_countries()[:N]
    text = [
        f" {countries[c].capital}" if not w else f" Nowhere {rng.integers(3)}"
        for c, w in zip(country, wrong, strict=True)
    ]
    return Records(
        countries,
        tuple(TEMPLATES),
        country,
        template,
        ~wrong,
        np.array(text),
        tokens,
        lengths,
        np.full(N * k, 9) + template,
        np.zeros((N * k, T)),
        np.zeros((N * k, T)),
        velocity,
        np.ones((N * k, L)),
        scores,
        np.ones((N * k, L - 1)),
        p,
        np.ones((k, N * k, L - 1)),
    )

"""Velocity maps, and what is left of them when the token is taken away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepdrift.lab.language_models.fact_model import FactModel
from deepdrift.lab.language_models.microscope import (
    ANSWERS,
    SEPARATOR,
    explained_share,
    follows_the_token,
    slides,
    velocity_map,
)
from deepdrift.lab.language_models.passes import read


def test_a_map_is_the_velocity_of_the_reading():
    torch.manual_seed(0)
    model = FactModel().eval()
    whole = velocity_map(model, [0, 5, 9, 20, 21])
    reading = read(model, [[0, 5, 9]], [[20, 21]], [1])
    assert torch.allclose(whole[2:4], reading.velocity[0], atol=1e-5)


def cards(records):
    """Two questions, three answers each; velocity is 10 x token + question."""
    ids = np.array([[1, 7], [1, 8], [1, 9], [2, 8], [2, 7], [2, 6]])
    velocity = np.stack([np.full((6, 3), np.nan), 10.0 * ids[:, 1:] + ids[:, :1] + [0, 0, 0]], 1)
    other = {
        "swap_ids": ids,
        "swap_size": np.full(6, 2),
        "swap_pieces": np.array([f"q{SEPARATOR}{b}" for _, b in ids]),
        "swap_velocity": velocity,
        "seen_tokens": np.array([1, 2, 7, 8, 9]),
        "seen_velocity": 10.0 * np.array([1, 2, 7, 8, 9])[:, None] * np.ones(3),
    }
    prompts = np.where(records.template == 2, 1, records.prompt_tokens)
    return slides(replace(records, other=other, prompt_tokens=prompts))


def test_slides_take_the_mean_of_the_token_away(made):
    found = cards(made)
    assert [s.answer for s in found] == [*ANSWERS, *ANSWERS]
    assert found[0].country == made.countries[0].name and found[5].country == made.countries[1].name
    first, last = found[0], found[-1]
    assert (first.pieces, first.first) == (("q", "7"), 1)
    assert first.unexplained[1].tolist() == [1, 1, 1] and np.isnan(first.velocity[0]).all()
    assert np.isnan(last.unexplained[1]).all()  # the run does not contain token 6


def test_the_velocity_follows_the_token(made):
    found = follows_the_token(cards(made))
    scale = np.mean([71, 81, 91, 82, 72, 62])
    assert found["same question, another token"] == pytest.approx(np.full(3, 20 / scale))
    assert found["same token, another question"] == pytest.approx(np.full(3, 1 / scale))


def test_shares_by_hand():
    """Two tokens, two places: a difference of 2 by token and noise that is neither."""
    rng = np.random.default_rng(0)
    token, place = rng.integers(2, size=4000), rng.integers(2, size=4000)
    noise = rng.normal(size=4000)
    found = explained_share(np.stack([2.0 * token + noise, noise, 2.0 * place], 1), token, place)
    assert found[:, 0] == pytest.approx([0.5, 0, 0.5], abs=0.03)  # 1 of 1 + 1
    assert found[:, 1] == pytest.approx([0, 0, 0], abs=0.01)
    assert found[:, 2] == pytest.approx([0, 1, 1], abs=0.01)
    many = explained_share(noise[:, None], rng.integers(1000, size=4000), place)
    assert abs(many[0, 0]) < 0.05  # a thousand groups explain nothing by their number

"""Formats and blame, counted on a made run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepdrift.lab.language_models.faults import FAULTS, FAULTY_BLOCKS
from deepdrift.lab.language_models.unfamiliar import (
    blame,
    blame_together,
    format_p_values,
    kept,
    switch_rates,
    withdrawn,
)


def test_switch_and_same_format(made):
    rates = switch_rates(made)
    assert all(rates[a][b].value == 1 for a in rates for b in rates if a != b)
    assert withdrawn(made) == (20, 20)
    same = kept(made)
    for i, template in enumerate(made.templates):
        expected = (made.format_p[i, made.rows(template)] > 0.05).mean()
        assert same[template].value == pytest.approx(expected)
        assert rates[template][template].value == pytest.approx(1 - expected)
    lax = replace(made, format_p=np.where(np.arange(len(made)) % 8 == 0, 0.5, made.format_p))
    assert withdrawn(lax) == (0, 20)  # one prompt of eight is let through: less than 90 %


def test_blame_counts_the_broken_block_itself(made):
    shape = (len(FAULTS), len(FAULTY_BLOCKS), 10)
    truth = np.broadcast_to(np.array(FAULTY_BLOCKS)[None, :, None], shape)
    half = np.where(np.arange(10) < 5, truth, truth + 1)
    other = {f"broken_innovation_{rule}": truth for rule in ("largest", "first")}
    other |= {"broken_distance_largest": half, "broken_distance_first": np.zeros(shape, int)}
    records = replace(made, other=other)
    voted = blame_together(records, "innovation", "first")
    assert voted == {f: {b: b for b in FAULTY_BLOCKS} for f in FAULTS}
    assert set(blame_together(records, "distance", "first")["noise"].values()) == {0}
    found = blame(records)
    assert found["innovation, first"]["all"].value == 1
    assert [found["distance, largest"][f].value for f in FAULTS] == [0.5] * 3
    assert found["distance, first"]["noise"].value == 0


def test_a_guard_knows_its_own_format_and_no_other():
    g = torch.Generator().manual_seed(0)
    n, k = 160, 2
    country, template = torch.arange(n).repeat(k), torch.arange(k).repeat_interleave(n)
    first = torch.randn(n * k, 4, generator=g)
    second = torch.where(template[:, None] == 0, first, -first)  # another map in another format
    sketch = torch.stack([first, second + 0.1 * torch.randn(n * k, 4, generator=g)], dim=1)
    p, steps = format_p_values(sketch, template, country)
    assert p.shape == (2, 2 * n) and steps.shape == (2, 2 * n, 1)
    for own in range(k):
        assert (p[own, template != own] <= 1 / 41 + 1e-9).all()
        same = p[own, template == own]
        assert float((same <= 0.05).double().mean()) < 0.12
        assert float(same.mean()) == pytest.approx(0.5, abs=0.08)

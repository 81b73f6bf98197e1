"""Recorded streams: levels, onsets and autocorrelation against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift import StateScorer
from deepdrift.lab.alarms.streams import KINDS, DriftPool, StreamError, draw_all, severity_schedule

NOISE = np.random.default_rng(0).normal(size=(2000, 3))


def pool(n_calibration=10**9):
    clean = NOISE - NOISE.mean(axis=0)
    return DriftPool([(clean[:, :2] + 2 * k, clean[:, 2] + 3 * k) for k in range(3)], n_calibration)


def test_schedules_by_hand():
    given = {kind: severity_schedule(kind, 7, 2, 2.0, 2).tolist() for kind in KINDS}
    assert given == {
        "stationary": [0] * 7,
        "abrupt": [0, 0, 2, 2, 2, 2, 2],
        "gradual": [0, 0, 1, 2, 2, 2, 2],
        "transient": [0, 0, 2, 2, 0, 0, 0],
        "oscillating": pytest.approx([0, 0, 2, 0, 2, 0, 2]),
    }


def test_levels_follow_the_severity_and_the_batch_size():
    for batch_size in (1, 16):
        s = pool().draw("abrupt", n_steps=4000, onset=2000, severity=2, batch_size=batch_size)
        assert (s.onset, s.drifts.shape, s.fused.shape) == (2000, (4000, 2), (4000,))
        assert s.fused[:2000].mean() == pytest.approx(0, abs=0.1)
        assert s.fused[:2000].std() == pytest.approx(1, abs=0.06)
        assert s.fused[2000:].mean() == pytest.approx(6 * batch_size**0.5, abs=0.1)
        assert s.drifts[2000:].mean(axis=0) == pytest.approx(4 * batch_size**0.5, abs=0.1)


def test_a_fractional_severity_mixes_its_neighbours():
    s = pool().draw("abrupt", n_steps=4000, onset=0, severity=0.25, batch_size=1)
    assert s.fused.mean() == pytest.approx(0.75, abs=0.1)  # a quarter of the images at 3
    assert s.fused.std() == pytest.approx((1 + 9 * 0.25 * 0.75) ** 0.5, abs=0.06)


def test_memory_is_the_autocorrelation_and_leaves_level_and_spread():
    x = pool().draw("stationary", n_steps=40_000, memory=0.6).fused
    rho = [np.corrcoef(x[:-k], x[k:])[0, 1] for k in (1, 2)]
    assert rho == pytest.approx([0.6, 0.36], abs=0.03)
    assert (x.mean(), x.std()) == pytest.approx((0, 1), abs=0.06)


def test_a_batch_counts_as_the_scorer_counts_it():
    g = torch.Generator().manual_seed(0)
    states = {"a": torch.randn(400, 4, generator=g), "b": torch.randn(400, 4, generator=g)}
    scorer = StateScorer()
    scorer.calibrate(states)
    copies = {k: v[:1].repeat(8, 1) for k, v in states.items()}
    layers, fused = scorer.drift(copies)
    own = DriftPool([scorer.drift_per_sample(copies)], scorer.calibration.n_samples)
    drawn = own.draw(n_steps=1, onset=0, batch_size=8)
    assert drawn.fused[0] == pytest.approx(float(fused))
    assert drawn.drifts[0] == pytest.approx(layers.numpy())


def test_the_same_seed_gives_the_same_past_whatever_comes():
    streams = draw_all(pool(), n_steps=60, onset=30, seed=3)
    assert list(streams) == list(KINDS) and streams["stationary"].onset is None
    for stream in streams.values():
        assert (stream.fused[:30] == streams["abrupt"].fused[:30]).all()
    assert (streams["transient"].fused[30:] != streams["stationary"].fused[30:]).all()
    assert (
        pool().draw(n_steps=9, onset=0, seed=3).fused
        == pool().draw(n_steps=9, onset=0, seed=3).fused
    ).all()
    assert (
        pool().draw(n_steps=9, onset=0, seed=4).fused
        != pool().draw(n_steps=9, onset=0, seed=3).fused
    ).all()


def test_many_fused_streams_differ_and_repeat():
    many = pool().draw_fused(5, "abrupt", n_steps=100, onset=50, severity=2, seed=1)
    assert many.shape == (5, 100) and len(np.unique(many[:, 0])) == 5
    assert many[:, 50:].min() > 6 * 8**0.5 - 5 > many[:, :50].max()
    again = pool().draw_fused(5, "abrupt", n_steps=100, onset=50, severity=2, seed=1)
    assert (many == again).all()
    assert pool().draw_fused(1, n_steps=10).shape == (1, 10)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kind": "sudden"}, "kind: expected one of stationary, abrupt"),
        ({"onset": 400}, "0 <= onset < n_steps"),
        ({"length": 0}, "length >= 1"),
        ({"kind": "abrupt", "severity": 2.5}, "expected at most 2"),
        ({"batch_size": 0}, "at least 1"),
        ({"memory": 1.0}, "probability below 1"),
        ({"severity": float("nan")}, "finite severity"),
    ],
)
def test_impossible_streams(how, message):
    with pytest.raises(StreamError, match=message):
        pool().draw(**how)


def test_impossible_pools():
    with pytest.raises(StreamError, match=r"got \(2, 1\) and \(3,\)"):
        DriftPool([([[0.0], [1.0]], [0.0, 1.0, 2.0])], 10)
    with pytest.raises(StreamError, match="same number of layers"):
        DriftPool([([[0.0]], [0.0]), ([[0.0, 1.0]], [0.0])], 10)
    with pytest.raises(StreamError, match="clean drifts"):
        DriftPool([], 10)


def test_a_stream_shows_the_images_behind_its_drifts():
    """Picture i of severity k is grey of value 10 * k + i: it must be the one that was counted."""
    drifts = [(np.arange(4.0)[:, None] + 10 * k, np.arange(4.0) + 10 * k) for k in range(2)]
    pictures = [torch.ones(4, 1, 2, 3) * torch.tensor(d[1]).view(4, 1, 1, 1) / 255 for d in drifts]
    shown = DriftPool(drifts, 10**12, pictures=pictures)
    s = shown.draw("abrupt", n_steps=30, onset=12, batch_size=4, memory=0.5, seed=2)
    assert s.pictures.shape == (30, 4, 2, 3) and s.pictures.dtype == np.uint8
    assert 2 * s.pictures[..., 0, 0].mean(axis=1) == pytest.approx(s.fused)
    without = DriftPool(drifts, 10**12).draw("abrupt", n_steps=30, onset=12, batch_size=4,
                                             memory=0.5, seed=2)  # fmt: skip
    assert without.pictures is None and (without.fused == s.fused).all()
    with pytest.raises(StreamError, match="one for every drift"):
        DriftPool(drifts, 10, pictures=pictures[:1])
    with pytest.raises(StreamError, match=r"expected shape \(N, H, W\)"):
        DriftPool(drifts, 10, pictures=[torch.zeros(4, 3, 2, 2)] * 2)

"""Drift: normal scores against SciPy, and a clean level that is standard normal."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from deepdrift import DeepDriftMonitor
from deepdrift.errors import NotFittedError, StateError
from deepdrift.evidence.drift import NormalScore, _normal_quantile_from_log_tail
from deepdrift.monitor.scorer import StateScorer


def chain(n, seed):
    """Normal states of three layers, each a noisy rotation of the one before."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, 4, generator=g) + 2
    b = a.roll(1, dims=1) + 0.3 * torch.randn(n, 4, generator=g)
    c = b.flip(1) + 0.3 * torch.randn(n, 4, generator=g)
    return {"a": a, "b": b, "c": c}


def calibrated(n=400, seed=0, **options):
    scorer = StateScorer(**options)
    scorer.calibrate(chain(n, seed))
    return scorer


def exponential(rows, columns, seed):
    """Evidence whose tail is the one assumed: exp(-x / 4); every column is a data set."""
    g = torch.Generator().manual_seed(seed)
    return -4 * torch.rand(rows, columns, generator=g, dtype=torch.float64).log()


# Normal scores


@pytest.mark.parametrize("log_p", [-1e-9, -0.01, -0.7, -3, -29.99, -30.01, -80, -333, -600])
def test_quantile_agrees_with_scipy_to_the_far_tail(log_p):
    z = float(_normal_quantile_from_log_tail(torch.tensor(log_p, dtype=torch.float64)))
    assert stats.norm.logsf(z) == pytest.approx(log_p, rel=1e-9, abs=1e-12)


def test_quantile_stops_at_log_p_minus_600():
    z = _normal_quantile_from_log_tail(torch.tensor([-600.0, -601.0, -1e300], dtype=torch.float64))
    assert z[0] == z[1] == z[2]
    assert float(z[0]) == pytest.approx(34.512, abs=1e-3)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.lists(st.integers(-2, 20), min_size=1, max_size=10),
)
def test_normal_score_is_the_rank_formula_and_its_tail(normal, queries):
    score = NormalScore(torch.tensor(normal)[:, None].double(), decay=0.25)
    n, largest = len(normal), max(normal)
    for query, z in zip(queries, score(torch.tensor(queries)[:, None]).flatten(), strict=True):
        if query > largest:
            expected = stats.norm.isf(math.exp(-(query - largest) / 4) / (n + 1))
        else:
            below, ties = sum(v < query for v in normal), normal.count(query)
            expected = stats.norm.ppf((1 + 2 * below + ties) / (2 * (n + 1)))
        assert float(z) == pytest.approx(expected, abs=1e-9)


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=40),
    st.lists(st.floats(-100, 5000), min_size=2, max_size=20),
)
def test_more_evidence_never_lowers_the_score(normal, queries):
    score = NormalScore(torch.tensor(normal, dtype=torch.float64)[:, None], decay=0.25)
    z = score(torch.tensor(sorted(queries), dtype=torch.float64)[:, None]).flatten()
    assert bool((z.diff() >= -1e-9).all())


def test_the_tail_starts_where_the_largest_normal_sample_ends():
    score = NormalScore(torch.arange(10.0)[:, None], decay=0.25)
    at, beyond = score(torch.tensor([[9.0], [9.0 + 1e-9]], dtype=torch.float64)).flatten().tolist()
    assert at == pytest.approx(stats.norm.isf(1 / 11))
    assert beyond == pytest.approx(at, abs=1e-8)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_evidence_that_is_not_finite_scores_infinity(bad):
    score = NormalScore(torch.arange(9.0)[:, None].repeat(1, 2), decay=0.25)
    z = score(torch.tensor([[bad, 4.0], [4.0, 1e300]], dtype=torch.float64))
    assert z[0, 0] == math.inf
    assert z[0, 1] == z[1, 0] == 0.0  # the median of nine
    assert float(z[1, 1]) == pytest.approx(34.512, abs=1e-3)


@pytest.mark.parametrize("n", [25, 100, 500])
@pytest.mark.parametrize("level", [2.0, 3.0])
def test_share_above_a_level_is_that_of_the_normal_law(n, level):
    """20,000 calibrations with one new sample each, independent."""
    columns = 20_000
    score = NormalScore(exponential(n, columns, n), decay=0.25)
    above = int((score(exponential(1, columns, n + 1)) > level).sum())
    p = stats.norm.sf(level)
    if p > 1 / (n + 1):  # resolved by ranks: the nearest rank stands for the level
        k = int((stats.norm.isf((np.arange(1, n + 1) + 0.5) / (n + 1)) > level).sum())
        p = (k + 1) / (n + 1)
    low, high = stats.binom(columns, p).ppf([0.0005, 0.9995])
    assert low <= above <= high


# Batches


@pytest.mark.parametrize("size", [1, 8, 64])
def test_clean_level_of_a_batch_is_standard_normal(size):
    """200 calibrations, five batches each; the intervals come from the spread between them."""
    means, squares, above = [], [], 0
    for seed in range(200):
        scorer = calibrated(seed=1000 + seed)
        layers, fused = scorer.drift_per_sample(chain(5 * size, 9000 + seed))
        z = torch.cat([layers, fused[:, None]], dim=1)
        batch = torch.stack([scorer._drift.of_batch(part) for part in z.split(size)])
        means.append(batch.mean(dim=0))
        squares.append(batch.square().mean(dim=0))
        above += (batch > 3).long().sum(dim=0)
    for values, expected in ((means, 0.0), (squares, 1.0)):
        values = torch.stack(values)
        error = values.std(dim=0) / math.sqrt(len(values))
        assert bool(((values.mean(dim=0) - expected).abs() <= 3.5 * error + 0.02).all())
    assert int(above.max()) <= stats.binom(1000, stats.norm.sf(3)).ppf(0.9995)


def test_drift_of_a_batch_is_stouffers_with_the_price_of_calibration():
    scorer = calibrated()
    assert scorer._drift.n_samples == 100
    per_sample, fused = scorer.drift_per_sample(chain(8, 5))
    layers, total = scorer.drift(chain(8, 5))
    expected = per_sample.numpy().sum(axis=0) / math.sqrt(8) / math.sqrt(1 + 8 / 100)
    np.testing.assert_allclose(layers.numpy(), expected, rtol=1e-12)
    assert float(total) == pytest.approx(float(fused.sum()) / math.sqrt(8 * 1.08))


def test_one_more_unusual_sample_raises_the_drift():
    z = torch.tensor([[0.5, -1.0], [0.1, 2.0]], dtype=torch.float64)
    drift = calibrated()._drift
    worse = z.clone()
    worse[1, 0] = 4.0
    before, after = drift.of_batch(z), drift.of_batch(worse)
    assert after[0] > before[0]
    assert after[1] == before[1]


def test_a_layer_counts_its_distance_and_the_step_into_it():
    """By hand from the fusion: the first layer has no step, each other one has."""
    scorer = calibrated()
    blocks = scorer.read(chain(6, 7)).blocks
    evidence = {
        k: scorer._fusion.layer_evidence(k, v, scorer._fusion.layer_p_values(k, v))
        for k, v in blocks.items()
    }
    got = scorer._drift._evidence(blocks)
    assert got[:, 0].equal(evidence["distance"][:, 0])
    for i in (1, 2):
        both = evidence["distance"][:, i] + evidence["innovation"][:, i - 1]
        np.testing.assert_allclose(got[:, i].numpy(), both.numpy())


def test_a_shift_shows_in_every_layer_and_a_broken_step_only_from_there_on():
    scorer, clean = calibrated(), chain(32, 11)
    layers, fused = scorer.drift({k: v + 3 for k, v in clean.items()})
    assert float(layers.min()) > 10
    assert float(fused) > 10
    layers, fused = scorer.drift(clean | {"c": clean["c"].roll(1, dims=1)})
    assert float(layers[:2].max()) < 3  # the two layers before are as clean as they were
    assert float(layers[2]) > 5
    assert float(fused) > 5


# Bad values and settings


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_makes_its_layer_and_the_fused_score_infinite(bad):
    scorer, states = calibrated(), chain(8, 3)
    clean, _ = scorer.drift(states)
    states["b"][5, 2] = bad
    layers, fused = scorer.drift(states)
    assert layers[1] == math.inf
    assert fused == math.inf
    assert layers[0] == clean[0]  # what ran before it is judged as before


def test_a_bad_first_layer_is_invalid_though_no_step_leads_into_it():
    scorer, states = calibrated(score="innovation"), chain(8, 3)
    states["a"][2, 0] = math.nan
    layers, fused = scorer.drift(states)
    assert layers[0] == fused == math.inf


def test_huge_finite_states_are_unusual_not_invalid():
    scorer = calibrated()
    layers, fused = scorer.drift({k: v * 1e36 for k, v in chain(8, 3).items()})
    assert bool(layers.isfinite().all())
    assert bool(fused.isfinite())
    assert float(layers.min()) > 30


def test_unfitted_velocity_and_empty_batches_have_no_drift():
    with pytest.raises(NotFittedError, match="calibrate on normal data first"):
        StateScorer().drift(chain(8, 3))
    with pytest.raises(StateError, match="score='velocity' has none"):
        calibrated(score="velocity").drift(chain(8, 3))
    with pytest.raises(StateError, match="at least one sample"):
        calibrated().drift(chain(0, 3))


@pytest.mark.parametrize("score", ["distance", "innovation"])
def test_scores_of_one_block_have_a_drift_too(score):
    scorer = calibrated(score=score)
    layers, fused = scorer.drift({k: v * 3 for k, v in chain(16, 3).items()})
    assert len(layers) == 3
    assert float(fused) > 5
    if score == "innovation":  # nothing steps into the first layer: it cannot be unusual
        assert float(layers[0]) <= 0
    assert float(layers[1:].min()) > 3


def test_one_layer_has_the_drift_of_its_distance():
    scorer = StateScorer()
    scorer.calibrate({"a": chain(400, 0)["a"]})
    layers, fused = scorer.drift({"a": chain(16, 1)["a"]})
    assert float(layers[0]) == pytest.approx(float(fused), abs=1e-9)
    layers, _ = scorer.drift({"a": chain(16, 1)["a"] + 3})
    assert float(layers[0]) > 10


def test_batch_size_of_the_calibration_does_not_matter():
    """The published package calibrates on batch means: its clean level follows the batch size."""
    g = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh()).double()
    data = torch.randn(320, 4, generator=g, dtype=torch.float64)
    x = torch.randn(16, 4, generator=g, dtype=torch.float64) * 1.3
    found = []
    for size in (1, 8, 64):
        with DeepDriftMonitor(model, ["1", "3"]) as monitor:
            monitor.calibrate(data.split(size))
            status, _ = monitor.step(x)
            found.append([*(d["drift"] for d in status.values()), status.fused["drift"]])
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    np.testing.assert_allclose(found[2], found[0], atol=1e-3)

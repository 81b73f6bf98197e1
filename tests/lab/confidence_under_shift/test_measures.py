"""Calibration along a shift, two networks on the same images, and promises kept or broken."""

from __future__ import annotations

import math
import re

import pytest
import torch

from deepdrift import confidence
from deepdrift.lab.bench.evaluation import EvaluationError, binomial_interval
from deepdrift.lab.confidence_under_shift.experiment import Predictions, Sets, load_sets
from deepdrift.lab.confidence_under_shift.measures import (
    answers_given,
    ece_difference,
    growth,
    keep_promise,
    overlap,
    prediction_lines,
    promise_lines,
    simulate_calibrated,
)


def said(top, correct, scores=None):
    """Two-class predictions of class 0 with the given confidences, right where ``correct``."""
    p = torch.as_tensor(top, dtype=torch.float64)
    labels = (~torch.as_tensor(correct, dtype=torch.bool)).long()
    return Predictions(torch.stack([p, 1 - p], dim=1).log(), labels, scores or {}, torch.zeros(1))


def right(n, n_right):
    return [i < n_right for i in range(n)]


# ---- a model whose every confidence is true ----


def test_a_simulated_model_means_what_it_says():
    p, labels = simulate_calibrated(20_000)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(20_000, dtype=torch.float64))
    top, guess = p.max(dim=1)
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        inside = (top > low) & (top <= low + 0.1)
        hits = (guess == labels)[inside].double()
        spread = 4 * math.sqrt(0.25 / len(hits))
        assert abs(float(hits.mean()) - float(top[inside].mean())) < spread
        assert 3500 < len(hits) < 4500
    assert torch.equal(simulate_calibrated(50, seed=3)[0], simulate_calibrated(50, seed=3)[0])
    assert not torch.equal(simulate_calibrated(50, seed=3)[0], simulate_calibrated(50, seed=4)[0])


def test_its_ece_is_never_zero_and_shrinks_with_n():
    """Mean over 40 draws; the library's own null says the same of one of them."""

    def mean(n):
        draws = [simulate_calibrated(n, seed) for seed in range(40)]
        return sum(confidence.ece(p, y) for p, y in draws) / 40

    small, large = mean(100), mean(2000)
    assert 0.07 < small < 0.11 and 0.015 < large < 0.025
    null = confidence.ece_null(simulate_calibrated(100)[0], n_simulations=500)
    assert abs(float(null.mean()) - small) < 0.015


# ---- along a shift ----


@pytest.fixture
def falling():
    """Always 90 % sure; right in 10, 9, ..., 5 of 10 at severity 0 to 5."""
    found = {f"blur {s}": said([0.9] * 10, right(10, 10 - s)) for s in range(1, 6)}
    return {"clean": said([0.9] * 10, right(10, 10))} | found


def test_accuracy_falls_and_confidence_stays(falling):
    rows = growth(falling, "blur")
    assert list(rows) == [f"severity {s}" for s in range(6)]
    for severity, row in enumerate(rows.values()):
        accuracy = 1 - severity / 10
        assert row["accuracy"] == pytest.approx(accuracy)
        assert row["confidence"] == pytest.approx(0.9)
        assert row["ECE"] == pytest.approx(abs(0.9 - accuracy))
    assert len({row["by chance"] for row in rows.values()}) == 1  # of the confidences alone


def test_f1_along_a_shift(falling):
    """Half are of class 1 and none is said to be: F1 of class 0 is 2/3, of class 1 zero."""
    rows = growth(falling, "blur")
    assert rows["severity 0"]["F1"] == 1
    assert rows["severity 5"]["F1"] == pytest.approx((2 / 3 + 0) / 2)


def test_chance_allows_what_ten_throws_of_a_coin_do(falling):
    """Ten hits of 0.9: |k - 9| / 10 is at most 0.1 in 74 %, at most 0.2 in 93 % of all draws."""
    assert growth(falling, "blur")["severity 0"]["by chance"] == pytest.approx(0.3, abs=0.101)


def test_a_temperature_changes_confidence_alone(falling):
    plain, cooled = growth(falling, "blur"), growth(falling, "blur", temperature=2.0)
    flat = math.sqrt(0.9) / (math.sqrt(0.9) + math.sqrt(0.1))  # 0.75
    for row, other in zip(plain.values(), cooled.values(), strict=True):
        assert (row["accuracy"], row["F1"]) == (other["accuracy"], other["F1"])
        assert other["confidence"] == pytest.approx(flat) == pytest.approx(0.75)
    assert cooled["severity 0"]["ECE"] == pytest.approx(0.25)


# ---- two networks on the same images ----


def test_the_difference_is_that_of_the_librarys_ece():
    g = torch.Generator().manual_seed(0)
    top = [0.5 + 0.5 * torch.rand(300, generator=g, dtype=torch.float64) for _ in range(2)]
    a = said(top[0], torch.rand(300, generator=g) < 0.6)
    b = said(top[1], torch.rand(300, generator=g, dtype=torch.float64) < top[1])
    for n_bins in (1, 7, 15):
        expected = [confidence.ece(x.probabilities, x.labels, n_bins) for x in (a, b)]
        found = ece_difference(a, b, n_bins, n_bootstrap=200)
        assert found.value == pytest.approx(expected[0] - expected[1], abs=1e-12)
    assert found.low > 0  # sure without reason against honest
    back = ece_difference(b, a, n_bootstrap=200)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    assert ece_difference(a, b, n_bootstrap=200) == found


def test_a_difference_by_hand():
    """Says 0.9 and is right in 6 of 10, against 0.7 and right in 6 of 10: gaps 0.3 and 0.1."""
    found = ece_difference(said([0.9] * 10, right(10, 6)), said([0.7] * 10, right(10, 6)))
    assert found.value == pytest.approx(0.2) and found.low < 0.2 <= found.high + 1e-12
    assert (found.n_in, found.n_out) == (10, 10)


def test_against_itself_there_is_no_difference():
    a = said([0.6, 0.7, 0.8, 0.9], [True, False, True, False])
    found = ece_difference(a, a)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_other_images_are_refused():
    with pytest.raises(EvaluationError, match="got 3 and 2"):
        ece_difference(said([0.9] * 3, right(3, 1)), said([0.9] * 2, right(2, 1)))


# ---- promises ----


@pytest.fixture
def world():
    """Held out: scores 0 to 199, the surest 190 right. At 2 % the line is at 189.

    Each severity: (accepted, wrong among them) of 100 images; what is refused is right.
    """
    cases = {
        "clean": (95, 1),
        "blur 1": (60, 3),  # 5 %, but from 1.0 %: not seen to break
        "blur 2": (50, 6),  # from 4.5 %
        "blur 3": (1, 1),
        "blur 4": (0, 0),
        "blur 5": (30, 0),
    }

    def batch(accepted, wrong):
        scores = torch.cat([torch.full((accepted,), 189.0), torch.full((100 - accepted,), 189.5)])
        correct = torch.ones(100, dtype=torch.bool)
        correct[:wrong] = False
        return said([0.9] * 100, correct, {"s": scores})

    held = said([0.9] * 200, right(200, 190), {"s": torch.arange(200.0)})
    return {"held": held} | {name: batch(*case) for name, case in cases.items()}


def test_a_promise_is_chosen_on_the_held_images_alone(world):
    kept = keep_promise(world, "blur", "s", 0.02)
    assert (kept.chosen.threshold, kept.chosen.coverage, kept.chosen.n) == (189.0, 0.95, 200)
    assert kept.chosen.bound == pytest.approx(1 - 0.1 ** (1 / 190))
    other = world | {"clean": world["blur 3"], "blur 5": world["clean"]}
    assert keep_promise(other, "blur", "s", 0.02).chosen == kept.chosen


def test_a_promise_is_spent_at_every_severity(world):
    kept = keep_promise(world, "blur", "s", 0.02)
    assert kept.coverage == [0.95, 0.60, 0.50, 0.01, 0, 0.30]
    assert kept.risk[4] is None
    for at, (k, n) in {0: (1, 95), 1: (3, 60), 2: (6, 50), 3: (1, 1), 5: (0, 30)}.items():
        assert kept.risk[at].value == k / n
        assert (kept.risk[at].low, kept.risk[at].high) == binomial_interval(k, n)


def test_it_breaks_where_the_interval_lies_above_not_the_value(world):
    kept = keep_promise(world, "blur", "s", 0.02)
    assert kept.risk[1].value > 0.02 > kept.risk[1].low
    assert kept.broken_at == 2
    fine = {name: world["clean"] if name != "held" else world["held"] for name in world}
    assert keep_promise(fine, "blur", "s", 0.02).broken_at is None


def test_one_of_a_hundred_is_still_an_answer(world):
    assert keep_promise(world | {"blur 5": world["blur 4"]}, "blur", "s", 0.02).silent_at == 4
    spoken = {name: world["clean"] if name != "held" else world["held"] for name in world}
    assert keep_promise(spoken, "blur", "s", 0.02).silent_at is None


def test_where_nothing_can_be_promised_nothing_is_answered(world):
    kept = keep_promise(world, "blur", "s", 0.001)
    assert kept.chosen.coverage == 0 and kept.coverage == [0] * 6 and kept.risk == [None] * 6
    assert kept.broken_at is None and kept.silent_at == 0


def test_infinity_is_never_answered():
    """The gate: all held images are right, yet the closed ones stay outside."""
    scores = {"gated": torch.tensor([-0.9] * 150 + [torch.inf] * 50)}
    found = {"clean": said([0.9] * 200, right(200, 200), scores)}
    found |= {f"blur {s}": found["clean"] for s in range(1, 6)} | {"held": found["clean"]}
    kept = keep_promise(found, "blur", "gated", 0.05)
    assert kept.coverage == [0.75] * 6 and kept.broken_at is None


def test_promises_in_words(world):
    quiet = {"noise 4": world["blur 4"], "noise 5": world["blur 4"]}
    noise = {f"noise {s}": world["clean"] for s in (1, 2, 3)} | quiet
    calm = {f"tilt {s}": world["clean"] for s in range(1, 6)}
    blur, noise, tilt = promise_lines(world | noise | calm, ["blur", "noise", "tilt"], "s", 0.02)
    shares = [line.replace("answered", "").split()[1:7] for line in (blur, noise)]
    assert shares[0] == ["95%", "60%", "50%", "1%", "0%", "30%"]
    assert shares[1] == ["95%", "95%", "95%", "95%", "0%", "0%"]
    assert re.search(r"breaks at (severity )?2", blur) and "breaks" not in noise + tilt
    assert re.search(r"silent from (severity )?4$", noise) and "silent" not in tilt


def test_answers_of_all_shifts_are_counted_without_the_clean_ones(world):
    """Of `world`: 60 + 50 + 1 + 0 + 30 answers, 3 + 6 + 1 + 0 + 0 of them wrong."""
    assert answers_given(world, ["blur"], "s", 0.02) == (141, 10)
    noise = {f"noise {s}": world["clean"] for s in range(1, 6)}
    assert answers_given(world | noise, ["blur", "noise"], "s", 0.02) == (141 + 475, 15)
    assert answers_given(world, ["blur"], "s", 0.001) == (0, 0)


def test_what_is_predicted_most_often_comes_first():
    logits = torch.eye(4)[[3, 3, 3, 1, 1, 0, 3, 3, 3, 3]]
    found = {"bags": Predictions(logits, torch.zeros(10).long(), {}, torch.zeros(1))}
    lines = prediction_lines(found, ["bags"], ["coat", "boot", "shirt", "dress"], n=2)
    assert lines.split() == ["bags", "called", "dress", "70%,", "boot", "20%"]


# ---- explanations ----


@pytest.fixture(scope="module")
def overlaps():
    sets = load_sets()
    few = Sets(sets.fit[:2], sets.calibration[:2], sets.held[:2], sets.clean[:60], {})
    return overlap("cnn", few, "gaussian_noise", n=60)


def test_an_image_has_its_own_map_and_noise_takes_it_away(overlaps):
    assert [(e.value, e.low, e.high) for e in overlaps[:1]] == [(1, 1, 1)]
    values = [e.value for e in overlaps]
    assert values == sorted(values, reverse=True)
    assert values[1] < 0.6 and 0.05 < values[5] < 0.25  # chance is 0.111
    assert all(e.low < e.value < e.high for e in overlaps[1:])
    assert all(0.005 < e.high - e.low < 0.1 for e in overlaps[1:])

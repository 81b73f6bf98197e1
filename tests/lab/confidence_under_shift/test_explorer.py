"""The two explorers of notebook 10: sentences that are the library's numbers, and pictures."""

from __future__ import annotations

import pytest
import torch
from made import N_ANSWERS, NETWORKS, SHIFTS, network

from deepdrift import confidence
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.figures import BLUE, VERMILLION
from deepdrift.lab.confidence_under_shift.experiment import Predictions
from deepdrift.lab.confidence_under_shift.explorer import PromiseExplorer, ReliabilityExplorer


@pytest.fixture
def app():
    return ReliabilityExplorer(NETWORKS, SHIFTS, {"CNN": 2.0, "ViT": 1.0})


def points(ax):
    return [line for line in ax.lines if line.get_marker() == "o"]


def test_the_sentence_has_confidence_accuracy_and_ece(app):
    expected = confidence.calibration_test(
        NETWORKS["CNN"]["blur 3"].probabilities, NETWORKS["CNN"]["blur 3"].labels
    )
    assert app.test() == expected and expected.ece == pytest.approx(0.4)
    said = app.summary()
    assert said.startswith("CNN, blur at severity 3: says 90%, is right in 50%; ECE 0.400, more ")
    assert f"the {expected.null_high:.3f} that chance allows with 15 bins" in said


def test_what_chance_allows_is_within(app):
    assert app.test(severity=0).ece == pytest.approx(0.0, abs=1e-9)
    assert "ECE 0.000, within the" in app.summary(severity=0)
    assert "gaussian noise at severity 2: says 90%, is right in 90%" in app.summary(
        severity=2, shift="gaussian_noise"
    )


def test_the_temperature_moves_confidence_and_not_accuracy(app):
    """At T = 2 odds of 9 to 1 become 3 to 1: 0.75."""
    assert "says 75%, is right in 50%" in app.summary(temperature=True)
    assert app.test(temperature=True).ece == pytest.approx(0.25)
    assert app.summary(network="ViT", temperature=True) == app.summary(network="ViT")


def test_more_bins_more_error_and_more_chance():
    """Honest predictions of every confidence: ECE and its band rise together."""
    g = torch.Generator().manual_seed(0)
    p = 0.5 + 0.5 * torch.rand(400, generator=g, dtype=torch.float64)
    labels = (torch.rand(400, generator=g, dtype=torch.float64) > p).long()
    honest = Predictions(torch.stack([p, 1 - p], dim=1).log(), labels, {}, torch.zeros(1))
    found = dict.fromkeys(["clean", "held", *(f"blur {s}" for s in range(1, 6))], honest)
    app = ReliabilityExplorer({"a": found}, ("blur",), {"a": 1.0})
    tests = [app.test(bins=bins) for bins in (2, 8, 30)]
    assert [t.n_bins for t in tests] == [2, 8, 30]
    for a, b in zip(tests, tests[1:], strict=False):
        assert a.ece < b.ece and a.null_high < b.null_high
    assert all(t.ece <= 1.3 * t.null_high for t in tests)


def test_the_picture_follows(app):
    left, right = app._axes
    (point,) = points(left)
    assert point.get_ydata()[0] == pytest.approx(0.5) and point.get_color() == VERMILLION
    curve, mark = points(right)
    errors = [0, 0.05, 0.2, 0.4, 0.5, 0.6]
    assert curve.get_ydata() == pytest.approx(errors, abs=1e-9)
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (3, pytest.approx(0.4))
    chance = right.collections[0].get_paths()[0].get_extents()
    assert (chance.y0, chance.y1) == (0, pytest.approx(app.test().null_high))
    app.set(severity=0)
    assert points(app._axes[0])[0].get_color() == BLUE
    app.set(severity=5, temperature=True)
    assert points(app._axes[0])[0].get_xdata()[0] == pytest.approx(0.75)
    assert app._axes[1].get_title("left") == "ECE 0.450"


def test_questions_move_nothing(app):
    before = app.values, bytes(app.image.value), app.summary()
    app.test(severity=5, bins=3), app.summary(network="ViT", shift="gaussian_noise")
    assert (app.values, bytes(app.image.value), app.summary()) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda networks, shifts: ReliabilityExplorer(networks, shifts, {"CNN": 1.0}),
        PromiseExplorer,
    ],
)
def test_what_is_missing_is_named(make):
    with pytest.raises(ExplorerError, match="at least one"):
        make({}, SHIFTS)
    with pytest.raises(ExplorerError, match="at least one"):
        make(NETWORKS, ())
    with pytest.raises(ExplorerError, match="CNN: expected predictions for 'contrast'"):
        make({"CNN": NETWORKS["CNN"]}, ("blur", "contrast"))


def test_values_out_of_range_are_refused(app):
    for bad in ({"bins": 1}, {"severity": 6}, {"shift": "fog"}, {"temperature": 2.0}):
        with pytest.raises(ExplorerError, match=next(iter(bad))):
            app.summary(**bad)


# ---- promises ----


@pytest.fixture
def promise():
    return PromiseExplorer(NETWORKS, SHIFTS)


def test_a_promise_and_where_it_breaks(promise):
    """The surest 90 % are right on clean images. At severity 2, 0.7 of 120 are right: 84 of 108."""
    kept = promise.promise()
    assert kept.chosen.max_risk == 0.05 and kept.broken_at == 2
    n = int(kept.chosen.accepts(torch.arange(N_ANSWERS)).sum())
    assert kept.risk[2].value == pytest.approx((n - 84) / n)
    assert promise.summary() == (
        f"CNN, MSP, blur: clean images: {n / N_ANSWERS:.0%} answered, "
        f"{kept.risk[0].value:.1%} wrong; the promise of 5 % breaks at severity 2, where "
        f"{kept.risk[2].value:.0%} of the answers are wrong."
    )


def test_a_promise_that_is_not_seen_to_break():
    calm = network({"blur": [0.9] * 5})
    app = PromiseExplorer({"a": calm}, ("blur",))
    assert app.promise().broken_at is None
    assert "the promise of 5 % is not seen to break" in app.summary()
    colours = {line.get_color() for line in points(app._axes[0])}
    assert colours == {BLUE} and [b.get_height() for b in app._axes[1].patches] == pytest.approx(
        app.promise().coverage
    )


def test_a_promise_that_cannot_be_given(promise):
    """108 right answers bound the risk by 1 - 0.1 ** (1 / 108), 2.1 %."""
    assert promise.promise(wrong=1).chosen.coverage == 0
    assert promise.promise(wrong=3).chosen.coverage > 0
    assert promise.summary(wrong=1).endswith("cannot be promised at all; nothing is answered.")
    promise.set(wrong=1)
    assert len([t for t in promise._axes[0].texts if "none" in t.get_text()]) == 6
    assert not points(promise._axes[0])


def test_a_larger_promise_answers_more(promise):
    shares = [promise.promise(wrong=w).coverage[0] for w in (3, 5, 10, 20)]
    assert shares == sorted(shares) and shares[-1] == 1 > shares[0]


def test_a_question_moves_no_promise(promise):
    before = promise.values, bytes(promise.image.value)
    promise.promise(wrong=20, network="ViT"), promise.summary(score="fused")
    assert (promise.values, bytes(promise.image.value)) == before
    with pytest.raises(ExplorerError, match="wrong"):
        promise.promise(wrong=0)

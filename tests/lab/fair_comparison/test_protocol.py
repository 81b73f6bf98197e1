"""The rules of the comparison hold: what is refused, who sees what, and the promised rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from deepdrift.errors import CalibrationError
from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import EvaluationError, auroc, false_alarm_interval
from deepdrift.lab.data.images import ImageSet
from deepdrift.lab.fair_comparison.detectors import fit_detectors, observe
from deepdrift.lab.fair_comparison.protocol import Protocol, Scores, ShiftedSet, fashion_protocol

LAYERS = ["first", "second"]


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
        self.second = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


def toy():
    torch.manual_seed(0)
    return Toy()


def pictures(n, seed, centre=0.0):
    return centre + torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def normal(n, seed):
    return ImageSet(pictures(n, seed), torch.arange(n) % 2, ("a", "b"))


FIT, CALIBRATION, TEST = normal(200, 0), normal(300, 1), normal(150, 2)


def protocol(*shifted, parts=(FIT, CALIBRATION, TEST), **options):
    return Protocol(*parts, shifted=shifted, **options)


# ---- what is refused ----


def with_image_of(taker, giver, index=3):
    images = taker.images.clone()
    images[5] = giver[index]
    return ImageSet(images, taker.labels, taker.class_names)


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ((FIT, with_image_of(CALIBRATION, FIT.images), TEST), "fit, calibration"),
        ((FIT, CALIBRATION, with_image_of(TEST, FIT.images)), "fit, test"),
        ((FIT, CALIBRATION, with_image_of(TEST, CALIBRATION.images)), "calibration, test"),
    ],
)
def test_one_shared_image_is_refused(parts, names):
    with pytest.raises(EvaluationError, match=f"^{names}: 1 images are in both"):
        protocol(parts=parts)


@pytest.mark.parametrize("kind", ["near", "far"])
@pytest.mark.parametrize("owner", ["fit", "calibration", "test"])
def test_a_shifted_set_may_not_hold_a_normal_image(kind, owner):
    known = {"fit": FIT, "calibration": CALIBRATION, "test": TEST}[owner]
    images = torch.cat([pictures(9, 3), known.images[:2]])
    with pytest.raises(EvaluationError, match=f"^{owner}, bags: 2 images are in both"):
        protocol(ShiftedSet("bags", kind, images))


def test_two_shifted_sets_may_not_share_an_image():
    images = pictures(9, 3)
    sets = ShiftedSet("bags", "near", images), ShiftedSet("digits", "far", images[4:])
    with pytest.raises(EvaluationError, match="^bags, digits: 5 images are in both"):
        protocol(*sets)


def test_a_corruption_is_made_of_test_images_and_may_leave_some_as_they_are():
    kept = TEST.images.clone()
    kept[10:] += 1
    assert len(protocol(ShiftedSet("dust", "corruption", kept, 1)).shifted) == 1
    with pytest.raises(EvaluationError, match="dust 2: expected the 150 test images, got 149"):
        protocol(ShiftedSet("dust", "corruption", kept[1:], 2))


def test_names_occur_once():
    dust = [ShiftedSet("dust", "corruption", TEST.images + s, s) for s in (1, 2)]
    assert [s.key for s in protocol(*dust).shifted] == ["dust 1", "dust 2"]
    with pytest.raises(EvaluationError, match=r"every name once and none 'test': \['dust 2'\]"):
        protocol(*dust, dust[1])
    with pytest.raises(EvaluationError, match=r"none 'test': \['test'\]"):
        protocol(ShiftedSet("test", "far", pictures(9, 3)))


def test_unknown_kind():
    with pytest.raises(EvaluationError, match="expected one of near, far, corruption: 'middle'"):
        protocol(ShiftedSet("bags", "middle", pictures(9, 3)))


def test_a_network_that_was_trained_on_the_fit_images_is_refused():
    network = toy()
    network.trained_without = ""
    with pytest.raises(EvaluationError, match="its training set holds the images of fit"):
        protocol().run(network, LAYERS)
    network.trained_without = "fit"
    assert protocol().run(network, LAYERS, ["MSP"]).detectors == ("MSP",)


def test_which_shipped_networks_the_protocol_takes():
    taken = {n for n in data.NETWORK_LAYERS if data.load_network(n).trained_without == "fit"}
    assert {f"{k}-holdout-{i}" for k in ("cnn", "vit") for i in (1, 2, 3)} <= taken
    assert not taken & {"cnn", "vit", "cnn-holdout", "vit-holdout"}


def test_too_few_calibration_images_for_the_rate():
    few = protocol(parts=(FIT, normal(80, 7), TEST), alphas=[0.01])
    with pytest.raises(CalibrationError, match="80 calibration samples cannot support"):
        few.run(toy(), LAYERS, ["MSP"])


# ---- who sees what ----


def test_normal_scores_and_thresholds_do_not_depend_on_shifted_images():
    small = ShiftedSet("far away", "far", pictures(40, 3, centre=5.0))
    dust = ShiftedSet("dust", "corruption", -TEST.images, 1)
    other = ShiftedSet("far away", "far", 1000 * pictures(70, 4)), dust
    one, two = (protocol(*sets).run(toy(), LAYERS) for sets in ((small,), other))
    assert one.detectors == two.detectors and len(one.detectors) > 18
    assert one.thresholds == two.thresholds
    for name in one.detectors:
        np.testing.assert_array_equal(one.values[name]["test"], two.values[name]["test"])


def test_thresholds_and_statistics_do_not_depend_on_test_images():
    shifted = ShiftedSet("far away", "far", pictures(40, 3, centre=5.0))
    one = protocol(shifted).run(toy(), LAYERS)
    two = protocol(shifted, parts=(FIT, CALIBRATION, normal(60, 8))).run(toy(), LAYERS)
    assert one.thresholds == two.thresholds
    for name in one.detectors:
        np.testing.assert_array_equal(one.values[name]["far away"], two.values[name]["far away"])


def test_scores_of_a_set_do_not_depend_on_the_sets_beside_it():
    near, far = ShiftedSet("n", "near", pictures(40, 3)), ShiftedSet("f", "far", pictures(30, 4))
    both, alone = (protocol(*sets).run(toy(), LAYERS) for sets in ((near, far), (far,)))
    for name in both.detectors:
        np.testing.assert_array_equal(both.values[name]["f"], alone.values[name]["f"])
    assert both.kinds == {"n": "near", "f": "far"}


def test_the_run_leaves_network_and_generator_as_they_were():
    network = toy().train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    protocol(ShiftedSet("f", "far", pictures(30, 4))).run(network, LAYERS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


# ---- rates ----


def scores_of(threshold, test, shifted=(0.0, 0.0)):
    values = {"a": {"test": np.asarray(test, float), "x": np.asarray(shifted, float)}}
    return Scores(values, {"a": {0.05: threshold}}, {"x": "far"})


def test_an_alarm_is_a_score_above_the_threshold():
    """A score equal to it is none: that is the rule which conformal thresholds are made for."""
    found = scores_of(3.0, [1, 3, 3, 4, math.inf])
    assert found.false_alarms("a").value == pytest.approx(2 / 5)


def test_auroc_is_that_of_the_scores():
    test, shifted = np.random.default_rng(0).normal(size=(2, 50))
    assert scores_of(0.0, test, shifted).auroc("a", "x") == auroc(test, shifted)


def test_equal_scores_raise_no_alarm():
    """Images of signs have all the same length: a score that says nothing must flag nothing."""
    numbers = torch.randperm(2**16, generator=torch.Generator().manual_seed(0))[:700, None]
    signs = (((numbers >> torch.arange(16)) & 1) * 2.0 - 1).view(-1, 1, 4, 4)
    kinds = signs[:200], signs[200:500], signs[500:650]
    parts = [ImageSet(x, torch.arange(len(x)) % 2, ("a", "b")) for x in kinds]
    more = ShiftedSet("more of it", "far", signs[650:])
    seen = protocol(more, parts=parts).run(toy(), LAYERS, ["input norm"])
    assert seen.thresholds["input norm"][0.05] == 4.0
    assert seen.false_alarms("input norm").value == 0
    assert seen.auroc("input norm", "more of it").value == 0.5


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_thresholds_are_the_order_statistic_of_the_calibration_scores(alpha):
    network = toy().eval()
    seen = protocol(alphas=[alpha]).run(network, LAYERS, ["energy", "kNN", "gradient energy"])
    fit, calibration = (observe(network, p.images, LAYERS, p.labels) for p in (FIT, CALIBRATION))
    for name, fitted in fit_detectors(network, fit, calibration, seen.detectors).items():
        ordered = np.sort(fitted.normal_scores.numpy())
        k = math.ceil(round((1 - alpha) * 301, 9))
        assert seen.thresholds[name][alpha] == ordered[k - 1]


def test_realised_rates_follow_the_beta_binomial_law():
    """Calibration and test are exchangeable; forty draws of both, every rate in its place."""
    n, m, alpha = 99, 120, 0.1
    rates = {}
    for seed in range(40):
        parts = FIT, normal(n, 100 + 2 * seed), normal(m, 101 + 2 * seed)
        seen = protocol(parts=parts, alphas=[alpha]).run(toy(), LAYERS, ["energy", "input norm"])
        for name in seen.detectors:
            rates.setdefault(name, []).append(seen.false_alarms(name, alpha).value)
    low, high = false_alarm_interval(n, alpha, 0.9, n_test=m)
    law = stats.betabinom(m, 10, 90)
    for found in rates.values():
        inside = sum(low <= rate <= high for rate in found)
        assert stats.binomtest(inside, 40, 0.9).pvalue > 0.001
        mean = stats.norm(alpha, law.std() / m / math.sqrt(40))
        assert mean.cdf(np.mean(found)) > 0.001 and mean.sf(np.mean(found)) > 0.001


# ---- the shipped data ----


def test_the_shipped_protocol():
    found = fashion_protocol(severities=[1, 5], shifts=["contrast", "blur"])
    assert str(found) == "fit 3,200, calibration 2,400, test 2,400 images; 9 shifted sets"
    assert [s.key for s in found.shifted if s.kind == "corruption"] == [
        "contrast 1", "contrast 5", "blur 1", "blur 5",
    ]  # fmt: skip
    for part in (found.fit, found.calibration, found.test):
        assert set(part.labels.tolist()) == set(range(8))
    near = next(s for s in found.shifted if s.kind == "near")
    assert len(near.images) == 600 and near.key == "new classes"
    again = fashion_protocol(severities=[1], shifts=["contrast"])
    for one, two in zip(found.shifted[:5], again.shifted[:5], strict=True):
        assert torch.equal(one.images, two.images)


def test_unknown_names_and_rates_list_the_known_ones():
    scores = Scores({"a": {"test": np.array([1.0, 2])}}, {"a": {0.1: 3.0}}, {})
    for call, text in (
        (lambda: scores.false_alarms("b", 0.1), "detector: expected one of a, got 'b'"),
        (lambda: scores.false_alarms("a", 0.2), "alpha: expected one of the protocol's 0.1"),
        (lambda: scores.auroc("a", "x"), "key: expected one of test, got 'x'"),
    ):
        with pytest.raises(EvaluationError, match=text):
            call()

"""StateScorer: from states to calibrated decisions, without a model."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift import spatial_velocity
from deepdrift.errors import CalibrationError, NotFittedError, StateError
from deepdrift.evidence import calibration as cal
from deepdrift.monitor.scorer import SAMPLES_PER_CLASS, StateScorer, split_rows

SCORES = ["fused", "innovation", "distance", "velocity"]


def states_of(n, seed=0, width=4, n_layers=3):
    """Normal states: a noisy chain of layers of one width."""
    g = torch.Generator().manual_seed(seed)
    states = {"a": torch.randn(n, width, generator=g) + 4}
    for i in range(1, n_layers):
        turn = torch.linalg.qr(
            torch.randn(width, width, generator=torch.Generator().manual_seed(i))
        )
        last = list(states.values())[-1]
        states["abcdef"[i]] = last @ turn.Q + 0.3 * torch.randn(n, width, generator=g)
    return states


def rows(states, index):
    return {k: v[index] for k, v in states.items()}


def calibrated(score, n=400, alpha=0.05, seed=0, **options):
    scorer = StateScorer(score, alpha, **options)
    scorer.calibrate(states_of(n, seed))
    return scorer


def peaks(values):
    """States whose peak velocity is what is given: the first layer rests at zero."""
    values = torch.as_tensor(values, dtype=torch.float32)[:, None]
    return {"a": torch.zeros_like(values), "b": values}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2])
def test_realised_rate_is_the_stated_one(score, alpha):
    """New normal samples: the rate of one calibrated threshold lies in its Beta interval."""
    scorer = calibrated(score, n=2000, alpha=alpha, seed=1)
    n, rate = (
        scorer.calibration.n_samples,
        scorer.read(states_of(20_000, 2)).flagged.double().mean(),
    )
    tails = 2 if score == "velocity" else 1
    a = tails * math.floor(alpha / tails * (n + 1) + 1e-9)
    low, high = stats.beta(a, n + 1 - a).ppf([0.001, 0.999])
    assert low - 0.003 <= rate <= high + 0.003  # and the scatter of 20,000 samples


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("score", SCORES)
def test_the_level_holds_on_average_at_the_smallest_size(score, apart):
    """The hardest case: a calibration set that just supports alpha, many data sets."""
    alpha, flagged, total = 0.2, 0, 0
    needed = {"velocity": 9}.get(score, 8 if apart else 16)
    for seed in range(150):
        scorer = StateScorer(score, alpha)
        if apart:
            scorer.partial_fit(states_of(40, 3000 + seed))
        scorer.calibrate(states_of(needed, 5000 + seed))
        flagged += int(scorer.read(states_of(20, 7000 + seed)).flagged.sum())
        total += 20
    # samples of one data set share a threshold: their rate has variance below a (1 - a) / (n + 2)
    spread = math.sqrt(alpha * (1 - alpha) / 150 * (1 / 20 + 1 / (needed / 4 + 2)))
    assert flagged / total <= alpha + 3 * spread
    assert flagged / total >= alpha / 2


@pytest.mark.parametrize("score", SCORES)
def test_what_is_far_away_is_flagged_and_larger_is_more_unusual(score):
    scorer, new = calibrated(score), states_of(100, 3)
    jump = new | {"b": new["b"] + 20}
    reading, broken = scorer.read(new), scorer.read(jump)
    assert bool(broken.flagged.all())
    assert broken.score.min() > reading.score.median()
    assert broken.p_values.max() <= 0.05


@pytest.mark.parametrize("score", ["fused", "innovation", "distance"])
def test_flag_threshold_and_p_value_agree(score):
    for n in (400, 900):
        reading = (scorer := calibrated(score, n)).read(states_of(2000, 4))
        above = reading.score > scorer.calibration.threshold
        assert torch.equal(reading.flagged, reading.p_values <= 0.05 + 1e-12)
        if score == "fused" and n == 400:  # 100 samples judge: p-values are exact
            assert bool(reading.flagged[above].all())
            assert 0 < int((reading.flagged & ~above).sum()) < 40
        else:
            assert torch.equal(reading.flagged, above)


def test_velocity_is_two_sided_and_its_threshold_is_the_upper_line():
    scorer = StateScorer("velocity", alpha=0.1)
    calibration = scorer.calibrate(peaks(range(1, 40)))  # n = 39: 2 smallest are 1 and 2 of 40
    assert calibration.threshold == 38  # k = ceil(0.95 * 40)
    reading = scorer.read(peaks([0.0, 1.0, 2.0, 3.0, 20.0, 37.0, 38.0, 38.5, 39.0]))
    counts = [1, 2, 3, 4, 20, 4, 3, 2, 2]  # (1 + calibration scores beyond), of 40, twice
    assert reading.p_values.tolist() == pytest.approx([min(1, 2 * c / 40) for c in counts])
    assert reading.flagged.tolist() == [True, True, False, False, False, False, False, True, True]


def test_a_dead_sensor_is_seen_from_below_only():
    """All states zero: nothing moves. The published one-sided rule calls this the safest input."""
    dead = {k: torch.zeros(5, 4) for k in "abc"}
    two_sided = calibrated("velocity")
    assert bool(two_sided.read(dead).flagged.all())
    for method in ("iqr", "quantile"):
        one_sided = StateScorer("velocity")
        one_sided.calibrate(states_of(400), method=method)
        assert not bool(one_sided.read(dead).flagged.any())
    for score in ("fused", "distance"):
        assert bool(calibrated(score).read(dead).flagged.all()), score


def test_iqr_and_quantile_thresholds_by_hand():
    values = [*range(1, 41), 41.0]  # quartiles 11 and 31 of 1 .. 41
    scorer = StateScorer("velocity", alpha=0.1)
    calibration = scorer.calibrate(peaks(values), method="iqr")
    assert (calibration.q25, calibration.q75, calibration.iqr) == (11, 31, 20)
    assert calibration.threshold == calibration["iqr_threshold"] == 31 + 1.5 * 20
    assert (calibration.mean, calibration.n_samples) == (21, 41)
    assert calibration.std == pytest.approx(np.std(values))
    assert scorer.read(peaks([61.0, 61.5])).flagged.tolist() == [False, True]
    assert scorer.calibrate(peaks(values), method="quantile").threshold == 37
    assert scorer.read(peaks([37.0, 37.5, 0.0])).flagged.tolist() == [False, True, False]


def test_peak_is_the_largest_step_of_a_sample():
    scorer, new = calibrated("velocity"), states_of(20, 9)
    assert torch.equal(scorer.read(new).score, spatial_velocity(new).amax(dim=1).double())


@pytest.mark.parametrize("score", SCORES)
def test_samples_do_not_see_each_other(score):
    scorer, new = calibrated(score), states_of(30, 5)
    together = scorer.read(new)
    alone = [scorer.read(rows(new, slice(i, i + 1))) for i in range(30)]
    copies = scorer.read(rows(new, torch.zeros(64, dtype=torch.long)))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    shuffled = scorer.read(rows(new, order))
    for name in ("score", "p_values", "flagged"):
        expected = getattr(together, name)
        found = torch.cat([getattr(reading, name) for reading in alone])
        assert torch.allclose(found.double(), expected.double(), rtol=1e-5), name
        assert torch.allclose(
            getattr(copies, name).double(), expected[:1].double().expand(64), rtol=1e-5
        )
        assert torch.allclose(getattr(shuffled, name).double(), expected[order].double(), rtol=1e-5)


def test_blocks_are_what_the_parts_say():
    scorer, new = calibrated("fused"), states_of(20, 6)
    reading = scorer.read(new)
    innovation, distance = scorer.innovation.score(new), scorer.distance.score(new)
    assert torch.allclose(reading.blocks["innovation"], innovation, rtol=1e-6, atol=1e-6)
    assert torch.allclose(reading.blocks["distance"], distance, rtol=1e-6, atol=1e-6)
    for name, p in reading.layer_p_values.items():
        normal = scorer.calibration_scores[f"first.{name}"]
        assert torch.equal(p, cal.conformal_p_values(normal, reading.blocks[name]))
    assert reading.layers == ("a", "b", "c")
    assert reading.invalid_layers == ()


def test_one_layer_is_judged_by_its_distance():
    scorer, new = StateScorer(), states_of(50, 7)
    scorer.calibrate({"a": states_of(400)["a"]})
    only = StateScorer("distance")
    only.calibrate({"a": states_of(400)["a"]})
    new = {"a": new["a"]}
    assert scorer.innovation is None
    assert torch.equal(scorer.read(new).score, only.read(new).score)


# How data are split


@pytest.mark.parametrize("n", [76, 77, 78, 79, 400, 1001])
@pytest.mark.parametrize("n_parts", [1, 2, 4])
def test_split_is_disjoint_complete_and_fixed(n, n_parts):
    fit, first, second = split_rows(n, 0.05, n_parts)
    assert sorted(torch.cat([fit, first, second]).tolist()) == list(range(n))
    assert len(fit) == (n // 2 if n_parts == 4 else 0)
    assert abs(len(first) - len(second)) <= 1
    assert min(len(first), len(second)) >= 19
    again = split_rows(n, 0.2, n_parts)  # alpha does not move a sample
    assert all(torch.equal(a, b) for a, b in zip((fit, first, second), again, strict=True))
    assert first.float().mean() != pytest.approx(len(first) / 2 - 0.5, abs=5)  # not in file order


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 0.2, 1 / 3, 0.15])
@pytest.mark.parametrize("score", ["innovation", "velocity"])
@pytest.mark.parametrize("apart", [False, True])
def test_smallest_calibration_set(alpha, score, apart):
    """One sample fewer is an error that says so; with enough, an alarm can really fire."""
    if score == "velocity":
        needed = cal.required_samples(alpha / 2)  # each tail may spend half
    else:
        needed = (2 if apart else 4) * cal.required_samples(alpha)
    scorer = StateScorer(score, alpha)
    if apart:
        scorer.partial_fit(states_of(500, 11))
    with pytest.raises(CalibrationError, match=f"at least {needed} are needed"):
        scorer.calibrate(states_of(needed - 1))
    scorer.calibrate(states_of(needed))
    far = {k: 1e3 * v * (-1) ** i for i, (k, v) in enumerate(states_of(3, 12).items())}
    assert bool(scorer.read(far).flagged.all())


@pytest.mark.parametrize("score", SCORES)
def test_calibrating_twice_is_calibrating_once(score):
    """The second call must not judge samples that the first one fitted on."""
    states, new = states_of(200), states_of(50, 8)
    scorer = StateScorer(score)
    scorer.calibrate(states_of(300, 13))
    scorer.calibrate(states)
    once = StateScorer(score)
    once.calibrate(states)
    assert torch.equal(scorer.read(new).score, once.read(new).score)
    assert scorer.calibration == once.calibration


def test_fitting_apart_uses_all_calibration_samples_for_the_threshold():
    scorer = StateScorer()
    for seed in (20, 21):
        scorer.partial_fit(states_of(150, seed))
    calibration = scorer.calibrate(states_of(100))
    assert (calibration.n_fit, calibration.n_samples) == (300, 50)
    again = scorer.calibrate(states_of(200, 1))  # the fit stays
    assert (again.n_fit, again.n_samples) == (300, 100)
    own = StateScorer()
    assert (own.calibrate(states_of(200)).n_fit, own.calibration.n_samples) == (100, 50)


def test_partial_fit_after_an_own_fit_starts_anew_and_drops_the_calibration():
    scorer, alone = calibrated("fused"), StateScorer()
    for part in (scorer, alone):
        part.partial_fit(states_of(100, 30))
    assert scorer.calibration is None
    with pytest.raises(NotFittedError, match="calibrate"):
        scorer.read(states_of(5))
    for part in (scorer, alone):
        part.calibrate(states_of(100, 31))
    new = states_of(20, 32)
    assert torch.equal(scorer.read(new).score, alone.read(new).score)


def test_stored_scores_restore_the_calibration():
    scorer, new = calibrated("fused"), states_of(30, 8)
    expected = scorer.read(new)
    again = StateScorer()
    again.widths, again.sums = scorer.widths, scorer.sums
    assert again.set_calibration(scorer.calibration_scores, "conformal") == scorer.calibration
    assert torch.equal(again.read(new).score, expected.score)


def test_copies_of_a_scorer_read_the_same_and_go_their_own_way():
    scorer, new = calibrated("fused"), states_of(1, 8)
    expected = scorer.read(new)
    for again in (copy.deepcopy(scorer), pickle.loads(pickle.dumps(scorer))):
        assert torch.equal(again.read(new).score, expected.score)
        again.partial_fit(states_of(100, 30))
        again.calibrate(states_of(100, 31))
        assert torch.equal(scorer.read(new).score, expected.score)


# Labels


def labelled(n, n_classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(n_classes, (n,), generator=g)
    means = 8 * torch.randn(n_classes, 4, generator=torch.Generator().manual_seed(99))
    z = means[labels] + torch.randn(n, 4, generator=g)
    return {"a": z}, labels


def test_labels_give_class_means_and_find_what_lies_between():
    between = {"a": labelled(300)[0]["a"].mean(dim=0, keepdim=True)}
    with_labels, without = StateScorer("distance"), StateScorer("distance")
    states, labels = labelled(800)
    assert with_labels.calibrate(states, labels).n_classes == 3
    assert without.calibrate(states).n_classes == 1
    assert bool(with_labels.read(between).flagged)
    assert not bool(without.read(between).flagged)


def test_too_few_per_class_means_one_class():
    states, labels = labelled(400, n_classes=3)
    fine = torch.arange(400) // 2  # 200 samples fit about 150 classes
    scorer, plain = StateScorer("distance"), StateScorer("distance")
    assert scorer.calibrate(states, fine).n_classes == 1
    plain.calibrate(states)
    assert torch.allclose(scorer.read(states).score, plain.read(states).score, rtol=1e-9)
    enough = torch.arange(400) % (200 // SAMPLES_PER_CLASS // 2)
    assert StateScorer("distance").calibrate(states, enough).n_classes == len(enough.unique())


def test_pooled_classes_stay_pooled_when_more_data_come():
    """Class 0 of later data must not be mixed with everything that came before."""
    (first, _), (more, labels) = labelled(100), labelled(100, seed=1)
    scorer = StateScorer("distance").partial_fit(first, torch.arange(100))
    scorer.calibrate(labelled(100, seed=2)[0])  # 100 classes of one: pooled
    scorer.partial_fit(more, labels)
    plain = StateScorer("distance").partial_fit(first).partial_fit(more)
    for part in (scorer, plain):
        part.calibrate(labelled(100, seed=2)[0])
    assert scorer.calibration.n_classes == 1
    assert torch.allclose(scorer.read(more).score, plain.read(more).score, rtol=1e-9)


@pytest.mark.parametrize("given", [(True, False, True), (False, True, True), (True, True, False)])
def test_labels_in_some_calls_only_count_in_none(given):
    scorer, plain = StateScorer("distance"), StateScorer("distance")
    for seed, use in enumerate(given):
        states, labels = labelled(60, seed=seed)
        scorer.partial_fit(states, labels if use else None)
        plain.partial_fit(states)
    assert scorer.distance.n_classes == 1
    new = labelled(10, seed=9)[0]
    assert torch.allclose(scorer.distance.score(new), plain.distance.score(new), rtol=1e-5)


@pytest.mark.parametrize("bad", [torch.zeros(399), torch.zeros(401), torch.full((400,), -1)])
def test_wrong_labels_are_refused_before_anything_changes(bad):
    states, labels = labelled(400)
    scorer = StateScorer("distance")
    scorer.calibrate(states, labels)
    before = scorer.read(states).score
    with pytest.raises(CalibrationError, match="labels"):
        scorer.calibrate(states, bad.long())
    assert torch.equal(scorer.read(states).score, before)


# Bad numbers and bad calls


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("layer", ["a", "b", "c"])
def test_a_bad_number_is_never_healthy(bad, score, layer):
    scorer, new = calibrated(score), states_of(5, 8)
    expected = scorer.read(new)
    new[layer][2, 0] = bad
    reading = scorer.read(new)
    assert reading.invalid_layers == (layer,)
    assert (reading.score[2], reading.p_values[2], bool(reading.flagged[2])) == (math.inf, 0, True)
    others = [0, 1, 3, 4]
    assert torch.allclose(reading.score[others], expected.score[others], rtol=1e-5)
    assert f"INVALID (NaN or infinity) in: {layer}" in str(reading)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("size", [1e10, 1e30])
def test_huge_is_unusual_but_not_invalid(score, size):
    new = states_of(5, 8)
    new["b"] = torch.full_like(new["b"], size)
    reading = calibrated(score).read(new)
    assert reading.invalid_layers == ()
    assert bool(reading.flagged.all())
    assert not bool(reading.score.isnan().any())


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("method", ["conformal", "quantile", "iqr"])
def test_all_thresholds_flag_bad_numbers(score, method):
    scorer = StateScorer(score)
    scorer.calibrate(states_of(400), method=method)
    assert bool(scorer.read({k: v * math.nan for k, v in states_of(3).items()}).flagged.all())


def test_a_failed_calibration_changes_nothing():
    scorer, new = calibrated("fused"), states_of(10, 8)
    before, calibration = scorer.read(new).score, scorer.calibration
    spoiled = states_of(400, 9)
    spoiled["b"][7, 1] = math.nan
    for states, method, error, text in [
        (spoiled, "conformal", CalibrationError, "layer 'b': 1 of 400"),
        (states_of(20), "conformal", CalibrationError, "at least 76"),
        (states_of(400), "tukey", CalibrationError, "method"),
        (
            {k: v[:0] for k, v in states_of(1).items()},
            "conformal",
            CalibrationError,
            "at least one",
        ),
    ]:
        with pytest.raises(error, match=text):
            scorer.calibrate(states, method=method)
        assert scorer.calibration is calibration
        assert torch.equal(scorer.read(new).score, before)


def test_refused_data_do_not_cost_an_own_fit():
    """What `calibrate` fitted for itself is replaced by the next fit, not by a failed one."""
    scorer, new = calibrated("fused"), states_of(10, 8)
    before = scorer.read(new).score
    spoiled = states_of(50)
    spoiled["b"][0, 0] = math.nan
    with pytest.raises(CalibrationError):
        scorer.partial_fit(spoiled)
    assert torch.equal(scorer.read(new).score, before)
    raw, wide = calibrated("velocity"), states_of(400) | {"b": torch.rand(400, 7)}
    before = raw.read(new).score
    with pytest.raises(StateError, match="equal widths"):
        raw.calibrate(wide)
    assert torch.equal(raw.read(new).score, before)


def test_a_refused_partial_fit_changes_nothing():
    scorer = StateScorer().partial_fit(states_of(100), torch.arange(100) % 4)
    before = scorer.innovation.score(states_of(5)), scorer.distance.score(states_of(5))
    spoiled = states_of(50)
    spoiled["c"][1, 1] = math.inf
    for states, labels, error in [
        (spoiled, torch.arange(50), CalibrationError),
        (states_of(50), torch.arange(49), CalibrationError),
        (states_of(50, width=5), None, StateError),
        (states_of(50, n_layers=2), None, StateError),
    ]:
        with pytest.raises(error):
            scorer.partial_fit(states, labels)
        assert torch.equal(scorer.innovation.score(states_of(5)), before[0])
        assert torch.equal(scorer.distance.score(states_of(5)), before[1])


def test_clear_errors():
    with pytest.raises(StateError, match="fused, innovation, distance, velocity"):
        StateScorer("mahalanobis")
    for alpha in (0, 1, 2, math.nan):
        with pytest.raises(CalibrationError, match="alpha"):
            StateScorer(alpha=alpha)
    with pytest.raises(NotFittedError, match="calibrate"):
        StateScorer().read(states_of(5))
    for score in ("innovation", "velocity"):
        with pytest.raises(StateError, match="at least two layers"):
            StateScorer(score).calibrate({"a": states_of(400)["a"]})
    scorer = calibrated("fused")
    with pytest.raises(StateError, match="expected layers of widths"):
        scorer.read(states_of(5, width=5))
    with pytest.raises(StateError, match="expected layers of widths"):
        scorer.read(dict(reversed(states_of(5).items())))
    wide = states_of(400) | {"b": torch.rand(400, 7)}
    with pytest.raises(StateError, match="equal widths"):
        StateScorer("velocity").calibrate(wide)
    norm = StateScorer("velocity", across_widths="norm")
    assert norm.calibrate(wide).n_samples == 400

"""The table of the comparison: values, intervals that count images, differences, storage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from deepdrift.lab import data
from deepdrift.lab.bench import evaluation as ev
from deepdrift.lab.bench.evaluation import EvaluationError
from deepdrift.lab.fair_comparison.detectors import DETECTORS
from deepdrift.lab.fair_comparison.protocol import Scores
from deepdrift.lab.fair_comparison.table import (
    GROUPS,
    RENAMED,
    Comparison,
    groups_of,
    load_comparisons,
    save_comparisons,
)

KINDS = {
    "bags": "near", "digits": "far", "noise": "far",
    "blur 1": "corruption", "blur 3": "corruption", "dead rows 3": "corruption",
}  # fmt: skip
ALPHAS = {0.05: 1.6, 0.1: 1.3}


def run(seed=0, n=150, names=("good", "weak", "blind"), kinds=KINDS, skill=(1.4, 0.5, 0.0)):
    """Scores that share the luck of an image: over detectors, severities and the clean version."""
    rng = np.random.default_rng(seed)
    luck = np.random.default_rng(77).normal(size=n)  # of the test images, the same in every run
    values = {}
    for name, gain in zip(names, skill, strict=True):
        per_set = {"test": luck + 0.4 * rng.normal(size=n)}
        for i, (key, kind) in enumerate(kinds.items()):
            m = n if kind == "corruption" else 80 + 10 * i
            start = luck if kind == "corruption" else np.random.default_rng(i).normal(size=m)
            per_set[key] = start + gain * (1 + 0.2 * i) + 0.4 * rng.normal(size=m)
        values[name] = per_set
    return Scores(values, {name: dict(ALPHAS) for name in names}, dict(kinds))


RUNS = [run(0), run(1), run(2)]
TABLE = Comparison.of(RUNS, ["bags", "blur 3"], n_bootstrap=100)


# ---- values ----


def test_every_set_has_the_auroc_of_every_training():
    for name in TABLE.detectors:
        for key in KINDS:
            normal = [r.values[name]["test"] for r in RUNS]
            expected = [
                ev.auroc(x, r.values[name][key]).value for x, r in zip(normal, RUNS, strict=True)
            ]
            np.testing.assert_allclose(TABLE.by_training(name, key), expected, rtol=1e-12)
            assert TABLE.auroc(name, key).value == pytest.approx(np.mean(expected))


def test_a_corruption_counts_once_and_groups_weigh_shifts_alike():
    groups = groups_of(KINDS)
    assert set(groups) == {*KINDS, "blur", "dead rows", *GROUPS}
    assert groups["blur"] == {"blur 1": 1 / 2, "blur 3": 1 / 2}
    assert groups["dead rows"] == {"dead rows 3": 1}
    assert groups["near"] == {"bags": 1} and groups["far"] == {"digits": 1 / 2, "noise": 1 / 2}
    assert groups["corruption"] == {"blur 1": 1 / 4, "blur 3": 1 / 4, "dead rows 3": 1 / 2}
    fifth = {"bags": 0.2, "digits": 0.2, "noise": 0.2, "blur 1": 0.1, "blur 3": 0.1}
    assert groups["all shifts"] == pytest.approx({**fifth, "dead rows 3": 0.2})
    assert all(sum(w.values()) == pytest.approx(1) for w in groups.values())


def test_groups_that_have_no_member_are_absent():
    assert set(groups_of({"digits": "far"})) == {"digits", "all shifts", "far"}


@pytest.mark.parametrize("row", ["blur", "corruption", "all shifts"])
def test_a_group_is_the_weighted_mean_of_its_sets(row):
    expected = sum(w * TABLE.auroc("good", k).value for k, w in groups_of(KINDS)[row].items())
    assert TABLE.auroc("good", row).value == pytest.approx(expected)


def test_false_alarms_are_shares_of_the_test_images():
    assert TABLE.alphas == (0.05, 0.1) and TABLE.n_test == 150
    for s, r in enumerate(RUNS):
        for d, name in enumerate(TABLE.detectors):
            shares = [np.mean(r.values[name]["test"] > t) for t in ALPHAS.values()]
            np.testing.assert_allclose(TABLE.false_alarms[s, :, d], shares)


# ---- intervals ----


@pytest.mark.parametrize("name", TABLE.detectors)
def test_one_independent_set_has_delongs_interval(name):
    one = Comparison.of(RUNS[:1]).auroc(name, "digits")
    of_normal, of_shifted = ev.placements(*(RUNS[0].values[name][k] for k in ("test", "digits")))
    error = np.sqrt(of_normal.var(ddof=1) / 150 + of_shifted.var(ddof=1) / len(of_shifted))
    assert one.value - one.low == pytest.approx(1.959964 * error, rel=1e-6)
    assert min(1.0, one.value + 1.959964 * error) == pytest.approx(one.high, rel=1e-6)
    logit = ev.auroc(*(RUNS[0].values[name][k] for k in ("test", "digits")))
    assert (one.low, one.high) == pytest.approx((logit.low, logit.high), abs=0.01)


def test_paired_difference_of_one_independent_set_is_delongs():
    pairs = [RUNS[0].values[d][k] for d in ("good", "weak") for k in ("test", "digits")]
    expected = ev.auroc_difference(*pairs)
    found = Comparison.of(RUNS[:1]).difference("good", "weak", "digits")
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high), rel=1e-9
    )


def bootstrap(runs, row, names, draws=2000, seed=5):
    """Draw images anew, each with all its versions and all its scores, and take the mean again."""
    rng = np.random.default_rng(seed)

    def counts(n):
        return rng.multinomial(n, np.full(n, 1 / n), size=draws) / n

    test, found = counts(150), np.zeros((len(names), draws))
    for key, weight in groups_of(KINDS)[row].items():
        shifted = counts(len(runs[0].values[names[0]][key]))
        drawn = test if KINDS[key] == "corruption" else shifted
        for r in runs:
            for d, name in enumerate(names):
                above = r.values[name][key][None] > r.values[name]["test"][:, None]
                found[d] += weight / len(runs) * ((test @ above) * drawn).sum(axis=1)
    return np.cov(found)


@pytest.mark.parametrize("row", ["blur", "all shifts"])
def test_covariance_counts_images_as_a_bootstrap_over_images_does(row):
    names = ("good", "weak")
    expected = bootstrap(RUNS[:2], row, names)
    table = Comparison.of(RUNS[:2])
    d = [table.detectors.index(name) for name in names]
    found = table.covariance[table.rows.index(row)][np.ix_(d, d)]
    np.testing.assert_allclose(found, expected, rtol=0.15)


def test_counting_rows_for_images_would_be_wrong_here():
    """Clean and blurred share their luck: DeLong as for independent sets is far too wide."""
    table = Comparison.of(RUNS[:1])
    r, d = table.rows.index("blur 1"), table.detectors.index("blind")
    parts = ev.placements(*(RUNS[0].values["blind"][k] for k in ("test", "blur 1")))
    independent = sum(part.var(ddof=1) / len(part) for part in parts)
    assert table.covariance[r, d, d] < 0.5 * independent


def test_covariance_is_symmetric_and_never_negative():
    for c in TABLE.covariance:
        np.testing.assert_allclose(c, c.T, rtol=1e-9, atol=1e-18)
        assert np.linalg.eigvalsh(c).min() > -1e-12


def test_two_equal_detectors_differ_by_exactly_nothing():
    twins = [run(s, names=("one", "two"), skill=(1.0, 1.0)) for s in (0, 1)]
    for r in twins:  # the same order, on another scale
        r.values["two"] = {k: np.exp(v) for k, v in r.values["one"].items()}
    table = Comparison.of(twins)
    for row in table.rows:
        gap = table.difference("one", "two", row)
        assert (gap.value, gap.low, gap.high) == (0, 0, 0)


def test_differences_change_their_sign_with_the_order():
    one, two = TABLE.difference("good", "weak", "near"), TABLE.difference("weak", "good", "near")
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))
    assert one.low > 0


# ---- ranking and losses ----


def test_ranking_is_best_first_and_leaves_out_what_does_not_apply():
    assert [name for name, _ in TABLE.ranking()] == ["good", "weak", "blind"]
    gaps = {**vars(TABLE), "values": TABLE.values.copy()}
    gaps["values"][:, :, 1] = np.nan
    assert [name for name, _ in Comparison(**gaps).ranking()] == ["good", "blind"]


def flat_table(values, errors, correlation=0.0):
    """One training, one row per list of values, made by hand."""
    values, errors = np.array(values, float), np.array(errors, float)
    names = tuple("abcd"[: values.shape[1]])
    rows = tuple(f"row {i}" for i in range(len(values)))
    c = errors[:, :, None] * errors[:, None, :]
    c = np.where(np.eye(len(names), dtype=bool), c, correlation * c)
    kinds = dict.fromkeys(rows, "far")
    return Comparison(names, rows, kinds, values[None], c, np.zeros((1, 0, len(names))), (), 100)


def test_losses_are_exactly_those_that_were_put_in():
    values = [[0.9, 0.8, 0.7], [0.8, 0.9, 0.7], [0.8, 0.805, 0.7], [0.6, 0.7, 0.95]]
    table = flat_table(values, np.full((4, 3), 0.01))
    found = table.losses("a")
    assert [(row, best) for row, best, _ in found] == [("row 3", "c"), ("row 1", "b")]
    assert [gap.value for *_, gap in found] == pytest.approx([-0.35, -0.1])
    assert found[1][2].high == pytest.approx(-0.1 + 1.959964 * 0.01 * np.sqrt(2))
    assert [row for row, *_ in table.losses("a", rows=["row 0", "row 1"])] == ["row 1"]


def test_a_sure_loss_is_not_hidden_behind_a_better_rival_that_is_not_sure():
    table = flat_table([[0.80, 0.85, 0.82]], [[0.002, 0.05, 0.002]])
    assert table.difference("a", "b", "row 0").high > 0
    assert [(row, name) for row, name, _ in table.losses("a")] == [("row 0", "c")]
    assert table.losses("a", rivals=["b"]) == [] and table.losses("a", rivals=["a"]) == []


def test_losses_look_at_shifts_not_at_severities_or_groups():
    assert TABLE.shifts == ("bags", "digits", "noise", "blur", "dead rows")
    assert {row for row, *_ in TABLE.losses("blind")} == set(TABLE.shifts)
    assert TABLE.losses("good") == []


# ---- other measures ----


@pytest.mark.parametrize("row", ["bags", "blur 3"])
def test_other_measures_are_those_of_evaluation(row):
    for training, r in enumerate(RUNS):
        for name in TABLE.detectors:
            pair = r.values[name]["test"], r.values[name][row]
            for found, measure in (
                (TABLE.aupr(name, row, training), ev.aupr),
                (TABLE.fpr95(name, row, training), ev.fpr_at_tpr),
            ):
                expected = measure(*pair, n_bootstrap=100)
                assert (found.value, found.low, found.high) == pytest.approx(
                    (expected.value, expected.low, expected.high)
                )


# ---- storage ----


def test_a_table_survives_the_file_to_float32(tmp_path):
    path = tmp_path / "table.npz"
    other = Comparison.of([run(4, names=("only",), skill=(1.0,), kinds={"digits": "far"})])
    save_comparisons(path, {"cnn": TABLE, "vit": other})
    found = load_comparisons(path)
    assert list(found) == ["cnn", "vit"]
    for before, after in ((TABLE, found["cnn"]), (other, found["vit"])):
        for name in ("detectors", "rows", "kinds", "alphas", "n_test", "measured_rows"):
            assert getattr(after, name) == getattr(before, name)
        for name in ("values", "covariance", "false_alarms", "measured"):
            array = getattr(after, name)
            assert array.dtype == np.float64 and array.shape == getattr(before, name).shape
            np.testing.assert_allclose(array, getattr(before, name), rtol=1e-6, atol=1e-12)
    a, b = TABLE.difference("good", "weak"), found["cnn"].difference("good", "weak")
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-6)
    same = found["cnn"].difference("good", "good")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_old_files_are_read_with_todays_names(tmp_path):
    path = tmp_path / "table.npz"
    names = ("fused (default)", "fused, without input", "energy")
    save_comparisons(path, {"cnn": Comparison.of([run(names=names)])})
    found = load_comparisons(path)["cnn"]
    assert found.detectors == ("fused", "fused, without input", "energy")
    assert set(RENAMED.values()) <= set(DETECTORS) and not set(RENAMED) & set(DETECTORS)


def test_the_shipped_file_has_the_scores_of_the_registry():
    for found in load_comparisons(data.shipped("comparison.npz")).values():
        assert set(DETECTORS) - set(found.detectors) <= {"ASH-S", "SCALE"}
        assert set(found.detectors) <= set(DETECTORS)


# ---- bad input ----


def test_runs_of_other_sets_or_detectors_are_refused():
    fewer = {k: v for k, v in KINDS.items() if k != "noise"}
    for other in (run(1, kinds=fewer), run(1, names=("good", "weak", "bad"))):
        with pytest.raises(EvaluationError, match="the same sets and detectors in every run"):
            Comparison.of([RUNS[0], other])


def test_unknown_names():
    with pytest.raises(EvaluationError, match="detector: expected one of good, weak, blind, got"):
        TABLE.auroc("energy")
    with pytest.raises(EvaluationError, match="row: expected one of bags, .* got 'blurr'"):
        TABLE.difference("good", "weak", "blurr")
    with pytest.raises(EvaluationError, match="row: measured for bags, blur 3, not 'digits'"):
        TABLE.aupr("good", "digits")


def test_no_runs_is_an_error():
    with pytest.raises(EvaluationError, match="at least one training, got none"):
        Comparison.of([])


def test_images_of_one_cluster_count_once():
    """Ten copies of every image, as clusters, have the interval of the images themselves."""
    g = np.random.default_rng(0)
    test, shifted = g.normal(size=300), g.normal(1.0, size=40)
    kinds = {"patches": "far"}

    def width(values, clusters):
        run = Scores({"a": {"test": test, "patches": values}}, {"a": {0.05: 2.0}}, kinds, clusters)
        estimate = Comparison.of([run]).auroc("a", "patches")
        return estimate.high - estimate.low

    copies, numbers = np.repeat(shifted, 10), np.repeat(np.arange(40), 10)
    alone = width(shifted, {})
    assert width(copies, {"patches": numbers}) == pytest.approx(alone, rel=1e-9)
    assert width(copies, {}) < 0.8 * alone


def test_the_interval_over_trainings_is_students():
    comparison = Comparison.of(RUNS)
    a, b = comparison.detectors[:2]
    gaps = comparison.by_training(a) - comparison.by_training(b)
    low, high = stats.t.interval(0.95, len(gaps) - 1, gaps.mean(), stats.sem(gaps))
    found = comparison.over_trainings(a, b)
    assert (found.low, found.high) == pytest.approx((low, high))
    with pytest.raises(EvaluationError, match="two trainings"):
        Comparison.of(RUNS[:1]).over_trainings(a)

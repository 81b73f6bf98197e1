"""Thresholds within predicted classes: scorer, monitor, files, merges, streams."""

import copy
import math
import pickle

import pytest
import torch
from scipy import stats
from torch import nn

from deepdrift import (
    CalibrationError,
    DeepDriftMonitor,
    ReferenceFileError,
    StateScorer,
    merge,
)
from deepdrift.evidence.calibration import conformal_p_values, conformal_threshold
from deepdrift.evidence.classes import ClassRanks
from deepdrift.monitor.rules import PREDICTED, calibration_of
from deepdrift.monitor.stream import split_rows


def states(n, seed, n_classes=2):
    """Class 0 is quiet, each further one three times as spread; the logits say which it is."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(n_classes, (n,), generator=g)
    x = torch.randn(n, 4, generator=g) * (3.0**y)[:, None]
    logits = 9 * nn.functional.one_hot(y, n_classes) + torch.rand(n, n_classes, generator=g)
    return {"a": x, "b": x.flip(1) + 0.1 * torch.randn(n, 4, generator=g), "out": logits}, y


def scorer_of(n, per_class, seed=1, alpha=0.05, n_classes=2):
    scorer = StateScorer(alpha=alpha, output_layer="out").partial_fit(states(1000, 0, n_classes)[0])
    scorer.calibrate(states(n, seed, n_classes)[0], per_class=per_class)
    return scorer


def test_p_values_are_ranks_within_the_predicted_class():
    """One layer: a second-half sample has the same score when it is read."""
    normal, y = states(300, 1)
    new, of = states(50, 2)
    scorer = StateScorer(output_layer="out")
    scorer.partial_fit({k: states(500, 0)[0][k] for k in ("a", "out")})
    calibration = scorer.calibrate({k: normal[k] for k in ("a", "out")}, per_class=True)
    _, _, second = split_rows(300, 0.05, 2)
    scores = scorer.read({k: normal[k][second] for k in ("a", "out")}).score
    assert torch.equal(scorer.calibration_scores[PREDICTED], y[second])
    reading = scorer.read({k: new[k] for k in ("a", "out")})
    for c in (0, 1):
        group = scores[y[second] == c]
        assert calibration.class_thresholds[c] == conformal_threshold(group, 0.05)
        expected = conformal_p_values(group, reading.score[of == c])
        assert torch.equal(reading.p_values[of == c], expected)
    assert torch.equal(reading.flagged, reading.p_values <= 0.05 + 1e-12)
    assert calibration.class_thresholds[0] < calibration.threshold < calibration.class_thresholds[1]


def test_each_class_keeps_its_rate():
    """Beta-binomial limits given the number of normal samples of the class; with one line: not."""
    new, of = states(6000, 3)
    for per_class in (True, False):
        scorer = scorer_of(4000, per_class)
        flagged = scorer.read(new).flagged
        assert abs(float(flagged.double().mean()) - 0.05) < 0.015
        for c in (0, 1):
            n = int((scorer_of(4000, True).calibration_scores[PREDICTED] == c).sum())
            a = math.floor(0.05 * (n + 1) + 1e-9)
            law = stats.betabinom(int((of == c).sum()), a, n + 1 - a)
            low, high = law.ppf([0.001, 0.999])
            assert (low <= int(flagged[of == c].sum()) <= high) == per_class
    # what is said of it: scores and drift are those of all samples
    assert torch.equal(scorer.read(new).score, scorer_of(4000, True).read(new).score)


def test_classes_of_few_samples_are_named_and_judged_together():
    normal, y = states(400, 1, n_classes=2)
    rare = torch.arange(400) % 40 == 0  # ten of them look like classes 2 and 3
    logits = torch.cat([normal["out"], torch.zeros(400, 4)], dim=1)
    logits[rare, 2 + y[rare]] = 50
    scorer = StateScorer(output_layer="out").partial_fit(normal | {"out": logits})
    calibration = scorer.calibrate(normal | {"out": logits}, per_class=True)
    assert set(calibration.pooled_classes) >= {2, 3}
    assert len(calibration.pooled_classes) == 3  # both together are too few: one more joins
    assert "judged together" in str(calibration) and "2, 3 and any other class" in str(calibration)
    one = {k: v[:1].clone() for k, v in (normal | {"out": logits}).items()}
    p = []
    for c in (2, 3, 5):  # class 5 was never predicted
        one["out"] = 50.0 * nn.functional.one_hot(torch.tensor([c]), 6)
        one["out"][:, :2] = logits[:1, :2]
        p.append(scorer.read(one).p_values.item())
    assert len(set(p)) == 1 and 0 < p[0] < 1  # one group, in which the layers decide
    plain = scorer.calibrate(normal | {"out": logits})
    assert (plain.class_thresholds, plain.pooled_classes) == ({}, ())
    assert "predicted class" not in str(plain)


def test_a_bad_number_is_never_healthy_in_any_class():
    scorer, (new, _) = scorer_of(400, True), states(6, 5)
    for layer in ("a", "b", "out"):
        spoiled = {k: v.clone() for k, v in new.items()}
        spoiled[layer][2, 1] = math.nan
        reading = scorer.read(spoiled)
        assert (reading.p_values[2].item(), bool(reading.flagged[2])) == (0, True)
        assert bool((reading.p_values[[0, 1, 3, 4, 5]] > 0).all())


def test_samples_do_not_see_each_other():
    scorer, (new, _) = scorer_of(400, True), states(40, 6)
    together = scorer.read(new)
    alone = [scorer.read({k: v[i : i + 1] for k, v in new.items()}) for i in range(40)]
    assert torch.equal(torch.cat([r.p_values for r in alone]), together.p_values)


def test_a_stream_and_its_parts_give_what_the_whole_gives():
    scorer, (normal, _), (new, _) = scorer_of(700, True, seed=8), states(700, 8), states(30, 9)
    expected = scorer.read(new).p_values
    streamed = StateScorer(output_layer="out").partial_fit(states(1000, 0)[0])
    stream, parts = streamed.stream(), [streamed.stream() for _ in range(2)]
    for i in range(0, 700, 90):
        stream.add({k: v[i : i + 90] for k, v in normal.items()})
    assert streamed.finish(stream, per_class=True) == scorer.calibration
    assert torch.equal(streamed.read(new).p_values, expected)
    for part, rows in zip(parts, (slice(0, 256), slice(256, 700)), strict=True):
        part.add({k: v[rows] for k, v in normal.items()})
    gathered = streamed.stream()
    gathered.take([part.part() for part in parts])
    streamed.finish(gathered, per_class=True)
    assert torch.equal(streamed.read(new).p_values, expected)


def test_refused_rules_change_nothing():
    scorer, (new, _) = scorer_of(400, True), states(10, 5)
    before = scorer.read(new).p_values
    for method, text in (("quantile", "only method='conformal'"), ("iqr", "only method='conf")):
        with pytest.raises(CalibrationError, match=f"per_class: {text}"):
            scorer.calibrate(states(400, 1)[0], method=method, per_class=True)
    assert torch.equal(scorer.read(new).p_values, before)
    plain = StateScorer()
    with pytest.raises(CalibrationError, match="per_class: .* no output layer is watched"):
        plain.calibrate({k: v for k, v in new.items() if k != "out"}, per_class=True)
    assert not plain.fitted


def test_the_class_rule_keeps_the_summary_of_all():
    scores = torch.arange(1.0, 100.0).double()
    classes = ClassRanks(scores, torch.arange(99) % 2, 0.1)
    plain, each = (calibration_of(scores, "conformal", 0.1, classes=c) for c in (None, classes))
    assert (each.threshold, each.mean, each.n_samples) == (plain.threshold, 50, 99) == (90, 50, 99)
    assert each.class_thresholds == {0: 91.0, 1: 90.0}  # 46th of 1, 3, .. 99; 45th of 2, 4, .. 98
    assert hash(each) is not None and each != plain


# With a model


class Spread(nn.Module):
    """Passes on what comes; the sign of the first number is the class."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        with torch.no_grad():
            for part in (self.one, self.two):
                part.weight.copy_(torch.eye(3))
                part.bias.zero_()
            self.head.weight.copy_(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.two(self.one(x)))


def batches(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=g)
    x[:, 1:] *= torch.where(x[:, :1] > 0, 4.0, 1.0)
    return list(x.split(50))


def monitored(**options):
    return DeepDriftMonitor(Spread(), ["one", "two"], output_layer="head", **options)


@pytest.mark.parametrize("apart", [False, True])
def test_every_copy_of_a_monitor_judges_within_classes(apart, tmp_path):
    new = torch.cat(batches(200, 9))
    with monitored() as monitor:
        if apart:
            monitor.fit(batches(400, 0))
        calibration = monitor.calibrate(batches(600, 1), per_class=True)
        assert calibration.class_thresholds[0] < calibration.class_thresholds[1]
        expected = monitor.read(new)
        monitor.save(tmp_path / "normal")
        with monitored() as loaded:
            loaded.load(tmp_path / "normal")
            copies = [loaded, copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))]
            for other in copies:
                assert other.calibration == calibration
                assert torch.equal(other.p_values(new), expected.p_values)
        monitor.alpha = 0.1
        assert torch.equal(monitor.p_values(new), expected.p_values)  # no class is pooled
        assert torch.equal(monitor.read(new).flagged, expected.p_values <= 0.1 + 1e-12)
        lower = monitor.calibration.class_thresholds
        assert all(lower[c] < calibration.class_thresholds[c] for c in (0, 1))
        monitor.alpha = 0.05
        assert monitor.calibration == calibration
        plain = monitor.calibrate(batches(600, 1))
        assert plain.class_thresholds == {}
        assert not torch.equal(monitor.p_values(new), expected.p_values)


def test_calibrations_of_one_fit_are_pooled_within_classes(tmp_path):
    new = torch.cat(batches(200, 9))
    with monitored() as monitor:
        monitor.fit(batches(400, 0)).save(tmp_path / "fit")
    parts = []
    for seed, per_class in ((1, True), (2, True), (3, False)):
        with monitored() as monitor:
            monitor.load(tmp_path / "fit").calibrate(batches(300, seed), per_class=per_class)
            parts.append(monitor.reference)
    for refused in (parts[1:], parts[:0:-1]):
        with pytest.raises(ReferenceFileError, match="calibrated per class where the other"):
            merge(refused)
    merged = merge(parts[:2])
    merged.save(tmp_path / "both")
    with monitored() as monitor:
        monitor.load(tmp_path / "both")
        predicted = monitor.reference.calibration[PREDICTED]
        assert torch.equal(predicted, torch.cat([p.calibration[PREDICTED] for p in parts[:2]]))
        assert monitor.calibration.n_samples == 300
        scores = monitor._scorer._fusion.scores_of_second
        reading, of = monitor.read(new), (new[:, 0] > 0).long()
        for c in (0, 1):
            expected = conformal_p_values(scores[predicted == c], reading.score[of == c])
            assert torch.equal(reading.p_values[of == c], expected)


def test_a_monitor_without_an_output_layer_says_so():
    with DeepDriftMonitor(Spread(), ["one", "two"]) as monitor:
        with pytest.raises(CalibrationError, match="per_class: .*name it with output_layer"):
            monitor.calibrate(batches(400, 1), per_class=True)
        drawn = []
        monitor.fit(batches(400, 0))
        with pytest.raises(CalibrationError, match="per_class"):
            monitor.calibrate((drawn.append(1) or x for x in batches(400, 1)), per_class=True)
        assert drawn == []  # said before any work is done

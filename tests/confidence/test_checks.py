from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift import confidence
from deepdrift.confidence import ConfidenceError

GOOD = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
MEASURES = [
    confidence.ece,
    confidence.adaptive_ece,
    confidence.classwise_ece,
    confidence.max_calibration_error,
    confidence.brier,
    confidence.nll,
    confidence.reliability,
    confidence.calibration_test,
    confidence.calibration_report,
]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        (torch.tensor([[2.0, -1.0]] * 3), [0, 1, 0], "softmax"),
        (torch.tensor([[0.9, 0.8]] * 3), [0, 1, 0], "softmax"),  # logits that lie in [0, 1]
        (torch.tensor([[0.5, float("nan")]] * 3), [0, 1, 0], "NaN or infinity"),
        (torch.tensor([[0.5, 0.4]] * 3), [0, 1, 0], "sums to 0.9"),
        (torch.ones(3, 1), [0, 0, 0], "K >= 2"),
        (torch.ones(3), [0, 0, 0], "1 - p and p"),
        (torch.empty(0, 2), [], "N >= 1"),
        (torch.tensor([[1, 0]] * 3), [0, 1, 0], "floats"),
        (GOOD, [0, 1, 2], "expected 0 to 1, got 2"),
        (GOOD, [0, -1, 1], "expected 0 to 1, got -1"),
        (GOOD, [0, 1], r"shape \(3,\)"),
        (GOOD, [[1, 0], [0, 1], [1, 0]], "argmax"),
        (GOOD, [0.0, 0.5, 1.0], "fractions or NaN"),
        (GOOD, [0.0, float("nan"), 1.0], "fractions or NaN"),
    ],
)
def test_what_is_no_prediction_or_no_label_is_refused(measure, probabilities, labels, words):
    with pytest.raises(ConfidenceError, match=words):
        measure(probabilities, labels)


def test_numpy_torch_lists_and_whole_floats_are_one():
    labels = [0, 1, 1]
    expected = confidence.ece(GOOD.double(), labels)
    assert confidence.ece(GOOD.double().numpy(), np.array(labels, np.uint8)) == expected
    assert confidence.ece(GOOD.double(), torch.tensor([0.0, 1.0, 1.0])) == expected
    assert confidence.ece([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], labels) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_rows_sum_to_one_as_well_as_they_can(kind):
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(500, 10, generator=generator).softmax(dim=1).to(kind)
    assert confidence.check_probabilities(p).dtype == torch.float64
    with pytest.raises(ConfidenceError, match="sums to"):
        confidence.check_probabilities((p * 0.9).to(kind))


@pytest.mark.parametrize(
    ("scores", "correct", "words"),
    [
        ([1.0, float("nan")], [True, False], "NaN"),
        ([1.0, 2.0], [True], "same shape"),
        ([], [], "N >= 1"),
        ([1.0, 2.0], [3, 7], "are these labels"),
    ],
)
def test_scores_and_right_answers_are_checked(scores, correct, words):
    for measure in (
        confidence.risk_coverage,
        confidence.augrc_interval,
        lambda s, c: confidence.accept_at_risk(s, c, 0.1),
    ):
        with pytest.raises(ConfidenceError, match=words):
            measure(scores, correct)


@pytest.mark.parametrize("n_bins", [0, -1, 2.5, True, None])
def test_bins_are_counted_in_whole_numbers(n_bins):
    for measure in [*MEASURES[:5], *MEASURES[6:]]:  # all but nll
        with pytest.raises(ConfidenceError, match="n_bins"):
            measure(GOOD, [0, 1, 1], n_bins)


def test_nothing_that_is_given_changes():
    p, labels = GOOD.clone(), torch.tensor([0, 1, 1])
    state = torch.get_rng_state()
    confidence.calibration_report(p, labels, n_simulations=20)
    assert torch.equal(p, GOOD) and labels.tolist() == [0, 1, 1]
    assert torch.equal(torch.get_rng_state(), state)

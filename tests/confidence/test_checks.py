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
        (GOOD, [[0], [1], [1]], r"take labels\[:, 0\]"),  # argmax would make them all 0
        (GOOD, ["cat", "dog", "cat"], "labels: expected numbers"),
        (None, [0, 1, 0], "probabilities: expected numbers"),
        ([[0.5, 0.5], [1.0]], [0, 1], "equal length"),
        (GOOD.to(torch.complex64), [0, 1, 1], "real numbers"),
        (GOOD, [0.0, 0.5, 1.0], "fractions or NaN"),
        (GOOD, [0.0, float("nan"), 1.0], "fractions or NaN"),
        (GOOD, [0.0, float("inf"), 1.0], "fractions or NaN"),
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
    exact = confidence.ece(p.double() / p.double().sum(dim=1, keepdim=True), [0] * 500)
    assert confidence.ece(p, [0] * 500) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("k", [2, 100, 5000])
def test_the_tolerance_of_half_precision_does_not_grow_with_the_classes(kind, k):
    generator = torch.Generator().manual_seed(k)
    p = torch.randn(50, k, generator=generator).softmax(dim=1).to(kind)
    confidence.check_probabilities(p)
    for wrong in (0.97, 1.03):
        with pytest.raises(ConfidenceError, match="softmax"):
            confidence.check_probabilities((p * wrong).to(kind))


def test_rounded_rows_are_told_how_to_sum_to_one():
    p = torch.tensor([[0.333, 0.333, 0.333]])
    with pytest.raises(ConfidenceError, match="divide each row by its sum"):
        confidence.check_probabilities(p)
    confidence.check_probabilities(p / p.sum(dim=1, keepdim=True))


def test_a_last_digit_beyond_one_is_rounding_and_no_logit():
    p = np.array([[1 + 2**-52, -(2.0**-53)]])
    assert confidence.check_probabilities(p).tolist() == [[1.0, 0.0]]
    with pytest.raises(ConfidenceError, match="outside of"):
        confidence.check_probabilities([[1.001, -0.001]])


def test_a_graph_a_view_and_a_backward_array_are_read():
    p = GOOD.double()
    expected = confidence.ece(p, [0, 1, 1])
    assert confidence.ece(p.clone().requires_grad_(), [0, 1, 1]) == expected
    assert confidence.ece(p.T.contiguous().T, [0, 1, 1]) == expected
    assert confidence.ece(p.numpy()[::-1], [1, 1, 0]) == pytest.approx(expected)


def test_labels_of_one_class_are_labels():
    """Two of three are right: confidence 0.7, 0.8 and 0.5 in bins of their own."""
    found = confidence.calibration_report(GOOD.double(), [0, 0, 0], n_bins=10, n_simulations=20)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.test.ece == pytest.approx((0.3 + 0.8 + 0.5) / 3)
    assert found.brier.uncertainty == 0.0
    assert found.brier.value == pytest.approx(2 * (0.09 + 0.64 + 0.25) / 3)


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
    for measure in [m for m in MEASURES if m is not confidence.nll]:
        with pytest.raises(ConfidenceError, match="n_bins"):
            measure(GOOD, [0, 1, 1], n_bins)


def test_a_whole_number_of_numpy_is_one():
    assert confidence.ece(GOOD, [0, 1, 1], np.int64(5)) == confidence.ece(GOOD, [0, 1, 1], 5)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_any_device(device):
    if not getattr(torch, device).is_available():
        pytest.skip(f"no {device}")
    labels = torch.tensor([0, 1, 1], device=device)
    assert confidence.ece(GOOD.to(device), labels) == confidence.ece(GOOD, [0, 1, 1])


def test_nothing_that_is_given_changes():
    p, labels = GOOD.clone(), torch.tensor([0, 1, 1])
    state = torch.get_rng_state()
    confidence.calibration_report(p, labels, n_simulations=20)
    assert torch.equal(p, GOOD) and labels.tolist() == [0, 1, 1]
    assert torch.equal(torch.get_rng_state(), state)

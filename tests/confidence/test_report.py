from __future__ import annotations

import pytest
import torch

from deepdrift import confidence


def test_each_number_of_the_report_is_its_functions():
    p, labels = torch.tensor([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]).double(), [0, 1, 1]
    found = confidence.calibration_report(p, labels, 5, n_simulations=30, seed=2)
    assert found.test == confidence.calibration_test(p, labels, 5, n_simulations=30, seed=2)
    assert found.confidence == pytest.approx(0.7)
    for name in ("adaptive_ece", "classwise_ece", "max_calibration_error"):
        assert getattr(found, name) == getattr(confidence, name)(p, labels, 5)
    assert found.nll == confidence.nll(p, labels)


def test_the_report_holds_what_the_functions_give():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(100, 4, generator=generator).softmax(dim=1)
    labels = torch.randint(4, (100,), generator=generator)
    found = confidence.calibration_report(p, labels, n_simulations=50)
    assert found.test.ece == confidence.ece(p, labels)
    assert found.classwise_ece == confidence.classwise_ece(p, labels)
    assert found.brier == confidence.brier(p, labels)
    assert found.accuracy == pytest.approx(float((p.argmax(dim=1) == labels).float().mean()))
    assert found.n == 100


def test_without_meaning_no_number_comes_out():
    answer = confidence.calibration_report(torch.tensor([[0.9, 0.1]]))
    assert isinstance(answer, confidence.NotDefined)
    assert "0.900" in str(answer) and f"{answer}" == str(answer)
    for use in (float, int, bool, lambda x: f"{x:.3f}", lambda x: 1 + x, lambda x: x < 0.1):
        with pytest.raises(TypeError):
            use(answer)
    with pytest.raises(TypeError, match="no label is right here"):
        float(answer)
    with pytest.raises(confidence.ConfidenceError, match="softmax"):
        confidence.calibration_report(torch.tensor([[3.0, 1.0]]))  # not excused from the checks


def test_the_identity_that_was_published_as_a_finding():
    """Ten classes against a hundred class numbers: the ECE is confidence minus accuracy."""
    generator = torch.Generator().manual_seed(0)
    p = (3 * torch.randn(2000, 10, generator=generator)).softmax(dim=1)
    numbers = torch.randint(100, (2000,), generator=generator)
    with pytest.raises(confidence.ConfidenceError, match="calibration_report"):
        confidence.ece(p, numbers)
    guess = p.argmax(dim=1)
    never_right = torch.where(numbers == guess, numbers, (guess + 1) % 10)
    accuracy = float((guess == never_right).float().mean())
    assert confidence.ece(p, never_right) == pytest.approx(
        float(p.amax(1).mean()) - accuracy, abs=1e-3
    )

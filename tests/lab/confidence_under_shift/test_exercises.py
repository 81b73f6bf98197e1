"""The exercises of notebook 10: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift import confidence
from deepdrift.lab.confidence_under_shift.exercises import EXERCISES
from deepdrift.lab.confidence_under_shift.measures import simulate_calibrated


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_10_{number}"].reply(answer)


def test_four_answers_of_eighty_per_cent():
    library = confidence.ece([[0.8, 0.2]] * 4, [0, 0, 0, 1])
    for answer in (library, 0.05, np.float64(0.05), torch.tensor(0.05), abs(0.8 - 3 / 4)):
        assert reply(1, answer).startswith("Right: ")
    assert "1 - 0.8" in reply(1, 0.2)
    assert "that is the accuracy" in reply(1, 3 / 4)
    assert "its weight is 1" in reply(1, 0.05 / 4)
    assert reply(1, 0.5).startswith("Not yet: all four share a bin")


def test_a_thousand_calibrated_models():
    """The right answer is what the library's test does: 600 models, so it takes a second."""
    p_values = [
        confidence.calibration_test(
            *simulate_calibrated(60, seed), n_simulations=39, seed=seed
        ).p_value
        for seed in range(600)
    ]
    rejected = 1000 * np.mean(np.array(p_values) <= 0.05)
    assert reply(2, rejected).startswith("Right: ")
    assert reply(2, 50).startswith("Right: ") and reply(2, np.int64(47)).startswith("Right: ")
    assert "how many of 1,000" in reply(2, 0.05)
    assert "leaves in peace" in reply(2, 950)
    assert "within the band" in reply(2, 1000)
    assert "could never find" in reply(2, 0)
    assert reply(2, 500).startswith("Not yet: a test at level alpha")


@pytest.mark.parametrize("answer", ["nothing", " Nothing ", "none", "same", "unchanged", "equal"])
def test_a_temperature_does_nothing_to_accuracy(answer):
    assert reply(3, answer).startswith("Right: ")


def test_a_temperature_by_well_known_mistakes():
    logits = torch.tensor([[4.0, 1.0], [0.2, 0.3]])
    assert torch.equal(logits.argmax(1), confidence.apply_temperature(logits, 2.0).argmax(1))
    assert "who wins?" in reply(3, "up")
    assert "does another class win?" in reply(3, "Down")
    assert reply(3, "half").startswith("Not yet: which class")


def test_ece_where_no_answer_is_right():
    """Any confidences whose mean is 0.619: in every bin the accuracy is 0."""
    top = torch.tensor([0.519, 0.719, 0.569, 0.669], dtype=torch.float64)
    library = confidence.ece(torch.stack([top, 1 - top], dim=1), [1, 1, 1, 1])
    assert library == pytest.approx(0.619)
    assert reply(4, library).startswith("Right") and reply(4, 0.619).startswith("Right")
    assert "1 - 0.619" in reply(4, 1 - 0.619)
    assert reply(4, 0).startswith("Not yet: in every bin")

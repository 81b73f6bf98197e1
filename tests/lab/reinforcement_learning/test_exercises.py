"""The exercises of notebook 11: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.errors import DeepDriftError
from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.reinforcement_learning.exercises import EXERCISES
from deepdrift.lab.reinforcement_learning.outcomes import OUTCOMES, Outcomes
from deepdrift.lab.reinforcement_learning.records import load_records


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_11_{number}"].reply(answer)


@pytest.mark.parametrize("answer", [0.5, "0.5 m", torch.tensor([0.5]), np.float64(0.5)])
def test_a_frozen_position(answer):
    assert reply(1, answer).startswith("Right: ")


def test_a_frozen_position_by_well_known_mistakes():
    assert "that is the velocity" in reply(1, 0)
    assert "how large is it" in reply(1, -0.5)
    assert "by 0.5, once" in reply(1, 1.0)
    assert reply(1, 7).startswith("Not yet: the prediction is the last reading")


def test_the_fewest_episodes_are_the_librarys():
    """99 give a line at 1 %, 98 are refused."""
    assert conformal_threshold(torch.arange(99).double(), 0.01) == 98
    with pytest.raises(DeepDriftError):
        conformal_threshold(torch.arange(98).double(), 0.01)
    assert reply(2, 99).startswith("Right: ") and reply(2, "99 episodes").startswith("Right: ")
    assert "one fewer will do" in reply(2, 100)
    assert "that is for 5 %" in reply(2, 19)
    assert reply(2, 98).startswith("Not yet: if n episodes")


def test_too_late_is_what_the_table_says():
    kinds = Outcomes.of(lost=[183], lengths=[184], alarms=[180], onset=100).kinds
    assert reply(3, OUTCOMES[kinds[0]]).startswith("Right: ")
    assert reply(3, " Too late ").startswith("Right: ")
    assert "4 steps are left" in reply(3, "caught in time")
    assert "there was an alarm" in reply(3, "missed")
    assert "began before the alarm" in reply(3, "false alarm")


@pytest.mark.parametrize(
    "answer",
    [(24, 82), [24.0, 82.0], torch.tensor([24, 82]), np.array([[24, 82]]), (0.24, 0.82),
     ("24 %", "82 %"), "24 % and 82 %", "at most 24, at least 82"],
)  # fmt: skip
def test_the_bar_of_another_agent(answer):
    assert reply(4, answer).startswith("Right")


def test_the_bar_by_well_known_mistakes():
    assert "the other way round" in reply(4, (82, 24))
    assert "not ten percent" in reply(4, (24, 0.9 * 92))
    assert "not ten points" in reply(4, (48 - 10, 82))
    assert "of the failures ten points" in reply(4, (24, 46))
    assert "the shares of one key" in reply(4, (48, 92))
    for other in ((20, 80), 24, "yes", (24, 82, 1), float("nan")):
        assert reply(4, other).startswith("Not yet: at most half of the benign alarms")


def test_each_plant_misses_another_half_of_the_bar():
    met = {}
    for name, record in load_records().items():
        one, two = record.all_outcomes(), record.all_outcomes("two keys")
        fewer = 2 * two.benign_alarms.value <= one.benign_alarms.value
        met[name] = fewer, two.caught.value >= one.caught.value - 0.1
    assert met == {"cartpole": (True, False), "lunarlander": (False, True)}

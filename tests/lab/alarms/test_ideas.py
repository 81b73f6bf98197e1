"""The drawing of the state machine says what the state machine does."""

from deepdrift.alarms.config import ObserverConfig
from deepdrift.lab.alarms import ideas
from deepdrift.lab.bench import figures

SIX = (0, 2, 3.5, 2.9, 1.6, 1.4)


def test_states_stand_below_their_values():
    with figures.figure() as fig:
        ax = fig.subplots()
        states = ideas.draw_walk(ax, SIX, ObserverConfig())
    assert states == ["NORMAL", "NORMAL", "ALERT", "ALERT", "ALERT", "NORMAL"]
    words = [text.get_text() for text in ax.texts]
    assert words[:3] == ["theta_high = 3", "theta_low = 1.5", "in between:\nas before"]
    assert words[4::2] == states and words[3::2] == ["0", "2", "3.5", "2.9", "1.6", "1.4"]


def test_the_ways_name_their_thresholds():
    with figures.figure() as fig:
        ax = fig.subplots()
        ideas.draw_states(ax, ObserverConfig(theta_high=4, theta_low=0.5))
    words = " ".join(text.get_text() for text in ax.texts)
    assert "up at 4\n" in words and "down at 0.5\n" in words
    ideas.state_machine(SIX, ObserverConfig(), "An alert begins at one line, ends at another")

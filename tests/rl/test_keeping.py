"""A calibrated monitor of an agent that was saved and loaded judges as before."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deepdrift.errors import CalibrationError, NotFittedError, ReferenceFileError
from deepdrift.rl import DeepDriftRL, Episode

WIDTH = 4


def policy(seed=0, width=WIDTH, hidden=8):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2))


def episodes(n=90, steps=12, width=WIDTH, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(n):
        observations = torch.randn(steps + 1, width, generator=g).cumsum(0)
        actions = torch.randint(2, (steps,), generator=g)
        made.append(Episode(observations, actions, torch.ones(steps), True, False))
    return made


SETTINGS = [
    {},
    {"score": "distance"},
    {"score": "velocity", "weight": 0.3},
    {"of": "observation"},
    {"of": "observation", "score": "distance"},
    {"layers": ["0", "1"]},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_saved_and_loaded_judges_as_before(setting, tmp_path):
    monitor = DeepDriftRL(policy(), **setting).calibrate(episodes())
    monitor.save(tmp_path / "m")
    other = DeepDriftRL(policy(), **setting)
    other.reset()
    assert other.load(tmp_path / "m") is other
    assert str(other.calibration) == str(monitor.calibration)
    assert other.threshold == monitor.threshold
    assert torch.equal(other.calibration.maxima, monitor.calibration.maxima)
    (new,) = episodes(1, seed=5)
    assert torch.equal(other.scores(new), monitor.scores(new))
    for row, action in zip(new.observations, [*new.actions, None], strict=True):
        assert str(other.step(row, action)) == str(monitor.step(row, action))
    assert other.layers == monitor.layers


def test_it_begins_an_episode(tmp_path):
    monitor = DeepDriftRL(policy()).calibrate(episodes())
    monitor.save(tmp_path / "m")
    for _ in range(3):
        diagnosis = monitor.step([0.0] * WIDTH)
    assert diagnosis.step == 2
    assert monitor.load(tmp_path / "m").step([0.0] * WIDTH).step == 0


def test_what_was_not_learned_cannot_be_saved(tmp_path):
    for monitor in (DeepDriftRL(policy()), DeepDriftRL(policy(), threshold=0.15)):
        with pytest.raises(NotFittedError, match=r"call calibrate\(episodes\) before save"):
            monitor.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_what_does_not_belong(tmp_path):
    path = tmp_path / "m"
    DeepDriftRL(policy()).calibrate(episodes()).save(path)
    others = [
        (DeepDriftRL(policy(), score="distance"), "score 'innovation', here 'distance'"),
        (DeepDriftRL(policy(), of="observation"), "of 'hidden', here 'observation'"),
        (DeepDriftRL(policy(), weight=0.5), "weight 1.0, here 0.5"),
        (DeepDriftRL(policy(), layers=["0"]), "layers and widths"),
        (DeepDriftRL(policy(hidden=9)), "layers and widths"),
        (DeepDriftRL(policy(width=6)), "observations of 4 numbers"),
    ]
    for other, words in others:
        with pytest.raises(ReferenceFileError, match=f"does not belong to this monitor: {words}"):
            other.load(path)
        with pytest.raises((NotFittedError, CalibrationError)):
            _ = other.threshold
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    kept = DeepDriftRL(policy()).calibrate(episodes(seed=9))
    before = kept.threshold
    for bad in (tmp_path / "damaged", tmp_path / "none"):
        with pytest.raises(ReferenceFileError):
            kept.load(bad)
    assert kept.threshold == before


def test_other_weights_are_a_warning(tmp_path):
    network = policy()
    DeepDriftRL(network).calibrate(episodes()).save(tmp_path / "m")
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[0].weight.mul_(1.5)
    with pytest.warns(UserWarning, match="other weights of this model, in '0'") as caught:
        DeepDriftRL(other).load(tmp_path / "m")
    assert caught[0].filename == __file__

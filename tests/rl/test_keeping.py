"""A calibrated monitor of an agent that was saved and loaded judges as before."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium
import pytest
import torch
from torch import nn

from deepdrift.errors import CalibrationError, NotFittedError, ReferenceFileError, StateError
from deepdrift.rl import DeepDriftRL, Episode
from deepdrift.rl.spaces import ActionCode

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 4


def policy(seed=0, width=WIDTH, hidden=8, kind=nn.Tanh, actions=2):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(width, hidden), kind(), nn.Linear(hidden, 8), kind()]
        return nn.Sequential(*layers, nn.Linear(8, actions))


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
    {"score": "acceleration"},
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
    found, wanted = vars(other.calibration), vars(monitor.calibration)
    assert torch.equal(found["maxima"], wanted["maxima"])
    assert {k: v for k, v in found.items() if k != "maxima"} == {
        k: v for k, v in wanted.items() if k != "maxima"
    }
    (new,) = episodes(1, seed=5)
    assert other.scores(new).tolist()[1:] == monitor.scores(new).tolist()[1:]
    for row, action in zip(new.observations, [*new.actions, None], strict=True):
        one, two = vars(monitor.step(row, action)), vars(other.step(row, action))
        assert repr(one) == repr(two)
    assert other.layers == monitor.layers
    other.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


def test_in_a_new_process(tmp_path):
    torch.save(policy().state_dict(), tmp_path / "weights")
    (new,) = episodes(1, seed=5)
    torch.save(new.observations, tmp_path / "rows")
    monitor = DeepDriftRL(policy()).calibrate(episodes())
    monitor.save(tmp_path / "m")
    script = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}]
        import torch
        from torch import nn
        from deepdrift.rl import DeepDriftRL
        tanh = nn.Tanh
        layers = [nn.Linear(4, 8), tanh(), nn.Linear(8, 8), tanh(), nn.Linear(8, 2)]
        policy = nn.Sequential(*layers)
        policy.load_state_dict(torch.load({str(tmp_path / "weights")!r}))
        monitor = DeepDriftRL(policy).load({str(tmp_path / "m")!r})
        for row in torch.load({str(tmp_path / "rows")!r}):
            print(vars(monitor.step(row)))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert run.returncode == 0, run.stderr
    told = [str(vars(monitor.step(row))) for row in new.observations]
    assert run.stdout.splitlines() == told


def test_a_function_knows_what_the_file_knows(tmp_path):
    DeepDriftRL(policy(), of="observation").calibrate(episodes()).save(tmp_path / "m")
    monitor = DeepDriftRL(lambda obs: 0, of="observation").load(tmp_path / "m")
    with pytest.raises(StateError, match=r"action: expected 0\.\.1, got 2"):
        monitor.step([0.0] * WIDTH, 2)
    with pytest.raises(StateError, match="obs: expected shape"):
        monitor.step([0.0] * (WIDTH + 1), 0)


def test_a_function_that_has_seen_other_observations(tmp_path):
    DeepDriftRL(policy(), of="observation").calibrate(episodes()).save(tmp_path / "m")
    monitor = DeepDriftRL(lambda obs: 0, of="observation").calibrate(episodes(width=6))
    with pytest.raises(ReferenceFileError, match="observations of 4 numbers, here 6"):
        monitor.load(tmp_path / "m")


def test_the_threshold_of_the_file_replaces_a_fixed_one(tmp_path):
    monitor = DeepDriftRL(policy(), score="velocity").calibrate(episodes())
    monitor.save(tmp_path / "m")
    fixed = DeepDriftRL(policy(), threshold=0.15).load(tmp_path / "m")
    assert fixed.threshold == monitor.threshold != 0.15


def test_another_environment_is_refused_after_a_load(tmp_path):
    from deepdrift.rl import MonitorWrapper

    DeepDriftRL(policy()).calibrate(episodes()).save(tmp_path / "m")
    monitor = DeepDriftRL(policy()).load(tmp_path / "m")
    MonitorWrapper(gymnasium.make("CartPole-v1"), monitor)
    with pytest.raises(StateError, match="env: expected observations of width 4"):
        MonitorWrapper(gymnasium.make("MountainCar-v0"), monitor)


def test_copies_and_pickles():
    monitor = DeepDriftRL(policy()).calibrate(episodes())
    (new,) = episodes(1, seed=5)
    monitor.step(new.observations[0])
    for other in (copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))):
        assert torch.equal(other.scores(new), monitor.scores(new))
        twin = copy.deepcopy(monitor)
        assert repr(other.step(new.observations[1])) == repr(twin.step(new.observations[1]))
        other.calibrate(episodes(seed=9))
        assert other.threshold != monitor.threshold


def test_a_file_that_cannot_be_replaced_stays(monkeypatch, tmp_path):
    (tmp_path / "m").write_bytes(b"old")

    def fails(*_):
        raise OSError("no room")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(ReferenceFileError, match="cannot write"):
        DeepDriftRL(policy()).calibrate(episodes()).save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m").read_bytes() == b"old"


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
        (DeepDriftRL(policy(), layers=["0"]), r"layers 1 \(Tanh, 8\), 3 .* here 0 \(Linear, 8\)"),
        (DeepDriftRL(policy(), layers=["3", "1"]), r"layers 1 .*, here 3 \(Tanh, 8\), 1 \(Tanh"),
        (DeepDriftRL(policy(hidden=9)), r"layers .*, here 1 \(Tanh, 9\)"),
        (DeepDriftRL(policy(kind=nn.ReLU)), r"layers .*, here 1 \(ReLU, 8\)"),
        (DeepDriftRL(policy(width=6)), "observations of 4 numbers"),
    ]
    spaces = DeepDriftRL(policy())
    spaces.watch.code = ActionCode(True, 3)  # as a policy of stable-baselines3 knows its own
    others.append((spaces, r"ActionCode\(discrete=True, width=2\), here .*width=3"))
    for other, words in others:
        before = other.layers
        with pytest.raises(ReferenceFileError, match=f"does not belong to this monitor: {words}"):
            other.load(path)
        assert other.layers == before
        with pytest.raises((NotFittedError, CalibrationError)):
            _ = other.threshold
    for of in ("hidden", "observation"):
        DeepDriftRL(policy(), of=of).calibrate(episodes()).save(tmp_path / of)
        for network, words in (
            (policy(actions=3), "'4' have another number of weights"),
            (nn.Sequential(*policy(), nn.Linear(2, 2)), "'5' have weights in one of the two only"),
        ):
            setting = {"of": of} | ({"layers": ["1", "3"]} if of == "hidden" else {})
            with pytest.raises(ReferenceFileError, match=f"path: it does not belong to .*{words}"):
                DeepDriftRL(network, **setting).load(tmp_path / of)
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


@pytest.mark.parametrize("path", [None, 3, ["m"]])
def test_what_is_no_path(path):
    monitor = DeepDriftRL(policy()).calibrate(episodes())
    for call in (monitor.save, monitor.load):
        with pytest.raises(ReferenceFileError, match="path: expected the name of a file, got"):
            call(path)

"""Onsets and first warnings of made runs, and the way to a file and back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepdrift.lab.diffusion_memorisation.measures import QUANTITIES, Rival
from deepdrift.lab.diffusion_memorisation.records import (
    Records,
    Switched,
    pack,
    read_records,
    unpack,
)
from deepdrift.lab.diffusion_memorisation.runs import (
    RecordError,
    Run,
    as_run,
    first_crossing,
    predict_onset,
)
from deepdrift.lab.diffusion_memorisation.trial import rings

STEPS = np.array([100, 200, 400, 800])


def made(n=32, seed=0, shares=(0.0, 0.05, 0.2, 0.95)):
    copied = np.array([[s, s / 2, min(1, s + 0.05), 0.0] for s in shares])
    twins = np.array([[t, 1, 1, high, 1] for t, high in zip(
        (0, 3, 80, 900), (math.inf, 900.0, 70.0, 40.0), strict=True)])  # fmt: skip
    auroc = {q: np.full((4, 2, 3, 3), 0.5) for q in QUANTITIES}
    auroc["norm"][:, 1, 1] = [(0.5, 0.4, 0.6), (0.3, 0.2, 0.45), (0.2, 0.1, 0.3), (0.1, 0.05, 0.2)]
    loss = np.array([[0.3, 0.3], [0.2, 0.2], [0.1, 0.207], [0.05, 0.5]])
    return Run(
        n, seed, STEPS, copied, twins, np.arange(4.0), np.ones((4, 4)), np.ones((4, 4)),
        np.repeat(loss[:, :, None], 2, axis=2), np.zeros((4, 12, 16, 16), np.uint8),
        np.ones((4, 12, 16, 16), np.uint8), np.full((4, 12), 0.2), auroc,
    )  # fmt: skip


def records():
    runs = {(32, 0): made(), (64, 0): made(64, shares=(0, 0, 0.05, 0.2))}
    switched = Switched(np.array([0]), np.array([1, 2]), np.ones((1, 2, 2)), np.ones((1, 2, 5, 2)))
    return Records(runs, {32: (STEPS, np.array([0.1, 0.2, 0.3, 0.4]))}, switched,
                   {(4000, 1): np.arange(10.0).reshape(2, 5)})  # fmt: skip


def test_onset_lies_between_checkpoints():
    run = made()
    assert run.onset() == pytest.approx(200 * 2 ** (0.05 / 0.15))
    assert run.onset(0.95) == pytest.approx(800) and run.onset(0.96) == math.inf
    assert first_crossing(STEPS, np.array([0.5, 0, 0, 0]), 0.1) == 100


def test_who_warns_when():
    run = made()
    assert run.collision_alarm() == 800  # 40 is the first upper end of at most 64
    assert made(64).collision_alarm() == 400
    assert run.divergence() == 800  # .207 is less than five percent above .2
    assert run.divergence(worse=1.03) == 400
    larger = Rival("norm", 1, 1, larger_for_members=True)
    assert run.first(rings(larger, run)) == 200
    assert run.first(rings(Rival("norm", 1, 1, False), run)) == math.inf
    assert run.first(rings(Rival("norm", 0, 0, True), run)) == math.inf


def test_onset_in_proportion():
    assert predict_onset({32: 320.0, 64: 1280.0}, 128) == pytest.approx(128 * 15)
    with pytest.raises(RecordError, match="at least one"):
        predict_onset({}, 128)


def test_to_a_file_and_back(tmp_path):
    np.savez_compressed(tmp_path / "r.npz", **pack(records()))
    again = read_records(tmp_path / "r.npz")
    assert again.runs.keys() == {(32, 0), (64, 0)}
    for key, run in records().runs.items():
        other = again.runs[key]
        assert (other.n_images, other.seed, other.name) == (run.n_images, run.seed, run.name)
        for name in (
            "steps",
            "copied",
            "twins",
            "away",
            "mean_loss",
            "pictures",
            "nearest",
            "ratios",
        ):
            np.testing.assert_array_equal(getattr(other, name), getattr(run, name))
        for q in QUANTITIES:
            np.testing.assert_array_equal(other.auroc[q], run.auroc[q])
    np.testing.assert_array_equal(again.agreements[32][1], [0.1, 0.2, 0.3, 0.4])
    assert again.switched.random.shape == (1, 2, 5, 2)
    assert again.draws.keys() == {(4000, 1)} and again.draws[4000, 1][1, 0] == 5
    assert len(again.of(64)) == 1 and again.run(64).onset() > again.run(32).onset()


def test_a_run_of_what_was_measured():
    """Checkpoints in any order; the nearest pictures are looked up among the training images."""
    train = np.stack([np.full((1, 16, 16), v) for v in (-1.0, 0.2, 1.0)])

    def checkpoint(step):
        auroc = {f"auroc/{q}": np.full((2, 3, 3), step / 1000) for q in QUANTITIES}
        return auroc | {
            "copied": np.array([step / 1000, 0, 1, 0]), "twins": np.ones(5),
            "away": np.array([step / 10]), "updates": np.ones(4), "scores": np.zeros(4),
            "mean_loss": np.ones((2, 2)), "images": np.full((20, 1, 16, 16), 0.2),
            "nearest": np.array([2, 1] * 10), "ratio": np.linspace(0, 1, 20),
        }  # fmt: skip

    found = {step: checkpoint(step) for step in (200, 100)}
    run = as_run(3, 7, found, train)
    assert (run.n_images, run.seed, run.steps.tolist()) == (3, 7, [100, 200])
    assert run.copied[:, 0].tolist() == pytest.approx([0.1, 0.2]) and run.away.tolist() == [10, 20]
    assert run.pictures.shape == run.nearest.shape == (2, 12, 16, 16)
    assert (run.pictures == 153).all()
    assert run.nearest[1, :2, 0, 0].tolist() == [255, 153]
    assert run.ratios[0].tolist() == pytest.approx((np.arange(12) / 19).tolist())
    assert run.auroc["norm"][:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2], abs=1e-3)
    assert not as_run(3, 7, found, train, pictures=False).pictures.size


def test_what_is_not_recorded():
    known = unpack(pack(records()))
    with pytest.raises(RecordError, match=r"32 \(0\), 64 \(0\), got 32 \(7\)"):
        known.run(32, 7)
    with pytest.raises(RecordError, match="one of"):
        known.run(32).place(150)
    assert known.run(32).place(400) == 2


def test_switched_off_by_means():
    """Two runs, two counts, three random draws."""
    guilty = np.array([[[0.9, 3.0], [0.1, 5.0]], [[0.7, 3.0], [0.3, 5.0]]])
    random = np.stack([guilty] * 3, axis=2)
    random[:, :, 0, 0] += 0.3
    table = Switched(np.array([0, 1]), np.array([1, 8]), guilty, random).table()
    assert list(table) == ["1 silent", "8 silent"]
    assert table["8 silent"] == pytest.approx(
        {"copies, guilty": 0.2, "copies, random": 0.3, "distance, guilty": 5, "distance, random": 5}
    )

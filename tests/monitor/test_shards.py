"""One reference from many: two processes of one run, and files of independent jobs.

Run as a script, this file is one of the two processes: rank, folder.
"""

import os
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import nn

import deepdrift
from deepdrift import (
    CalibrationError,
    DeepDriftError,
    DeepDriftMonitor,
    NotFittedError,
    ReferenceFileError,
    merge,
)
from deepdrift.monitor.reference import CALIBRATION, FIT, OF_THE_FIRST, Reference

LAYERS = ["1", "3"]
HANGS = 240  # seconds, for what would never end


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))


def of_several_classes():
    """A network that puts its inputs in one class as often as in another."""
    model = network()
    with torch.no_grad():
        model[-1].bias -= model(torch.cat([x for x, _ in normal(0)])).median(dim=0).values
    return model


def watch(model=None, **options):
    return DeepDriftMonitor(model or network(), LAYERS, output_layer="4", **options)


def draw(n, seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    return torch.randn(n, 6, generator=g) + 2 * labels[:, None], labels


def shard(i, n=100, labelled=True):
    """Four batches that no other number shares, around a mean of their own."""
    x, y = draw(n, 100 + i)
    x = x + 0.3 * i
    parts = zip(x.split(n // 4), y.split(n // 4), strict=True)
    return [part if labelled else part[:1] for part in parts]


def normal(i):
    return shard(50 + i, 130)  # 32 rows a batch: a rank ends within a piece of the stream


def far_from(a, b):
    """Largest difference of two sets of tensors, each relative to its own size."""
    assert a.keys() == b.keys()
    size = {k: v.double().abs().max().clamp(min=1e-300) for k, v in b.items()}
    return max(float((a[k].double() - b[k].double()).abs().max() / size[k]) for k in a)


def message(call, *args):
    try:
        call(*args)
    except DeepDriftError as error:
        return f"{type(error).__name__}: {error}"
    return None


# ---- two processes ----


def one_of_two(rank, folder):
    """What one process finds, in a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=HANGS / 2),
    )
    found, x = {}, draw(40, 9)[0]
    with watch() as monitor:
        found["calibrate alone"] = message(monitor.calibrate, normal(rank))
        found["same shard"] = message(monitor.fit, shard(0))
        bad = [(torch.full((10, 6), torch.nan), torch.zeros(10).long())]
        found["one fails"] = message(monitor.fit, bad if rank == 1 else shard(rank))
        found["one is empty"] = message(monitor.fit, [] if rank == 0 else shard(rank))
        found["fitted by then"] = monitor._scorer.fitted
        monitor.fit(shard(rank))
        found["sums"] = monitor.reference.sums.to_tensors()
        found["output"] = monitor.reference.output.to_tensors()
        monitor.calibrate(normal(rank))
        found["threshold"] = monitor.calibration.threshold
        found["n"] = monitor.calibration.n_fit, monitor.calibration.n_samples
        found["p"], found["shards"] = monitor.p_values(x), monitor.reference.shards
        found["shape"] = monitor.reference.calibration
        found["calibration fails"] = message(monitor.calibrate, bad if rank == 1 else normal(rank))
        found["p afterwards"] = monitor.p_values(x)
        monitor.save(folder / f"normal-{rank}")
        if rank == 1:
            monitor.load(folder / "elsewhere")
        found["other fits"] = message(monitor.calibrate, normal(rank))
    with watch(of_several_classes()) as monitor:
        monitor.fit(shard(rank))
        found["per class"] = monitor.calibrate(normal(rank), per_class=True).class_thresholds
        found["p per class"] = monitor.p_values(x)
    torch.distributed.destroy_process_group()
    torch.save(found, folder / f"found-{rank}")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes found, and their folder."""
    folder = tmp_path_factory.mktemp("ranks")
    with watch() as monitor:
        monitor.fit(shard(7)).save(folder / "elsewhere")
    root = str(Path(deepdrift.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    runs = []
    for rank in (0, 1):
        with (folder / f"said-{rank}").open("w") as said:
            command = [sys.executable, __file__, str(rank), str(folder)]
            runs.append(subprocess.Popen(command, env=env, stdout=said, stderr=said))
    try:
        codes = [run.wait(HANGS) for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    assert codes == [0, 0], [(folder / f"said-{rank}").read_text() for rank in (0, 1)]
    return [torch.load(folder / f"found-{rank}") for rank in (0, 1)], folder


needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="PyTorch without gloo",
)


@needs_gloo
def test_two_processes_learn_the_same_bit_for_bit(two):
    (one, other), _ = two
    assert one["n"] == other["n"]
    assert one["threshold"] == other["threshold"]
    assert one["shards"] == other["shards"] and len(one["shards"]) == 3
    assert torch.equal(one["p"], other["p"])
    for key in ("sums", "output", "shape"):
        assert far_from(one[key], other[key]) == 0


@needs_gloo
def test_two_processes_learn_what_one_does(two):
    (one, _), _ = two
    with watch() as monitor:
        monitor.fit(shard(0) + shard(1))
        reference = monitor.reference
        assert far_from(one["sums"], reference.sums.to_tensors()) < 1e-12
        assert far_from(one["output"], reference.output.to_tensors()) < 1e-12
        calibration = monitor.calibrate(normal(0) + normal(1))
        assert one["n"] == (calibration.n_fit, calibration.n_samples) == (200, 130)
        assert one["threshold"] == pytest.approx(calibration.threshold, rel=1e-9)
        assert torch.allclose(one["p"], monitor.p_values(draw(40, 9)[0]), atol=1.01 / 131)
        assert far_from(one["shape"], monitor.reference.calibration) < 1e-9


@needs_gloo
def test_two_processes_calibrate_within_classes(two):
    (one, other), _ = two
    assert one["per class"] == other["per class"]
    assert torch.equal(one["p per class"], other["p per class"])
    with watch(of_several_classes()) as monitor:
        monitor.fit(shard(0) + shard(1))
        thresholds = monitor.calibrate(normal(0) + normal(1), per_class=True).class_thresholds
        assert one["per class"] == pytest.approx(thresholds, rel=1e-9)
        assert len(thresholds) > 1


@needs_gloo
def test_calibrate_alone_is_refused_with_its_remedy(two):
    for found in two[0]:
        assert "CalibrationError: calibrate" in found["calibrate alone"]
        assert "call fit(loader) first, each on its shard" in found["calibrate alone"]


@needs_gloo
def test_the_same_shard_in_both_processes_is_refused_in_both(two):
    for found in two[0]:
        assert found["same shard"].startswith("ReferenceFileError: rank 1: its data are in already")


@needs_gloo
def test_where_one_process_fails_none_waits_and_nothing_is_learned(two):
    one, other = two[0]
    assert "rank 1 failed, so nothing was learned: CalibrationError: " in one["one fails"]
    assert "10 of 10 normal samples hold NaN" in one["one fails"]
    assert "rank 1" not in other["one fails"] and "hold NaN" in other["one fails"]
    assert one["one is empty"].startswith("CalibrationError: loader: it gave no batch")
    assert "rank 0 failed" in other["one is empty"]
    assert one["calibration fails"].startswith("CalibrationError: rank 1 failed")
    for found in (one, other):
        assert not found["fitted by then"]
        assert torch.equal(found["p"], found["p afterwards"])


@needs_gloo
def test_scores_of_different_fits_are_not_pooled(two):
    for found in two[0]:
        assert "hold different fits" in found["other fits"]
        assert "call fit(loader) in all of them" in found["other fits"]


@needs_gloo
def test_what_both_processes_saved_is_one_and_the_same(two):
    _, folder = two
    with pytest.raises(ReferenceFileError, match="normal-1: its data are in already"):
        merge([folder / "normal-0", folder / "normal-1"])


# ---- independent jobs ----


@pytest.fixture
def jobs(tmp_path):
    """Files of eight jobs, each of which fitted its shard."""
    paths = []
    for i in range(8):
        paths.append(tmp_path / f"job{i}" / "fit.safetensors")  # all of one name, as jobs do
        paths[-1].parent.mkdir()
        with watch() as monitor:
            monitor.fit(shard(i)).save(paths[-1])
    return paths


def test_eight_jobs_are_one_fit_in_any_order(jobs, tmp_path):
    with watch() as monitor:
        monitor.fit([batch for i in range(8) for batch in shard(i)])
        whole = monitor.reference
        monitor.calibrate(normal(0))
        expected = monitor.score(draw(40, 9)[0])
    merged = merge(jobs)
    assert merged.sums.n == 800
    assert merged.calibration == {}
    assert len(merged.shards) == 8 and all(s.startswith(FIT) for s in merged.shards)
    assert far_from(merged.sums.to_tensors(), whole.sums.to_tensors()) < 1e-12
    for paths in (jobs[::-1], jobs[3:] + jobs[:3]):
        other = merge(iter(paths))
        for part in ("distance", "innovation"):  # what does not depend on the origin of the sums
            a, b = (getattr(r.sums, part)() for r in (merged, other))
            new = {k: v.double() for k, v in watch().states(draw(40, 9)[0]).items()}
            torch.testing.assert_close(a.score(new), b.score(new), rtol=1e-12, atol=1e-12)
        assert far_from(other.output.to_tensors(), merged.output.to_tensors()) < 1e-12
    merged.save(tmp_path / "all")
    with watch() as monitor:
        monitor.load(tmp_path / "all").calibrate(normal(0))
        torch.testing.assert_close(monitor.score(draw(40, 9)[0]), expected, rtol=1e-9, atol=1e-9)


def test_references_in_memory_and_in_files_mix(jobs):
    parts = [Reference.load(path)[0] if i % 2 else str(path) for i, path in enumerate(jobs)]
    assert merge(parts).shards == merge(jobs).shards
    assert merge(jobs[:1]).sums.n == 100


@pytest.mark.parametrize("places", [(0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 2, 1)])
def test_a_shard_that_is_delivered_twice_is_refused_by_name(jobs, places):
    twice = max(set(places), key=places.count)
    with pytest.raises(ReferenceFileError, match=rf"job{twice}.*its data are in already.*leave it"):
        merge([jobs[i] for i in places])


def test_a_shard_that_was_fitted_again_is_refused_by_name(jobs, tmp_path):
    with watch() as monitor:
        monitor.fit(shard(2)).save(tmp_path / "again")
        monitor.calibrate(normal(0))  # with scores of its own, it is still the same data
        calibrated = monitor.reference
    for paths in (jobs[:3], jobs[2:3]):
        with pytest.raises(ReferenceFileError, match="again: its data are in already"):
            merge([*paths, tmp_path / "again"])
    with pytest.raises(ReferenceFileError, match=r"references\[3\]: its data are in already"):
        merge([*jobs[:3], calibrated])
    for parts in ([jobs[2], calibrated, jobs[1]], [jobs[2], jobs[1], calibrated]):
        with pytest.raises(ReferenceFileError, match="its data are in already"):
            merge(parts)
    merge(jobs[:2]).save(tmp_path / "two")  # a merged file knows what went in
    with pytest.raises(ReferenceFileError, match="job1.*its data are in already"):
        merge([tmp_path / "two", jobs[2], jobs[1]])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_shards_without_labels_are_named_once(jobs, tmp_path, place):
    with watch() as monitor:
        monitor.fit(shard(9, labelled=False)).save(tmp_path / "bare")
    paths = jobs[:3]
    paths.insert(place, tmp_path / "bare")
    with pytest.warns(UserWarning) as caught:
        merged = merge(paths)
    (said,) = [str(w.message) for w in caught]
    assert f"no labels in {tmp_path / 'bare'}, so all data form one class" in said
    assert caught[0].filename == __file__
    assert merged.sums.n == 400 and merged.sums.n_classes == 1
    with warnings.catch_warnings():  # nothing is lost where there was nothing
        warnings.simplefilter("error")
        merge([tmp_path / "bare"])


def test_merging_two_says_which_has_no_labels(jobs):
    with watch() as monitor:
        bare = monitor.fit(shard(9, labelled=False)).reference
    labelled = Reference.load(jobs[0])[0]
    with pytest.warns(UserWarning, match="no labels in job 9, so") as caught:
        labelled.merge(bare, "job 9")
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="no labels in this reference, so"):
        bare.merge(labelled, "job 0")


def test_references_of_other_weights_are_refused_by_layer(jobs, tmp_path):
    with watch(network(seed=1)) as monitor:
        monitor.fit(shard(9)).save(tmp_path / "other")
    with pytest.raises(ReferenceFileError, match=r"other: was made with other weights.* in 0, 2"):
        merge([*jobs[:2], tmp_path / "other"])


def test_references_of_another_setting_are_refused_by_setting(jobs, tmp_path):
    with DeepDriftMonitor(network(), LAYERS, output_layer=None) as monitor:
        monitor.fit(shard(9)).save(tmp_path / "other")
    with pytest.raises(ReferenceFileError, match="other: belongs to another monitor: output_layer"):
        merge([jobs[0], tmp_path / "other"])


def test_what_is_no_list_of_references_is_refused(jobs):
    with pytest.raises(CalibrationError, match="expected at least one, got none"):
        merge([])
    for one in (str(jobs[0]), jobs[0], Reference.load(jobs[0])[0]):
        with pytest.raises(CalibrationError, match="references: expected several.* give a list"):
            merge(one)
    with pytest.raises(ReferenceFileError, match="no file"):
        merge([jobs[0], "nowhere"])


# ---- one fit, calibrated by many ----


@pytest.fixture
def workers(jobs, tmp_path):
    """The merged fit, and files of three workers that calibrated it."""
    fit = tmp_path / "fit"
    merge(jobs).save(fit)
    paths = [tmp_path / f"worker{i}" for i in range(3)]
    for i, path in enumerate(paths):
        with watch() as monitor:
            monitor.load(fit).calibrate(normal(i))
            monitor.save(path)
    return fit, paths


def test_calibration_scores_of_one_fit_are_pooled(workers, tmp_path):
    fit, paths = workers
    merged = merge([fit, *paths])
    assert [s.split(":")[0] + ":" for s in merged.shards] == [FIT] * 8 + [CALIBRATION] * 3
    assert merged.sums.n == 800  # the fit counts once
    merged.save(tmp_path / "all")
    with watch() as monitor:
        monitor.load(tmp_path / "all")
        assert monitor.calibration.n_samples == 3 * 65
        assert monitor.reference.shards == merged.shards
    parts = [Reference.load(path)[0] for path in paths]
    for key, values in merge(paths[::-1]).calibration.items():
        if not key.startswith(OF_THE_FIRST):
            assert torch.equal(values, torch.cat([p.calibration[key] for p in parts[::-1]]))


def test_calibration_scores_that_are_delivered_twice_are_refused(workers, tmp_path):
    fit, paths = workers
    with pytest.raises(ReferenceFileError, match="worker0: its data are in already"):
        merge([*paths, paths[0]])
    with watch() as monitor:
        monitor.load(fit).calibrate(normal(1))
        monitor.save(tmp_path / "again")
    with pytest.raises(ReferenceFileError, match="again: its data are in already"):
        merge([*paths, tmp_path / "again"])
    merge(paths[:2]).save(tmp_path / "two")
    with pytest.raises(ReferenceFileError, match="worker1: its data are in already"):
        merge([tmp_path / "two", paths[2], paths[1]])


def test_a_calibrated_reference_keeps_its_shards_when_it_learns_again(workers):
    _, paths = workers
    with watch() as monitor:
        monitor.load(paths[0])
        before = monitor.reference.shards
        monitor.calibrate(normal(1))
        assert monitor.reference.shards == Reference.load(paths[1])[0].shards
        monitor.calibrate(normal(0))
        assert monitor.reference.shards == before
        monitor.alpha = 0.1
        assert monitor.reference.shards == before


def test_the_scores_of_a_velocity_have_no_fit_and_are_pooled():
    parts = []
    for i in range(2):
        with DeepDriftMonitor(
            network(), LAYERS, score="velocity", across_widths="norm", output_layer=None
        ) as monitor:
            monitor.fit(shard(i))
            parts.append(monitor.reference)
            monitor.calibrate(normal(i))
            parts.append(monitor.reference)
    merged = merge(parts)
    assert len(merged.calibration["velocity"]) == 260
    with pytest.raises(ReferenceFileError, match=r"references\[1\]: its data are in already"):
        merge([merged, parts[1]])


def test_a_fit_without_calibration_is_saved_and_then_needs_it(jobs):
    with watch() as monitor:
        monitor.load(jobs[0])
        assert monitor.calibration is None
        for call in (monitor.score, monitor.p_values, monitor.step):
            with pytest.raises(NotFittedError, match=r"call calibrate\(loader\)"):
                call(draw(5, 9)[0])
        assert monitor.calibrate(normal(0)).n_fit == 100
        assert monitor.p_values(draw(5, 9)[0]).shape == (5,)


if __name__ == "__main__":
    one_of_two(int(sys.argv[1]), Path(sys.argv[2]))

"""References: saved and loaded bit by bit, merged exactly, damage noticed."""

import json
import struct

import pytest
import torch

from deepdrift import Innovation, LayerDistance
from deepdrift.errors import DeepDriftError, ReferenceFileError
from deepdrift.monitor.reference import OF_THE_FIRST, Fingerprint, Reference
from deepdrift.monitor.scorer import StateScorer
from deepdrift.scores.chain import ChainSums

PRINT = Fingerprint(("a", "b", "c"), (4, 4, 3), (20, 20, 15), "mean", None, "fused")


def states_of(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, 4, generator=g)
    return {
        "a": a,
        "b": a.flip(1) + 0.2 * torch.randn(n, 4, generator=g),
        "c": a[:, :3] + 0.2 * torch.randn(n, 3, generator=g),
    }


def reference(seed=0, calibration_seed=None, n_classes=3):
    states = states_of(120, seed)
    labels = torch.arange(120) % n_classes
    fitted = Reference(PRINT, ChainSums().add(states, labels))
    if calibration_seed is None:
        return fitted
    scorer = StateScorer(alpha=0.1)
    scorer.partial_fit(states, labels)
    scorer.calibrate(states_of(60, calibration_seed))
    return Reference(PRINT, scorer.sums, scorer.calibration_scores)


def same_scores(one, two):
    new = states_of(20, 77)
    return all(
        torch.equal(a.score(new), b.score(new))
        for a, b in (
            (one.sums.innovation(), two.sums.innovation()),
            (one.sums.distance(), two.sums.distance()),
        )
    )


def test_round_trip_through_a_file(tmp_path):
    mine = reference(calibration_seed=5)
    mine.save(tmp_path / "r.safetensors", extra={"alpha": 0.1})
    found, extra = Reference.load(tmp_path / "r.safetensors")
    assert found.fingerprint == mine.fingerprint
    assert extra == {"alpha": 0.1}
    assert same_scores(found, mine)
    assert found.calibration.keys() == mine.calibration.keys()
    assert all(torch.equal(found.calibration[k], v) for k, v in mine.calibration.items())
    assert [p.name for p in tmp_path.iterdir()] == ["r.safetensors"]  # no temporary file is left
    states = states_of(30, 9)
    for part in (found, mine):  # what was loaded goes on learning
        part.sums.add(states, torch.arange(30) % 5)
    assert same_scores(found, mine)


@pytest.mark.parametrize("sums", [ChainSums(with_steps=False), ChainSums(), None])
def test_parts_that_were_not_fitted_stay_away(tmp_path, sums):
    sums = sums and sums.add(states_of(50))
    Reference(PRINT, sums).save(tmp_path / "r")
    found, _ = Reference.load(tmp_path / "r")
    if sums is None:
        assert found.sums is None
        return
    assert found.sums.with_steps == sums.with_steps
    assert found.sums.n_classes == 1


def test_a_file_is_at_least_two_and_a_half_times_smaller_than_the_former_format(tmp_path):
    """That held each covariance with the step before, with the step behind, and by itself."""
    g = torch.Generator().manual_seed(0)
    states = {k: torch.randn(200, 96, generator=g) for k in "abcd"}
    former = 8 * (3 * (2 * 96) ** 2 + 4 * 96**2)
    for labels in (None, torch.arange(200) % 10):
        sums = ChainSums().add(states, labels)
        Reference(
            Fingerprint(tuple("abcd"), (96,) * 4, (0,) * 4, "mean", None, "fused"), sums
        ).save(tmp_path / "r")
        assert 2.5 * (tmp_path / "r").stat().st_size < former


def test_one_flipped_bit_anywhere_is_noticed(tmp_path):
    path = tmp_path / "r.safetensors"
    reference(calibration_seed=5).save(path, extra={"alpha": 0.1, "method": "conformal"})
    good = path.read_bytes()
    start = 8 + struct.unpack("<Q", good[:8])[0]
    spread = (len(good) - start) // 40
    for position in [
        0,
        9,
        40,
        start // 2,
        start - 5,
        *range(start, len(good), spread),
        len(good) - 1,
    ]:
        bad = bytearray(good)
        bad[position] ^= 1
        path.write_bytes(bytes(bad))
        with pytest.raises(ReferenceFileError):
            Reference.load(path)
    path.write_bytes(good)
    assert same_scores(Reference.load(path)[0], reference(calibration_seed=5))


@pytest.mark.parametrize("content", [b"", b"not a file of ours", b"\x00" * 100])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(ReferenceFileError, match="damaged or no safetensors file"):
        Reference.load(path)


def test_truncated_missing_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "r"
    with pytest.raises(ReferenceFileError, match="no file"):
        Reference.load(path)
    reference().save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ReferenceFileError, match="damaged"):
        Reference.load(path)
    from safetensors.torch import save_file

    for name in (None, "deepdrift-reference-2", "deepdrift-reference-99"):
        metadata = name and {"deepdrift": json.dumps({"format": name})}
        save_file({"x": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(ReferenceFileError, match="expected 'deepdrift-reference-3'") as caught:
            Reference.load(path)
        assert ("calibrate again" in str(caught.value)) == (name is not None)


def test_shards_merge_into_the_fit_on_all():
    shards = [(states_of(50, s), torch.arange(50) % (2 + s)) for s in (1, 2, 3)]  # other classes
    parts = [Reference(PRINT, ChainSums().add(z, y)) for z, y in shards]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    z = {k: torch.cat([part[k] for part, _ in shards]) for k in "abc"}
    y = torch.cat([labels for _, labels in shards])
    new, innovation, distance = states_of(20, 8), Innovation().fit(z), LayerDistance().fit(z, y)
    assert torch.allclose(merged.sums.innovation().score(new), innovation.score(new), rtol=1e-5)
    assert torch.allclose(merged.sums.distance().score(new), distance.score(new), rtol=1e-5)
    assert merged.sums.n_classes == 5
    other_way = parts[2].merge(parts[0].merge(parts[1]))
    assert torch.allclose(other_way.sums.distance().score(new), distance.score(new), rtol=1e-5)


def test_merging_different_sums_drops_scores_that_belong_to_the_old_ones():
    merged = reference(1, calibration_seed=5).merge(reference(2, calibration_seed=6))
    assert merged.calibration == {}
    assert merged.sums.n == 240


def test_workers_that_share_a_fit_pool_their_calibration():
    left, right = reference(calibration_seed=5), reference(calibration_seed=6)
    merged = left.merge(right)
    assert same_scores(merged, left)  # not counted twice
    assert merged.calibration.keys() == left.calibration.keys()
    for key, values in merged.calibration.items():
        if key.startswith(OF_THE_FIRST):  # of use to diagnoses only: that of the first
            assert torch.equal(values, left.calibration[key])
            continue
        assert torch.equal(values, torch.cat([left.calibration[key], right.calibration[key]]))
    assert left.calibration["first.distance"].shape == (30, 3)  # the inputs are as before


def test_merging_with_an_uncalibrated_copy_keeps_the_calibration():
    left, bare = reference(calibration_seed=5), reference()
    for merged in (left.merge(bare), bare.merge(left)):
        assert merged.calibration.keys() == left.calibration.keys()
        assert all(torch.equal(v, left.calibration[k]) for k, v in merged.calibration.items())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", ("a", "b", "d")),
        ("widths", (4, 4, 4)),
        ("parameters", (20, 20, 16)),
        ("pooling", "cls"),
        ("n_channels", 2),
        ("score", "distance"),
    ],
)
def test_other_fingerprints_do_not_merge_and_the_difference_is_named(field, value):
    other = Fingerprint(**(vars(PRINT) | {field: value}))
    text = PRINT.difference(other)
    assert text == f"{field} (expected {vars(PRINT)[field]!r}, found {value!r})"
    with pytest.raises(ReferenceFileError, match=field):
        reference().merge(Reference(other))
    assert PRINT.difference(PRINT) == ""


def test_a_failed_save_keeps_the_old_file(tmp_path):
    path = tmp_path / "r"
    reference().save(path)
    before = path.read_bytes()
    with pytest.raises((TypeError, DeepDriftError)):
        reference(3).save(path, extra={"alpha": object()})  # no JSON
    assert path.read_bytes() == before

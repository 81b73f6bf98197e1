"""The clinic: bookkeeping of cases by hand, and the doctor on a real broken network."""

from __future__ import annotations

import pytest
import torch

from deepdrift.alarms.diagnosis import ADVICE, LayerEvidence
from deepdrift.alarms.findings import Evidence, find
from deepdrift.lab.diagnosis import clinic
from deepdrift.lab.diagnosis.clinic import Case, Clinic, confusion, side_of_name, tally
from deepdrift.lab.diagnosis.faults import FAULTS
from deepdrift.lab.diagnosis.judged_faults import JUDGED


def found(*drifts):
    return find(
        Evidence(tuple(LayerEvidence(f"layer {i}", z) for i, z in enumerate(drifts)), 0, ())
    )


CALM, BROKEN, UNSURE = found(0.0, 0.0, 0.0), found(0.0, 30.0, 5.0), found(0.0, 9.0, 5.0)


def test_every_name_has_a_side():
    sides = {name: side_of_name(name) for name in ADVICE}
    assert sides["invalid numbers"] == "inside" and sides["unusual inputs"] == "inputs"
    assert {name for name, side in sides.items() if side in ("none", "cannot say")} == {
        "stable", "not sure",
    }  # fmt: skip


def test_the_side_of_a_fault():
    cases = [Case(FAULTS[n], 1, 0, None, CALM, CALM) for n in ("blur", "quantised_network")]
    assert [c.side for c in cases] == ["inputs", "inside"]
    clean = Case(None, 0, 0, None, CALM, CALM)
    assert (clean.name, clean.expected, clean.side) == ("clean", "stable", "none")


def test_counts_by_hand():
    made = [("blur", BROKEN), ("blur", CALM), ("weight_noise", BROKEN), ("blur", UNSURE)]
    cases = [Case(FAULTS[n], 1, 0, None, d, CALM) for n, d in made]
    rows, columns, counts = confusion(cases)
    assert rows == ["blur", "weight_noise"] and columns == ["inside", "none", "cannot say"]
    assert counts.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert tally(cases, lambda c: c.found.side) == {
        "right": 1, "cannot say": 1, "missed": 1, "wrong": 1,
    }  # fmt: skip
    assert tally(cases, lambda c: c.probed.side)["missed"] == 4
    assert confusion(cases, lambda c: "x")[1] == ["x"]


@pytest.fixture(scope="module")
def ward():
    return Clinic("vit", n_fit=300, n_calibration=200)


def test_a_broken_block_is_found_and_the_network_left_as_it_was(ward):
    before = ward.clean()
    broken = ward.case("normalisation_gain", 4, layer="blocks.1")
    assert broken.layer == broken.found.place == broken.probed.place == "blocks.1"
    assert (broken.found.side, broken.probed.side, broken.found.name) == (
        "inside", "inside", "exploding",
    )  # fmt: skip
    again = ward.clean()
    assert again.drifts == before.drifts and before.found.side == before.probed.side == "none"


def test_a_change_of_the_images_is_found(ward):
    blurred = ward.case("blur", 4)
    assert blurred.found.side == blurred.probed.side == "inputs"
    assert "less fine detail" in [c.what for c in blurred.found.changes]
    assert ward.case("translation", 4).found.changes[0].what == "objects further left"


def test_every_block_is_broken_in_its_turn(ward):
    cases = ward.cases(["nan_weight"], strengths=(2, 3), n_seeds=2, everywhere=True)
    assert [c.layer for c in cases] == ["blocks.2", "blocks.3", "blocks.3", "blocks.4"]
    assert [c.found.place for c in cases] == [c.layer for c in cases]


def test_batches_never_hold_the_probe(ward):
    images = torch.arange(200.0).view(-1, 1)
    fake = clinic._Ward(None, None, images)
    probe = set(images[-clinic.BATCH :].flatten().tolist())
    for seed in range(7):
        batch = ward._batch(fake, seed).flatten().tolist()
        assert len(batch) == clinic.BATCH and not probe & set(batch)


def test_a_network_with_held_out_classes_sees_none_of_them():
    ward = Clinic("cnn-holdout-1", n_fit=300, n_calibration=200)
    case = ward.clean()
    assert case.found.side == "none"
    assert len(ward._wards[""].images) == 2400 and JUDGED

"""The clinic: bookkeeping of cases by hand, and the doctor on a real broken network."""

from __future__ import annotations

import pytest
import torch

from deepdrift.alarms.diagnosis import ADVICE, diagnose_drift
from deepdrift.lab.diagnosis import clinic
from deepdrift.lab.diagnosis.clinic import (
    DERIVATION,
    UNSEEN,
    Case,
    Clinic,
    confusion,
    five_rules,
    side,
)
from deepdrift.lab.diagnosis.faults import FAULTS


def test_the_faults_are_split_into_seen_and_unseen():
    assert len(DERIVATION) == 10 and len(UNSEEN) == 12
    assert sorted(DERIVATION + UNSEEN) == sorted(FAULTS)


def test_every_name_of_the_doctor_has_a_side():
    found = {name: side(name) for name in ADVICE}
    assert {name for name, at in found.items() if at == "none"} == {"stable", "not sure"}
    assert found["invalid numbers"] == "inside" and found["unusual inputs"] == "outside"


def test_the_side_of_a_fault():
    calm = diagnose_drift([0.0, 0.0])
    cases = [Case(FAULTS[n], 1, 0, None, calm, calm) for n in ("blur", "quantised_network")]
    assert [c.side for c in cases] == ["outside", "inside"]
    clean = Case(None, 0, 0, None, calm, calm)
    assert (clean.name, clean.expected, clean.side) == ("clean", "stable", "none")


def test_confusion_counts_by_hand():
    calm, broken = diagnose_drift([0.0, 0.0, 0.0]), diagnose_drift([0.0, 9.0, 5.0])
    made = [("blur", broken), ("blur", calm), ("weight_noise", broken), ("blur", broken)]
    rows, columns, counts = confusion([Case(FAULTS[n], 1, 0, None, d, calm) for n, d in made])
    assert rows == ["blur", "weight_noise"] and columns == ["broken layer", "stable"]
    assert counts.tolist() == [[2, 1], [1, 0]]


@pytest.mark.parametrize(
    ("drifts", "name"),
    [
        ([4, 100, 100, 2.3], "sensor failure"),  # the middle is not looked at
        ([1, 2, 4, 6], "geometric collapse"),
        ([1, 5, 1, 4], "spurious correlation"),
        ([1, 1, 1, 9], "not sure"),
        ([1, 1, 2, 2.9], "stable"),
        ([9, 9, 9], "not sure"),
    ],
)
def test_five_rules(drifts, name):
    assert five_rules(drifts) == name


def test_a_broken_block_is_found_and_the_network_left_as_it_was():
    ward = Clinic("vit", n_fit=300, n_calibration=200)
    before = ward.clean()
    broken = ward.case("normalisation_gain", 4, layer="blocks.1")
    assert broken.layer == broken.diagnosis.layer == broken.probed.layer == "blocks.1"
    assert broken.probed.name == "exploding"
    assert ward.clean().drifts == before.drifts and before.diagnosis.name == "stable"


def test_batches_never_hold_the_probe():
    ward = Clinic("vit", n_fit=300, n_calibration=200)
    images = torch.arange(200.0).view(-1, 1)
    fake = clinic._Ward(None, None, images, None)
    probe = set(images[-clinic.BATCH :].flatten().tolist())
    for seed in range(7):
        batch = ward._batch(fake, seed).flatten().tolist()
        assert len(batch) == clinic.BATCH and not probe & set(batch)

"""Tables of notebook 12: lookups of what was recorded, and the claim beside it."""

from __future__ import annotations

import json

import pytest

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.language_models import reports
from deepdrift.lab.language_models.dial import PLACES
from deepdrift.lab.language_models.world import KINDS


def estimate(value):
    return Estimate(value, value - 0.01, value + 0.01, 0, 0)


@pytest.fixture
def turned():
    """NLL falls by 0.1 at each place; unknown facts are 0.05 lower."""
    places = {}
    for k, place in enumerate(PLACES):
        by = {KINDS[1]: estimate(0.9 - 0.1 * k), KINDS[2]: estimate(0.85 - 0.1 * k)}
        places[place] = {
            "auroc": {s: by for s in ("nll", "first", "raw velocity")},
            "answers": {kind: {"above .9": 0.1 * k, "right": 1.0} for kind in KINDS},
        }
    places[0.0]["by popularity"] = {"nll": {"1": estimate(0.8), "8": estimate(0.95)}}
    places[1.0]["probe by block"] = [estimate(0.5), estimate(0.6)]
    return reports.Turned(places)


def test_along_goes_from_place_to_place(turned):
    values = [e.value for e in turned.along("nll")]
    assert values == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert turned.along("nll", "unknown fact")[-1].value == pytest.approx(0.45)
    assert turned.answers("above .9") == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_at_popularity_and_probes_are_looked_up(turned):
    assert turned.at(0.25)["first"].value == pytest.approx(0.8)
    assert [e.value for e in turned.by_popularity("nll").values()] == [0.8, 0.95]
    assert [e.value for e in turned.probes()] == [0.5, 0.6]


def test_verdicts_are_read_with_their_rule(monkeypatch, tmp_path):
    rows = {
        "probe": {"auroc": [[0.7, 0.6, 0.8]] * 2, "gain over nll": [[0.1, 0.05, 0.2]] * 2},
        "distance": {"auroc": [[0.7, 0.6, 0.8]] * 2, "gain over nll": [[-0.1, -0.2, 0.0]] * 2},
        "innovation": {
            "auroc": [[0.7, 0.6, 0.8], [0.5, 0.4, 0.6]],
            "gain over nll": [[0, 0, 0]] * 2,
        },
    }
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"verdicts": rows}))
    monkeypatch.setattr(reports, "shipped", lambda name: path)
    found = {v.name: (v.knows, v.worth_having) for v in reports.recorded_verdicts()}
    assert found == {
        "probe": (True, True),
        "distance": (True, False),
        "innovation": (False, False),
    }


def test_first_velocity_is_before_anything_is_said(made):
    assert reports.first_velocity(made, block=1).tolist() == made.velocity[:, 0, 1].tolist()


def test_beside_the_claim_has_a_column_for_each_data_set(made, turned):
    table = reports.beside_the_claim(made, [turned])
    assert list(table) == ["raw velocity", "first", "nll"]
    assert list(table["nll"]) == ["SmolLM2, capitals", "exact world 0"]
    assert table["nll"]["SmolLM2, capitals"] == made.layout().auroc(made.scores["nll"])
    assert reports.CLAIM == {"AUROC": 0.891, "tokens ahead": 7.2}

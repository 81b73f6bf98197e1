"""The study behind the default score: names, the rule, and that the default is what was chosen."""

import pytest

from deepdrift.lab import data
from deepdrift.lab.fair_comparison.development import (
    BEFORE,
    CHOSEN,
    FORMER,
    MAIN,
    allowed,
    candidates,
    change_table,
    load_study,
    study_table,
)
from deepdrift.lab.fair_comparison.table import load_comparisons
from deepdrift.monitor.scorer import BLOCK_WEIGHTS, N_SMALLEST, SCORES

STUDY = load_study()


def test_the_chosen_one_is_the_best_that_keeps_the_rule():
    assert allowed(candidates(STUDY))[0] == CHOSEN


def test_the_chosen_one_is_the_default():
    weights = dict.fromkeys(SCORES["fused"], 1.0) | BLOCK_WEIGHTS
    blocks = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    assert f"{blocks}, {N_SMALLEST} smallest" == CHOSEN


def test_every_candidate_of_the_table_was_measured():
    found = candidates(STUDY)
    assert set(MAIN.values()) <= set(found) and len(found) == 170
    means = [c.mean for c in found.values()]
    assert means == sorted(means, reverse=True)


def test_means_by_hand():
    rows = {
        "cnn": {"mean": 0.8, "flagged": 0.4, "new classes": 0.7},
        "vit": {"mean": 0.6, "flagged": 0.2},
        "resnet18, random": {"mean": 0.5, "flagged": 0.1},
    }
    study = {network: {"a": row} for network, row in rows.items()}
    (found,) = candidates(study).values()
    assert (found.mean, found.flagged) == (pytest.approx(0.7), pytest.approx(0.3))
    assert found.new_classes == (0.7,) and found.deep == 0.5


def test_the_rule_asks_for_every_network_and_leaves_gaussians_out():
    def network(**new):
        return {k: {"mean": 0.5, "flagged": 0.1, "new classes": v} for k, v in new.items()}

    names = {"good": "x 1, all", "half": "y 1, all", "costly": "class Gaussians 1, all"}
    both = [{"good": 0.7, "half": 0.8, "costly": 0.9}, {"good": 0.6, "half": 0.4, "costly": 0.9}]
    study = {
        str(i): network(**{BEFORE: 0.6}, **{names[k]: v for k, v in new.items()})
        for i, new in enumerate(both)
    }
    assert set(allowed(candidates(study))) == {BEFORE, names["good"]}


def test_the_tables_show_the_study_and_the_change():
    found = candidates(STUDY)
    page = study_table(found)
    assert len(page.rows) == len(MAIN)
    assert page.rows[page.column("combination").index("all three, output 3")] == [
        "all three, output 3", f"{found[CHOSEN].mean:.3f}", f"{found[CHOSEN].flagged:.0%}",
        *(f"{value:.3f}" for value in found[CHOSEN].new_classes), f"{found[CHOSEN].deep:.3f}",
    ]  # fmt: skip
    stored = load_comparisons(data.shipped("comparison.npz"))
    tables = {"CNN": stored["cnn"], "ViT": stored["vit"]}
    page = change_table(tables)
    assert page.rows[2] == ["CNN", "kNN, all shifts", "0.846", str(tables["CNN"].auroc("kNN"))]
    assert page.column("before")[3] == f"{FORMER['ViT'][0]:.3f}"

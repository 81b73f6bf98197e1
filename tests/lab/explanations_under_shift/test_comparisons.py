"""Pairs of maps whose drift is known: who is steadier, and what a changed prediction does."""

from __future__ import annotations

import math

import pytest
import torch

from deepdrift.lab.explanations_under_shift.comparisons import (
    kept_minus_changed,
    on_the_way,
    steadier,
)
from deepdrift.lab.explanations_under_shift.drift import PairedDrift, Pairs, turned_back
from deepdrift.lab.explanations_under_shift.explanations import Explanation, garments, networks
from deepdrift.lab.explanations_under_shift.ruler import CHANCE, SAME, Ruler, clean_maps

CNN, VIT = Explanation("CNN", "saliency"), Explanation("ViT", "saliency")


class Known(PairedDrift):
    """Pairs with given overlaps and kept predictions, by severity."""

    def __init__(self, overlaps, kept):
        self.faults = ("blur",)
        self._pairs = {}
        for one, rows in overlaps.items():
            for s, row in rows.items():
                row = torch.tensor(row, dtype=torch.float64)
                self._pairs[one, "blur", s] = Pairs(
                    torch.zeros(len(row), 2, 2), {"iou": row}, torch.tensor(kept[s])
                )


def ruler(same: float) -> Ruler:
    pair = torch.tensor([same, same], dtype=torch.float64)
    return Ruler({SAME: pair}, {"iou": pair}, 0.1)


KEPT = {0: [True] * 4, 1: [True, True, True, False], 2: [True, False, False, False]}


def test_steadier_is_a_paired_difference():
    drift = Known(
        {
            CNN: {0: [1.0] * 4, 1: [0.2, 0.4, 0.6, math.nan], 2: [0.0, 0.2, 0.4, math.nan]},
            VIT: {0: [1.0] * 4, 1: [0.3, 0.5, 0.7, 0.9], 2: [0.1, 0.3, 0.5, 0.9]},
        },
        KEPT,
    )
    found = steadier(drift, "saliency", "blur")
    assert found.n_in == 3  # the image without a map on one side is left out
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    on_ruler = steadier(drift, "saliency", "blur", {CNN: ruler(0.5), VIT: ruler(0.0)})
    cnn = [(x - 0.5) / 0.5 for x in (0.1, 0.3, 0.5)]
    assert on_ruler.value == pytest.approx(sum((0.2, 0.4, 0.6)) / 3 - sum(cnn) / 3)


def test_severity_alone_makes_a_mixed_gap_and_no_matched_one():
    """Overlap depends on the severity only; strong severities change more predictions."""
    drift = Known({CNN: {0: [1.0] * 4, 1: [0.8] * 4, 2: [0.2] * 4}}, KEPT)
    assert kept_minus_changed(drift, CNN, "blur").value == pytest.approx(0.0, abs=1e-12)
    mixed = kept_minus_changed(drift, CNN, "blur", matched=False)
    assert mixed.value == pytest.approx((3 * 0.8 + 0.2) / 4 - (0.8 + 3 * 0.2) / 4)
    assert (mixed.n_in, mixed.n_out) == (4, 4)


def test_a_gap_within_each_severity_is_found_whatever_their_sizes():
    kept = {0: [True] * 40, 1: [True] * 30 + [False] * 10, 2: [True] * 10 + [False] * 30}
    rows = {s: [0.5 - 0.1 * s + 0.2 * k for k in kept[s]] for s in (0, 1, 2)}
    found = kept_minus_changed(Known({CNN: rows}, kept), CNN, "blur")
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))


def test_both_groups_are_needed():
    drift = Known({CNN: {0: [1.0] * 3, 1: [0.5] * 3}}, {0: [True] * 3, 1: [True] * 3})
    with pytest.raises(ValueError, match="3 pairs kept and 0 changed"):
        kept_minus_changed(drift, CNN, "blur")


def test_groups_of_pairs():
    pairs = Pairs(torch.zeros(3, 2, 2), {"iou": torch.arange(3.0)}, torch.tensor([1, 0, 1]).bool())
    assert [pairs.of(g).tolist() for g in ("all", "kept", "changed")] == [[0, 1, 2], [0, 2], [1]]


def test_the_way_of_known_overlaps():
    drift = Known({CNN: {0: [1.0] * 4, 1: [0.6] * 4, 2: [0.2] * 4}}, KEPT)
    found = on_the_way(drift, CNN, "blur", ruler(0.2))
    assert found == pytest.approx({0: 1.0, 1: 0.5, 2: 0.0})
    assert ruler(0.2).rung(CHANCE).value == 0.1


@pytest.fixture(scope="module")
def real():
    models, images = networks(), garments(20).images
    kinds = {one: m[:20] for one, m in clean_maps(models, images, slow=1).items() if not one.slow}
    return models, images, kinds


def test_nothing_drifts_at_severity_0_and_the_class_stays_fixed(real, monkeypatch):
    from deepdrift.lab.explanations_under_shift import drift as room

    models, images, maps = real
    monkeypatch.setattr(room, "EXPLANATIONS", (CNN,))
    monkeypatch.setattr(room, "SEVERITIES", (5,))
    asked = []
    explain = Explanation.__call__
    monkeypatch.setattr(
        Explanation, "__call__", lambda self, m, x, t: asked.append(t) or explain(self, m, x, t)
    )
    drift = PairedDrift(models, images, maps, faults=("contrast",))
    zero, five = drift[CNN, "contrast", 0], drift[CNN, "contrast", 5]
    assert zero.kept.all() and all(x.min() > 0.999 for x in zero.alike.values())
    assert len(asked) == 1 and torch.equal(asked[0], drift.classes["CNN"])
    assert five.alike["iou"].max() < 0.9 and not five.kept.all()
    assert drift.severities(CNN, "contrast") == [0, 5]
    assert (CNN, "contrast", 5) in drift and (VIT, "contrast", 5) not in drift


def test_a_map_that_turns_with_its_image_is_nearer_turned_back(monkeypatch):
    from deepdrift.lab.explanations_under_shift import drift as room

    class Itself:
        def __init__(self, x):
            self.maps = x[:, 0]

    monkeypatch.setattr(room, "EXPLANATIONS", (CNN,))
    monkeypatch.setattr(room, "predicted", lambda models, x: {"CNN": None})
    monkeypatch.setattr(Explanation, "__call__", lambda self, m, x, t: Itself(x))
    found = turned_back({"CNN": None}, garments(20).images, severity=3)[CNN]
    assert found["turned back"].low > 0.6 > found["as it is"].high
    assert found["grid alone"].value == pytest.approx(found["turned back"].value, abs=0.05)

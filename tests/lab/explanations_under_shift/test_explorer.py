"""The explorer of maps on their ruler, and the tiles it is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made import CNN, VIT, MadeDrift, rungs

from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.explorer import PAGE
from deepdrift.lab.explanations_under_shift import tiles
from deepdrift.lab.explanations_under_shift.explorer import MapExplorer


@pytest.fixture(scope="module")
def app():
    return MapExplorer(MadeDrift(), {CNN: rungs(0.2), VIT: rungs(0.4)}, severity=2)


def test_the_sentence_gives_overlap_and_way(app):
    said = app.summary(explanation="CNN, saliency", severity=4)
    assert "overlap 0.60 [0.60, 0.60] over 12 pairs, 50% of the way" in said
    assert "6 of 12 predictions changed" in said
    assert "67% of the way" in app.summary(explanation="ViT, rollout", severity=4)


def test_kept_and_changed_pairs_are_asked_for_apart(app):
    changed = app.overlap(severity=4, pairs="prediction changed")
    kept = app.overlap(severity=4, pairs="prediction kept")
    assert changed.n_in == kept.n_in == 6 and changed.value > kept.value
    assert app.overlap(severity=1, pairs="prediction changed") is None
    assert "too few for a mean" in app.summary(severity=1, pairs="prediction changed")


def test_questions_move_nothing_and_moves_draw(app):
    before = app.values, bytes(app.image.value), app.status.value
    app.summary(fault="gaussian_noise", severity=5, explanation="ViT, rollout")
    assert (app.values, bytes(app.image.value), app.status.value) == before
    app.set(fault="gaussian_noise", severity=5, explanation="ViT, rollout", pairs="prediction kept")
    assert bytes(app.image.value) != before[1] and "ViT, rollout" in app.status.value
    app.set(fault="blur", severity=2, explanation="CNN, saliency", pairs="all")
    assert bytes(app.image.value) == before[1]
    assert int(app.image.width) <= PAGE[0] and int(app.image.height) + 100 <= PAGE[1]


def test_the_image_shown_is_the_median_of_the_group(app):
    index = app._typical("CNN, saliency", "blur", 4, "prediction changed")
    made = MadeDrift()[CNN, "blur", 4]
    assert not made.kept[index]
    chosen = made.of("changed")
    assert abs(made.alike["iou"][index] - chosen.median()) < 1e-12


def test_only_complete_explanations_are_offered():
    made = MadeDrift()
    del made._pairs[VIT, "blur", 3]
    assert MapExplorer(made, {CNN: rungs(0.2), VIT: rungs(0.4)})._known.keys() == {"CNN, saliency"}
    with pytest.raises(ExplorerError, match="no explanation has every fault"):
        MapExplorer(made, {VIT: rungs(0.4)})


def test_tops_are_coloured_by_who_has_them():
    a, b = torch.zeros(5, 5), torch.zeros(5, 5)
    a[0] = torch.arange(5.0) + 1
    b[0, :2], b[1, :3] = 9.0, 9.0
    picture = tiles.tops(a, b)
    dark, blue, red = picture[0, 0], picture[0, 4], picture[1, 0]
    assert (picture[0, 1] == dark).all() and (picture[0, 2] == blue).all()
    assert (picture[1, 2] == red).all() and len({tuple(x) for x in (dark, blue, red)}) == 3
    assert np.allclose(picture[4, 4], 0.94)


def test_an_empty_map_has_no_top_and_one_colour():
    assert not tiles.top(torch.zeros(4, 4)).any()
    assert len(np.unique(tiles.heat(torch.zeros(4, 4)).reshape(-1, 3), axis=0)) == 1


def test_sheets_have_white_gaps():
    dark = np.zeros((3, 3, 3))
    picture = tiles.sheet([[dark, dark], [dark]], gap=1)
    assert picture.shape == (7, 7, 3)
    assert picture[:, 3].min() == picture[3].min() == 1 and picture[4:, 4:].min() == 1
    assert tiles.framed(dark)[1, 1].max() == 0 < tiles.framed(dark)[0, 1].max()

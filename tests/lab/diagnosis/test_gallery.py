"""The gallery shows each of the 22 faults once, and what it says is what it shows."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.bench import figures
from deepdrift.lab.diagnosis import gallery
from deepdrift.lab.diagnosis.faults import FAULTS


@pytest.fixture(scope="module")
def tiles():
    return gallery.image_tiles(2), gallery.network_tiles(2)


def test_every_fault_has_its_tile_and_caption(tiles):
    images, network = tiles
    names = [tile.name for tile in (*images, *network)]
    assert sorted(set(names) - {"normal", "normal, with cue"}) == sorted(FAULTS)
    assert len(names) == 25 and gallery.CAPTIONS.keys() == FAULTS.keys()
    target = {name: fault.target for name, fault in FAULTS.items()}
    assert all(target.get(t.name, "images") == "images" for t in images)
    assert all(target.get(t.name, "block") != "images" for t in network)


def test_the_cue_is_where_the_circle_is(tiles):
    found = {tile.name: tile for tile in tiles[0]}

    def square(name):
        row, column = found[name].cue
        return found[name].values[row : row + 3, column : column + 3]

    assert (square("normal, with cue") == 1).all() and (square("cue_reversed") == 1).all()
    assert (square("cue_absent") == 0).all()
    assert found["cue_absent"].cue == found["normal, with cue"].cue != found["cue_reversed"].cue


def test_tiles_of_the_network_show_what_was_done(tiles):
    found = {tile.name: tile.values for tile in tiles[1]}
    assert found["normal"].shape == (28, 28)
    silent = [(found["dead_units"][r : r + 14, c : c + 14] == 0).all()
              for r in (0, 14) for c in (0, 14)]  # fmt: skip
    assert 1 <= sum(silent) <= 3
    assert np.isnan(found["nan_weight"]).all() and not np.isfinite(found["overflow"]).all()
    assert np.nanmax(found["weight_gain"]) > 20 * found["normal"].max()


def test_the_drawing_circles_the_cue_and_marks_what_is_not_finite(tiles):
    with figures.figure() as fig:
        first, second = fig.subplots(1, 2)
        gallery.draw_tile(first, tiles[0][-1])
        gallery.draw_tile(second, next(t for t in tiles[1] if t.name == "nan_weight"))
    assert len(first.patches) == 1 and [t.get_text() for t in second.texts] == ["NaN"]
    gallery.gallery(tiles[0], "Eleven faults", columns=7, top=1.0)

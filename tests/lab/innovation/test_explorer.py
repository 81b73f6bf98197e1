"""The explorer of a growing shift: its picture, and names that stay on their sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.innovation.explorer import ShiftExplorer

RNG = np.random.default_rng(0)
SCORES = {
    shift: {"velocity": {s: RNG.gamma(9, 1 - 0.1 * s, 90) for s in range(4)}}
    for shift in ("blur", "noise")
}
PICTURES = {k: [torch.full((1, 5, 5), s / 4) for s in range(4)] for k in SCORES}


def test_the_picture_of_that_severity_is_shown():
    app = ShiftExplorer(SCORES, pictures=PICTURES, severity=1)
    assert len(app._axes) == 3 and float(app._axes[0].images[0].get_array().max()) == 0.25
    app.set(severity=3, shift="noise")
    assert float(app._axes[0].images[0].get_array().max()) == 0.75
    assert len(ShiftExplorer(SCORES)._axes) == 2


def test_names_do_not_swap_sides():
    """Shifted scores lie below the normal ones in one score, above them in the other."""
    up = {s: RNG.gamma(9, 1 + 0.3 * s, 90) for s in range(4)}
    app = ShiftExplorer({"down": SCORES["blur"]["velocity"], "up": up}, severity=3)
    for score in ("down", "up"):
        texts = app.set(score=score)._axes[0].texts
        places = {t.get_text(): t.get_position()[0] for t in texts}
        assert places["normal"] < 0.1 < 0.9 < places["severity 3"]


def test_a_picture_for_every_severity_is_asked_for():
    few = {k: v[:3] for k, v in PICTURES.items()}
    with pytest.raises(ExplorerError, match="expected 4, one a severity"):
        ShiftExplorer(SCORES, pictures=few)

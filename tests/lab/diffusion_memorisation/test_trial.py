"""Rivals are fixed once and spent; warnings, false cries and leads by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_runs import made_run

from deepdrift.lab.diffusion_memorisation import trial
from deepdrift.lab.diffusion_memorisation.measures import Rival
from deepdrift.lab.diffusion_memorisation.runs import RecordError


@pytest.fixture
def rivals():
    return trial.fix_rivals(made_run())


def test_a_rival_may_choose_where_it_is_allowed_to(rivals):
    assert rivals.keys() == trial.CANDIDATES.keys()
    assert rivals["bottleneck norm"] == Rival("norm", 1, 2, True)
    assert rivals["norm, best stage"] == Rival("norm", 1, 2, True)
    assert rivals["loss gap"] == Rival("loss", 0, 0, False)
    for name, (quantity, stages) in trial.CANDIDATES.items():
        assert rivals[name].quantity == quantity and rivals[name].stage in stages
        if name.startswith("bottleneck"):
            assert "bottleneck" in trial.stage_names(quantity)[rivals[name].stage]


def test_it_is_fixed_where_copying_begins():
    """At step 400; at 800, where it would be stronger, another stage is made the best."""
    run = made_run()
    run.auroc["norm"][3, 5, 4] = (1.0, 0.99, 1.0)
    assert trial.first_copies(run) == 2
    assert trial.fix_rivals(run)["norm, best stage"] == Rival("norm", 1, 2, True)
    with pytest.raises(RecordError, match="10% copies, got 32 images, seed 5"):
        trial.first_copies(made_run(seed=5, shares=(0, 0, 0.02, 0.05)))


def test_the_sign_is_not_chosen_again(rivals):
    """A run in which the norm tells the other way round counts against it."""
    table = trial.auroc_table(rivals, made_run(), [made_run(seed=1), made_run(seed=2, flip=True)])
    row = table["bottleneck norm"]
    assert list(row) == ["32 (0)", "32 (1)", "32 (2)"]
    assert [row[k].value for k in row] == pytest.approx([0.8, 0.8, 0.2])
    assert (row["32 (2)"].low, row["32 (2)"].high) == pytest.approx((0.1, 0.3))
    assert (row["32 (0)"].n_in, row["32 (0)"].n_out) == (32, 256)
    large = trial.membership(rivals["loss gap"], made_run(4000), 3)
    assert (large.value, large.n_in) == (1, 256)


def test_copies_among_samples_with_the_sign_of_another_run():
    a, b = made_run(), made_run(seed=1)
    assert trial.copies_told(b, a, "updates").value == pytest.approx(0.7)
    told = trial.copies_told(b, a, "scores")
    assert (told.value, told.low, told.high) == pytest.approx((0.7, 0.6, 0.8))
    assert (told.n_in, told.n_out) == (80, 320)
    b.updates[2, 1:] = (0.2, 0.1, 0.3)
    assert trial.copies_told(b, a, "updates").value == pytest.approx(0.2)


def test_a_warning_that_falls_silent_does_not_last(rivals):
    run = made_run()
    assert trial.rings(rivals["bottleneck norm"], run).tolist() == [True, False, True, True]
    assert trial.for_good(run.steps, np.array([True] * 4)) == 100
    assert trial.for_good(run.steps, np.array([True, True, True, False])) == math.inf
    lasting, first = (trial.warning_table(rivals, [run], lasting=x) for x in (True, False))
    assert (
        lasting["bottleneck norm"] == {"32 (0)": 400} and first["bottleneck norm"]["32 (0)"] == 100
    )
    assert lasting["loss gap"]["32 (0)"] == 200
    assert lasting["bottleneck velocity"]["32 (0)"] == math.inf
    assert lasting["twins"]["32 (0)"] == 800  # the first upper end of at most 64
    assert lasting["held-out loss rises"]["32 (0)"] == 800
    assert lasting["copying begins"]["32 (0)"] == pytest.approx(run.onset())
    assert list(lasting)[-3:] == ["twins", "held-out loss rises", "copying begins"]


def test_cries_are_shares_of_checkpoints(rivals):
    quiet = made_run(4000, shares=(0, 0, 0, 0))
    quiet.twins[:, 3] = (math.inf, 9000, 8000, 8001)
    table = trial.cry_table(rivals, [quiet])
    assert float(table["bottleneck norm"]["4,000 (0)"]) == 0.75
    assert float(table["bottleneck velocity"]["4,000 (0)"]) == 0
    assert float(table["twins"]["4,000 (0)"]) == 0.25


def test_words_for_places():
    assert trial.stage_names("depth_innovation") == (
        "into encoder 2", "into bottleneck", "into decoder 2", "into decoder 1"
    )  # fmt: skip
    assert trial.describe(Rival("level_velocity", 4, 2, False)) == (
        "bottleneck, level 600 to 800, larger for held-out images"
    )
    assert trial.stage_names("norm")[trial.MIDDLE] == "bottleneck"

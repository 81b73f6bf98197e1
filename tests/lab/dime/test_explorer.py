"""Planes of every rank at once against one DIME each; the slider; mutants of the rank."""

import math

import numpy as np
import pytest
import torch

from deepdrift.baselines import DIME
from deepdrift.baselines.plane import choose_rank
from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.dime.explorer import PlaneExplorer, RankSweep, auroc_by_column
from deepdrift.lab.dime.figures import plane_by_hand, rank_curves
from deepdrift.lab.dime.rank_mutants import MUTANTS, survivors


def features(n, seed=0, scale=1.0):
    """Six features off the origin; standard deviations fall by half along mixed directions."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(9)))[0]
    return scale * (torch.randn(n, 6, generator=g) * 0.5 ** torch.arange(6)) @ mixing + 3


FIT, CALIBRATION, NORMAL = features(300), features(200, 1), features(150, 2)
STRANGE = {"wide": features(80, 3, scale=2.0), "noise": features(90, 4) + torch.rand(90, 6)}


def explorer(**options):
    return PlaneExplorer(FIT, CALIBRATION, NORMAL, STRANGE, name="garments", **options)


# ---- all ranks at once ----


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_every_rank_is_the_plane_of_that_rank(rank):
    dime, found = DIME(rank).fit(FIT), RankSweep(FIT).distances(STRANGE["noise"])
    out, within = dime.distance_to_hyperplane, dime.distance_within_hyperplane
    np.testing.assert_allclose(found["outside"][:, rank - 1], out(STRANGE["noise"]), rtol=1e-9)
    np.testing.assert_allclose(found["within"][:, rank - 1], within(STRANGE["noise"]), rtol=1e-9)


def test_shares_are_those_that_choose_the_rank():
    shares = RankSweep(FIT).shares
    assert len(shares) == 6 and shares[-1] == pytest.approx(1)
    for wanted in (0.5, 0.9, 0.99):
        assert DIME(wanted).fit(FIT).rank == np.flatnonzero(shares >= wanted)[0] + 1


def test_at_full_rank_nothing_is_outside_and_a_silent_unit_stays_visible():
    assert RankSweep(FIT).distances(NORMAL)["outside"][:, -1].tolist() == [0.0] * 150
    padded, silent = (torch.nn.functional.pad(x, (0, 1)) for x in (FIT, NORMAL))
    silent[:, 6] = 2.0  # a direction in which normal features never vary
    outside = RankSweep(padded).distances(silent)["outside"]
    assert outside.shape == (150, 6)
    np.testing.assert_allclose(outside[:, -1], 2.0)


def test_what_is_not_a_number_is_infinitely_far():
    bad = NORMAL[:3].clone()
    bad[1, 2] = math.nan
    for distances in RankSweep(FIT).distances(bad).values():
        assert np.isinf(distances).all(axis=1).tolist() == [False, True, False]
        assert np.isfinite(distances[[0, 2]]).all()


def test_auroc_by_column_is_the_auroc_of_each_column():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (40, 5)), rng.integers(2, 12, (30, 5))  # with many ties
    expected = [auroc(a[:, i], b[:, i]).value for i in range(5)]
    np.testing.assert_allclose(auroc_by_column(a, b), expected)


# ---- the explorer ----


@pytest.mark.parametrize("distance", ["outside", "within"])
def test_the_sentence_states_what_one_plane_gives(distance):
    app = explorer().set(rank=2, alpha=0.1, distance=distance, strangers="noise")
    dime = DIME(2).fit(FIT)
    method = {"outside": "distance_to_hyperplane", "within": "distance_within_hyperplane"}
    normal, strange, known = (
        getattr(dime, method[distance])(x) for x in (NORMAL, STRANGE["noise"], CALIBRATION)
    )
    threshold = conformal_threshold(known, 0.1)
    assert app.scores()[2] == pytest.approx(threshold)
    false, found = ((s > threshold).double().mean().item() for s in (normal, strange))
    share = dime.explained_variance.sum().item()
    assert app.summary().startswith(
        f"Rank 2 holds {100 * share:.1f} % of the variance. Distance {distance}, alpha 10 %: "
        f"alarm for {100 * false:.1f} % of 150 garments and {100 * found:.1f} % of 90 noise; "
        f"AUROC {auroc(normal, strange)}"
    )
    assert app.curves()[distance][1] == pytest.approx(auroc(normal, strange).value)


def test_below_a_coin_is_said():
    app = PlaneExplorer(FIT, CALIBRATION, NORMAL, {"tight": features(90, 5, 0.3)}, rank=4)
    assert app.scores()[1].mean() < app.scores()[0].mean()
    assert app.summary().endswith(": they look more normal than normal ones.")
    ties = auroc(np.zeros(150), np.zeros(90))
    assert app.set(rank=6).summary().endswith(f"AUROC {ties}, no better than a coin.")


@pytest.mark.parametrize(
    "move", [{"rank": 3}, {"alpha": 0.2}, {"distance": "within"}, {"strangers": "noise"}]
)
def test_each_control_changes_words_and_picture_and_goes_back(move):
    app = explorer()
    start, words, picture = app.values, app.summary(), app.image.value
    ((name, value),) = move.items()
    getattr(app, name).value = value
    assert app.summary() != words and app.image.value != picture
    assert app.status.value == f"<p role='status'>{app.summary()}</p>"
    assert (app.set(**start).summary(), app.image.value) == (words, picture)


def test_controls_stay_within_what_the_data_allow():
    app = explorer(rank=50)
    assert app.values["rank"] == 6
    with pytest.raises(ExplorerError, match="rank: expected a whole number from 1 to 6, got 7"):
        app.set(rank=7)
    with pytest.raises(ExplorerError, match="expected one of wide, noise, got 'dogs'"):
        app.set(strangers="dogs")


def test_impossible_data():
    with pytest.raises(ExplorerError, match="strange: expected at least one"):
        PlaneExplorer(FIT, CALIBRATION, NORMAL, {})
    with pytest.raises(ExplorerError, match="needs at least 99 samples, got 98"):
        PlaneExplorer(FIT, CALIBRATION[:98], NORMAL, STRANGE)
    with pytest.raises(ExplorerError, match="fit: .* 2 samples"):
        PlaneExplorer(FIT[:1], CALIBRATION, NORMAL, STRANGE)


# ---- pictures ----


@pytest.fixture
def drawn(monkeypatch):
    """Figures that a plotting function would show."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    yield lambda: [pyplot.figure(n) for n in pyplot.get_fignums()]
    pyplot.close("all")


def test_rank_curves_mark_the_rank_on_every_curve(drawn):
    curves = {"outside": [0.2, 0.7, 0.5], "within": [0.4, 0.6, 0.8]}
    rank_curves({"net": (curves, [0.6, 0.9, 1.0], 2)}, "finding")
    (figure,) = drawn()
    ax = figure.axes[0]
    dots = [x.get_xydata()[0].tolist() for x in ax.get_lines() if len(x.get_xdata()) == 1]
    assert dots == [[2, 0.7], [2, 0.6]]
    assert {t.get_text() for t in ax.texts} == {"variance", "outside", "within", "coin"}


def test_by_hand_draws_each_query_with_its_foot(drawn):
    x = [[-1.0, 0.0], [1.0, 0.0], [-2.0, 0.0], [2.0, 0.0]]
    plane_by_hand(x, {"A": [1.0, 3.0]}, DIME(1).fit(np.array(x)), "finding")
    (figure,) = drawn()
    lines = [line.get_xydata().round(9).tolist() for line in figure.axes[0].get_lines()]
    assert [[1.0, 3.0], [1.0, 0.0]] in lines
    assert figure.get_size_inches()[0] == figures.WIDTH


# ---- mutants of the rank ----


def right(shares, wanted):
    return choose_rank(torch.tensor(shares, dtype=torch.float64), wanted)


@pytest.mark.parametrize(
    ("name", "shares", "wanted", "wrong"),
    [
        ("first short", [0.5, 0.3, 0.2], 0.9, 1),
        ("one too few", [0.5, 0.3, 0.2], 0.9, 2),
        ("one too many at a tie", [0.5, 0.25, 0.25], 0.75, 3),
        ("sizes for squares", [0.81, 0.09, 0.09, 0.01], 0.8, 3),
    ],
)
def test_each_mutant_is_wrong_in_its_way(name, shares, wanted, wrong):
    assert MUTANTS[name](shares, wanted) == wrong != right(shares, wanted)
    tensor = torch.tensor(shares, dtype=torch.float64)
    assert MUTANTS[name](tensor, wanted) == wrong


def test_a_test_that_cannot_fail_kills_nobody_and_a_good_one_all():
    assert survivors(lambda rank: rank([0.6, 0.4], 0.9) >= 1) == list(MUTANTS)
    steep = [0.5, 0.25, 0.125, 0.125]
    assert survivors(lambda rank: rank(steep, 0.75) == right(steep, 0.75)) == []

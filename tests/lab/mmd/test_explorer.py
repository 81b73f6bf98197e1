"""The slider of an MMD test against the test itself; figures of permutations and power."""

import numpy as np
import pytest
import torch

from deepdrift.baselines import MMDDrift
from deepdrift.baselines.kernels import median_heuristic
from deepdrift.errors import CalibrationError
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.evaluation import proportion
from deepdrift.lab.mmd import figures as mmd_plots
from deepdrift.lab.mmd.explorer import MMDExplorer


def sample(n, width=3, shift=0.0, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + shift


PAIRS = {
    "wide": (sample(40, 5), sample(40, 5, seed=1)),
    "moved": (sample(60), sample(50, shift=0.8, seed=1)),
}


def explorer(**options):
    settings = {"sizes": range(10, 41, 10), "n_permutations": 99}
    return MMDExplorer(PAIRS, **settings | options)


# ---- the numbers ----


@pytest.mark.parametrize("features", list(PAIRS))
@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("sigma", [0.4, 2.0, 9.5])
@pytest.mark.parametrize("permutations", [19, 99])
def test_every_setting_is_the_test_with_these_settings(features, n, sigma, permutations):
    app = explorer().set(features=features, n=n, sigma=sigma, permutations=permutations)
    reference, new = (x[:n] for x in PAIRS[features])
    direct = MMDDrift(reference, sigma=sigma, n_permutations=permutations).test(new)
    point = app.point()
    assert point.p_value == direct.p_value and len(point.null) == permutations
    for name, expected in {
        "sigma": sigma,
        "median": median_heuristic(torch.cat([reference, new])),
        "distance": direct.distance,
        "threshold": direct.distance_threshold,
        "effect_size": direct.effect_size,
    }.items():
        assert getattr(point, name) == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    np.testing.assert_allclose(point.null, direct.null, rtol=1e-9, atol=1e-12)
    assert app.summary().startswith("Drift in " if direct.is_drift else "No drift found in ")


def test_it_starts_at_the_median_heuristic_of_the_first_pair():
    direct = MMDDrift(PAIRS["wide"][0][:20], n_permutations=99).test(PAIRS["wide"][1][:20])
    point = explorer(n=20).point()
    assert point.sigma == pytest.approx(point.median) and point.p_value == direct.p_value
    assert point.distance == pytest.approx(direct.distance)


def test_the_sentence():
    app = explorer().set(features="moved", n=40, permutations=99, sigma=2.5)
    point = app.point()
    assert app.summary() == (
        f"Drift in moved, 40 against 40, σ = 2.5 (median heuristic {point.median:.3g}): MMD² "
        f"{point.distance:.2g}, threshold {point.threshold:.2g}, effect {point.effect_size:.1f} "
        "sd; p = 1/100 = 0.01."
    )


def test_effects_by_bandwidth_are_those_of_each_position():
    app = explorer().set(features="moved", n=30)
    effects = app.effects()
    assert len(effects) == 9 and max(effects) == pytest.approx(256 * min(effects))
    for sigma, effect in effects.items():
        assert app.set(sigma=sigma).point().effect_size == pytest.approx(effect, rel=1e-9)


def test_the_slider_of_the_bandwidth_lies_under_its_axis():
    app = explorer()
    low, high = app._axes[1].get_xlim()
    assert (low, high) == pytest.approx((min(app.effects()), max(app.effects())))
    assert app._axes[1].get_xscale() == "log"


def test_equal_samples_are_not_far_from_chance():
    same = torch.ones(10, 2)
    app = MMDExplorer({"same": (same, same)}, sizes=[10], n_permutations=19)
    assert (app.point().p_value, app.point().effect_size, app.point().distance) == (1.0, 0.0, 0.0)


# ---- the controls ----


@pytest.mark.parametrize(
    "move", [{"features": "moved"}, {"n": 10}, {"sigma": 0.5}, {"permutations": 19}]
)
def test_each_control_changes_words_and_picture_and_goes_back(move):
    app = explorer()
    start, words, picture = app.values, app.summary(), app.image.value
    ((name, value),) = move.items()
    getattr(app, name).value = value
    assert app.summary() != words and app.image.value != picture
    assert app.status.value == f"<p role='status'>{app.summary()}</p>"
    assert (app.set(**start).summary(), app.image.value) == (words, picture)


def test_start_and_limits():
    app = explorer(n=10, permutations=500)
    sigma = pytest.approx(app.point().median)
    assert app.values == {"features": "wide", "n": 10, "sigma": sigma, "permutations": 99}
    with pytest.raises(ExplorerError, match="n: expected a whole number from 10 to 40, got 50"):
        app.set(n=50)
    with pytest.raises(ExplorerError, match="n: expected one of 10, 20, 30, 40, got 15"):
        app.set(n=15)
    with pytest.raises(ExplorerError, match="permutations: .* from 19 to 99, got 18"):
        app.set(permutations=18)
    assert app.values["n"] == 10


def test_a_size_typed_into_the_box_goes_to_the_nearest_one():
    app = explorer()
    app.n.value = 17
    assert app.values["n"] == 20 and ", 20 against 20," in app.status.value
    app.n.value = 11
    assert app.values["n"] == 10 and ", 10 against 10," in app.status.value


def test_impossible_data():
    with pytest.raises(ExplorerError, match="moved: new: .* at least 60 samples, got 50"):
        MMDExplorer({"moved": PAIRS["moved"]}, sizes=[30, 60])
    with pytest.raises(ExplorerError, match="equally spaced"):
        MMDExplorer(PAIRS, sizes=[10, 20, 40])
    with pytest.raises(ExplorerError, match="at least one pair"):
        MMDExplorer({})
    with pytest.raises(CalibrationError, match="18 permutations cannot give p <= 0.05"):
        explorer(n_permutations=18)


# ---- figures ----


@pytest.fixture
def drawn(monkeypatch):
    """Figures that a plotting function would show."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    yield lambda: [pyplot.figure(n) for n in pyplot.get_fignums()]
    pyplot.close("all")


def test_permutations_show_every_split_and_both_lines(drawn):
    found = MMDDrift(PAIRS["moved"][0], n_permutations=99).test(PAIRS["moved"][1])
    missed = MMDDrift(PAIRS["wide"][0], n_permutations=99).test(PAIRS["wide"][1])
    assert found.is_drift and not missed.is_drift
    mmd_plots.permutations({"a": found, "b": missed}, "finding")
    (figure,) = drawn()
    for ax, test in zip(figure.axes, (found, missed), strict=True):
        (stairs,) = ax.patches
        assert stairs.get_data().values.sum() == 99
        at = {line.get_xdata()[0] for line in ax.get_lines()}
        assert at == {test.distance, test.distance_threshold}
        low, high = ax.get_xlim()
        assert low < min(at) and max(at) < high
    colours = [ax.texts[-1].get_color() for ax in figure.axes]
    assert colours == [figures.VERMILLION, figures.BLUE]


def test_permutations_of_equal_samples_can_be_drawn(drawn):
    same = torch.ones(5, 1)
    mmd_plots.permutations({"same": MMDDrift(same, n_permutations=19).test(same)})
    (figure,) = drawn()
    assert figure.axes[0].patches[0].get_data().values.sum() == 19


def test_power_curves_hold_the_estimates(drawn):
    estimates = [proportion(1, 20), proportion(15, 20)]
    panels = {"left": {"MMD": estimates, "KS": estimates[::-1]}, "right": {"MMD": estimates}}
    mmd_plots.power_curves([10, 100], panels, 0.05, "finding")
    (figure,) = drawn()
    by_label = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert by_label["MMD"].get_ydata() == pytest.approx([0.05, 0.75])
    assert by_label["KS"].get_ydata() == pytest.approx([0.75, 0.05])
    bars = [x.get_ydata() for x in figure.axes[1].get_lines() if x.get_label().startswith("_c")]
    assert [estimates[1].low, estimates[1].high] in [list(bar) for bar in bars]
    with pytest.raises(figures.PlotError, match="MMD: expected 3 estimates"):
        mmd_plots.power_curves([1, 2, 3], panels, 0.05)


def test_bandwidths_mark_what_is_named(drawn):
    samples = {"a": np.arange(9.0), "b": np.arange(9.0) + 0.5}
    mmd_plots.bandwidths(samples, [0.1, 1.0, 10.0], [3.0, 1.0, -0.5], {"median": 2.0}, "finding")
    (figure,) = drawn()
    left, right = figure.axes
    assert [p.get_data().values.sum() for p in left.patches] == [9, 9]
    assert right.get_lines()[0].get_ydata().tolist() == [3.0, 1.0, -0.5]
    assert "median" in [t.get_text() for t in right.texts]

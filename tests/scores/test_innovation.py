"""The step predictor against scikit-learn and numpy, and the laws it must obey."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge

from deepdrift import Innovation, StepPredictor
from deepdrift.errors import CalibrationError, NotFittedError, StateError
from deepdrift.scores.innovation import step_names
from deepdrift.scores.moments import shrinkage


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chain(n, widths=(4, 6, 3), noise=0.5, seed=0, shift=0.0):
    """States of a Gaussian chain: each layer is a fixed map of the last, plus noise."""
    states = {"0": normal(n, widths[0], seed=seed)}
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        weights = normal(a, b, seed=1000 + i) / a**0.5
        states[str(i)] = list(states.values())[-1] @ weights + noise * normal(n, b, seed=seed + i)
    return {k: v + shift for k, v in states.items()}


def numpy_scores(x, y, x_new, y_new, ridge):
    """The definition, written once more: ridge by scikit-learn, inverse by numpy."""
    x, y, x_new, y_new = (np.asarray(v, dtype=np.float64) for v in (x, y, x_new, y_new))
    alpha = ridge * x.var(axis=0).mean() * len(x)
    model = Ridge(alpha=alpha, solver="cholesky").fit(x, y)
    rest = y - model.predict(x)
    s = rest.T @ rest / len(x)
    w = shrinkage(torch.tensor(s), len(x))
    s = (1 - w) * s + w * np.trace(s) / len(s) * np.eye(len(s))
    new = y_new - model.predict(x_new)
    return np.einsum("ni,ij,nj->n", new, np.linalg.inv(s), new)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_scores_against_scikit_learn_and_numpy(ridge, shift):
    x, y = chain(300, (5, 7), shift=shift).values()
    x_new, y_new = chain(50, (5, 7), seed=50, shift=shift).values()
    found = StepPredictor(ridge).fit(x, y).score(x_new, 2 * y_new)
    expected = numpy_scores(x, y, x_new, 2 * y_new, ridge)
    assert np.allclose(found, expected, rtol=2e-4)


def test_residuals_of_the_fitted_data_are_white():
    x, y = chain(5000, (5, 7)).values()
    residual = StepPredictor().fit(x, y).residual(x, y).double()
    assert torch.allclose(residual.mean(dim=0), torch.zeros(7).double(), atol=1e-5)
    assert torch.allclose(residual.T @ residual / 5000, torch.eye(7).double(), atol=0.1)  # shrunk


def test_scores_of_gaussian_data_follow_chi_squared():
    x, y = chain(20_000, (5, 7)).values()
    x_new, y_new = chain(4000, (5, 7), seed=77).values()
    scores = StepPredictor().fit(x, y).score(x_new, y_new)
    assert scores.mean().item() == pytest.approx(7, abs=4 * (14 / 4000) ** 0.5)
    assert stats.kstest(scores.numpy(), stats.chi2(7).cdf).pvalue > 0.01


def test_chain_rule():
    """Distance of the first state plus all innovations = distance of the whole trajectory."""
    widths = (3, 4, 2)
    train, new = chain(200_000, widths), chain(30, widths, seed=9)
    innovation = Innovation(ridge=0.0).fit(train)

    def mahalanobis(x, x_new):
        x, x_new = x.double().numpy(), x_new.double().numpy() - x.double().numpy().mean(axis=0)
        inverse = np.linalg.inv(np.cov(x.T, bias=True))
        return np.einsum("ni,ij,nj->n", x_new, inverse, x_new)

    whole = mahalanobis(torch.cat(list(train.values()), 1), torch.cat(list(new.values()), 1))
    parts = mahalanobis(train["0"], new["0"]) + innovation.score(new).sum(dim=1).numpy()
    assert np.allclose(parts, whole, rtol=0.01)


def test_innovation_is_one_predictor_per_step():
    states, new = chain(200), chain(20, seed=5)
    innovation = Innovation().fit(states)
    scores = innovation.score(new)
    assert list(innovation.steps) == ["0->1", "1->2"] == step_names(states)
    for i, (a, b) in enumerate([("0", "1"), ("1", "2")]):
        alone = StepPredictor().fit(states[a], states[b]).score(new[a], new[b])
        assert torch.allclose(scores[:, i], alone, rtol=1e-12)


@given(cuts=st.lists(st.integers(1, 79), unique=True, max_size=8), shift=st.sampled_from([0, 50]))
@hypothesis_settings(max_examples=15)
def test_any_batching_gives_one_fit(cuts, shift):
    states = chain(80, shift=shift)
    whole, parts = Innovation().fit(states), Innovation()
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
        parts.partial_fit({k: v[a:b] for k, v in states.items()})
    for one, many in zip(whole.steps.values(), parts.steps.values(), strict=True):
        one, many = one.to_tensors(), many.to_tensors()
        assert torch.equal(one["shape"], many["shape"])
        assert torch.allclose(one["mean"], many["mean"], rtol=1e-9, atol=1e-12)
        assert torch.allclose(one["comoment"], many["comoment"], rtol=1e-9, atol=1e-9)
    new = chain(10, seed=3, shift=shift)
    assert torch.allclose(parts.score(new), whole.score(new), rtol=1e-5)


def test_merging_shards_is_fitting_all_and_changes_neither():
    states = chain(90)
    a, b = ({k: v[rows] for k, v in states.items()} for rows in (slice(30), slice(30, None)))
    left, right = Innovation().fit(a), Innovation().fit(b)
    before, new = left.score(states), chain(10, seed=3)
    merged = left.merge(right)
    assert torch.allclose(merged.score(new), Innovation().fit(states).score(new), rtol=1e-5)
    assert torch.allclose(merged.score(new), right.merge(left).score(new), rtol=1e-5)
    assert torch.equal(left.score(states), before)
    assert merged.steps["0->1"].n_samples == 90


def test_fit_forgets_and_partial_fit_changes_the_next_score():
    first, second, new = chain(100), chain(100, seed=40, shift=5.0), chain(5, seed=3)
    innovation = Innovation().fit(first)
    before = innovation.score(new)
    after = innovation.partial_fit(second).score(new)  # a stale map would give `before`
    assert not torch.allclose(after, before, rtol=0.01)
    assert torch.equal(innovation.fit(first).score(new), before)


def test_a_predictor_forgets_its_map_when_it_learns():
    (x, y), (x2, y2) = chain(100, (4, 3)).values(), chain(100, (4, 3), seed=40, shift=5.0).values()
    step = StepPredictor().fit(x, y)
    first = step.score(x, y)
    both = step.partial_fit(x2, y2).score(x, y)
    fresh = StepPredictor().fit(torch.cat([x, x2]), torch.cat([y, y2])).score(x, y)
    assert torch.allclose(both, fresh, rtol=1e-5)
    assert not torch.allclose(both, first, rtol=0.01)
    assert torch.equal(step.fit(x, y).score(x, y), first)


def test_round_trip_through_tensors():
    x, y = chain(100, (5, 7)).values()
    step = StepPredictor(ridge=0.02).fit(x, y)
    again = StepPredictor.from_tensors(step.to_tensors())
    assert again.ridge == 0.02
    assert again.n_samples == 100
    assert torch.equal(again.score(x, y), step.score(x, y))
    assert torch.equal(
        again.partial_fit(x, y).score(x, y), step.partial_fit(x, y).score(x, y)
    )  # what was restored can go on learning


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
@pytest.mark.parametrize("which", ["0", "1", "2"])
def test_the_unit_of_a_layer_does_not_matter(scale, which):
    states, new = chain(150), chain(20, seed=8)
    expected = Innovation().fit(states).score(new)
    states[which], new[which] = states[which] * scale, new[which] * scale
    assert torch.allclose(Innovation().fit(states).score(new), expected, rtol=1e-4)


@pytest.mark.parametrize("which", ["0", "1", "2"])
def test_rotating_a_layer_does_not_matter(which):
    states, new = chain(150), chain(20, seed=8)
    expected = Innovation().fit(states).score(new)
    q = torch.linalg.qr(normal(*2 * [states[which].shape[1]])).Q
    states[which], new[which] = states[which] @ q, new[which] @ q
    assert torch.allclose(Innovation().fit(states).score(new), expected, rtol=1e-3)


def test_an_invertible_map_of_a_layer_matters_only_through_shrinkage():
    states, new = chain(20_000), chain(20, seed=8)
    expected = Innovation(ridge=1e-8).fit(states).score(new)
    stretch = torch.diag(torch.tensor([0.5, 1, 1, 2, 2, 3]))
    states["1"], new["1"] = states["1"] @ stretch, new["1"] @ stretch
    assert torch.allclose(Innovation(ridge=1e-8).fit(states).score(new), expected, rtol=0.02)


@pytest.mark.parametrize("shift", [1e2, 1e4])
def test_far_from_zero(shift):
    """States near 1e4 carry an error of 5e-4 each; nothing worse may come from us."""
    states, new = chain(500, shift=shift), chain(20, seed=8, shift=shift)
    exact = {k: v.double() for k, v in states.items()}
    for i, (a, b) in enumerate([("0", "1"), ("1", "2")]):
        found = Innovation().fit(states).score(new)[:, i]
        expected = numpy_scores(exact[a], exact[b], new[a], new[b], 1e-3)
        assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_tiny_constant_part_on_a_large_mean_is_no_signal():
    """A layer that is constant up to float32 rounding does not turn rounding into alarms."""
    x = normal(200, 3)
    constant = torch.full((200, 4), 1000.0)
    step = StepPredictor().fit(x, constant)
    wobble = torch.nextafter(torch.full((1, 4), 1000.0), torch.tensor(torch.inf))
    assert step.score(x[:1], wobble).item() < 10
    assert step.score(x[:1], torch.full((1, 4), 1010.0)).item() > 1e6


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda z: z * torch.tensor([1.0, 0, 1, 0, 1, 1]),  # dead channels
        lambda z: z * 0,  # a dead layer
        lambda z: z * 0 + 7.3,  # a constant layer
        lambda z: torch.cat([z[:, :3]] * 2, dim=1),  # every channel twice
        lambda z: z[:, :1].expand(-1, 6),  # rank one
    ],
)
@pytest.mark.parametrize("n", [5, 400])
def test_deficient_layers_give_finite_scores(spoil, n, ridge):
    train, new = chain(n, (6, 6, 6)), chain(50, (6, 6, 6), seed=8)
    train["1"], new["1"] = spoil(train["1"]), spoil(new["1"])
    innovation = Innovation(ridge).fit(train)
    assert bool(innovation.score(train).isfinite().all())
    scores = innovation.score(new)
    assert bool(scores.isfinite().all())
    alive = new | {"1": spoil(new["1"]) + torch.eye(6)[1]}  # one unit in one channel
    assert bool(innovation.score(alive).isfinite().all())


@pytest.mark.parametrize("dead", [slice(1, 2), slice(0, 6)])
def test_a_dead_channel_that_comes_alive_is_seen(dead):
    train, new = chain(2000, (6, 6)), chain(200, (6, 6), seed=8)
    train["1"][:, dead] = new["1"][:, dead] = 0
    innovation = Innovation().fit(train)
    usual = innovation.score(new).max().item()
    new["1"][:, dead] = 1
    assert innovation.score(new).min().item() > 5 * max(usual, 1)


def test_one_sample_more_than_none():
    x, y = normal(1, 4), normal(1, 3)
    scores = StepPredictor().fit(x, y).score(torch.cat([x, x]), torch.cat([y, y + 1]))
    assert scores[0] == 0
    assert 1e6 < scores[1] < float("inf")


def test_an_exact_step_has_no_evidence_until_it_breaks():
    """What is predicted up to rounding leaves rounding, and ranks of rounding are no evidence."""
    x = normal(500, 6)
    for y in (x, x @ normal(6, 4, seed=2) + 3):
        step = StepPredictor().fit(x, y)
        assert step.score(x, y).max() == 0
        assert step.score(x, y + 1e-3 * normal(*y.shape, seed=1)).min() > 100


def test_a_fit_on_few_samples_is_no_exact_step():
    """Least squares through as many points as channels predicts anything without an error."""
    x, y = normal(20, 12), normal(20, 3, seed=1)
    assert StepPredictor().fit(x, y).score(normal(50, 12, seed=2), normal(50, 3, seed=3)).min() > 0


def test_samples_do_not_see_each_other():
    states, new = chain(200), chain(16, seed=8)
    innovation = Innovation().fit(states)
    together = innovation.score(new)
    alone = torch.cat(
        [innovation.score({k: v[i : i + 1] for k, v in new.items()}) for i in range(16)]
    )
    assert torch.allclose(alone, together, rtol=1e-5)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    shuffled = innovation.score({k: v[order] for k, v in new.items()})
    assert torch.allclose(shuffled, together[order], rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("layer", ["0", "1"])
def test_a_bad_number_is_never_a_finite_score(bad, layer):
    states, new = chain(100), chain(4, seed=8)
    new[layer][2, 1] = bad
    scores = Innovation().fit(states).score(new)
    touched = [0] if layer == "0" else [0, 1]
    assert not bool(scores[2, touched].isfinite().any())
    assert bool(scores[[0, 1, 3]].isfinite().all())


def test_a_refused_batch_changes_nothing():
    innovation, new = Innovation().fit(chain(100)), chain(5, seed=8)
    before = innovation.score(new)
    for bad, error in [
        (chain(10) | {"2": torch.full((10, 3), float("nan"))}, CalibrationError),
        (chain(10, (4, 6, 5)), StateError),
        (chain(10, (4, 6)), StateError),
    ]:
        with pytest.raises(error):
            innovation.partial_fit(bad)
        assert torch.equal(innovation.score(new), before)
    with pytest.raises(CalibrationError, match="NaN"):
        innovation.fit(chain(10) | {"2": torch.full((10, 3), float("nan"))})
    assert torch.equal(innovation.score(new), before)


def test_clear_errors():
    step = StepPredictor()
    with pytest.raises(NotFittedError, match="fit"):
        step.score(normal(2, 3), normal(2, 3))
    with pytest.raises(NotFittedError, match="fit"):
        Innovation().score(chain(5))
    with pytest.raises(StateError, match="expected 4 samples, got 5"):
        step.fit(normal(4, 3), normal(5, 3))
    step.fit(normal(40, 3), normal(40, 2))
    for x, y in [((4, 2), (4, 2)), ((4, 3), (4, 3)), ((4, 3), (5, 2)), ((3,), (4, 2))]:
        with pytest.raises(StateError, match=r"expected shapes \(N, 3\), \(N, 2\)"):
            step.score(normal(*x), normal(*y))
    with pytest.raises(StateError, match="expected widths"):
        step.merge(StepPredictor().fit(normal(4, 2), normal(4, 2)))
    with pytest.raises(StateError, match="ridge"):
        step.merge(StepPredictor(ridge=0.5).fit(normal(4, 3), normal(4, 2)))
    for ridge in (-1, float("nan")):
        with pytest.raises(StateError, match="ridge"):
            StepPredictor(ridge)
    with pytest.raises(StateError, match=r"expected the steps \['0->1', '1->2'\]"):
        Innovation().fit(chain(9)).score(dict(reversed(chain(9).items())))


def test_half_precision_states():
    states = {k: v.half() for k, v in chain(200).items()}
    new = {k: v.half() for k, v in chain(20, seed=8).items()}
    wide = {k: v.double() for k, v in new.items()}
    innovation = Innovation().fit(states)
    assert torch.allclose(innovation.score(new), innovation.score(wide), rtol=1e-5)

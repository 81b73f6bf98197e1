"""DIME: the plane against scikit-learn, distances against their definitions, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import mahalanobis
from sklearn.decomposition import PCA

from deepdrift.baselines import DIME
from deepdrift.baselines.plane import choose_rank, percentile_levels
from deepdrift.errors import CalibrationError, NotFittedError, ReferenceFileError, StateError


def features(n, seed=0, d=12, mean=5.0):
    """Normal features whose standard deviations fall from 4 by a third each, off the origin."""
    g = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(99)))[0]
    scales = 4 * (2 / 3) ** torch.arange(d)
    return ((torch.randn(n, d, generator=g) * scales) @ mixing + mean).double()


# ---- the plane ----


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.99, 0.999, 3])
def test_the_plane_is_scikit_learns(wanted):
    x = features(200)
    dime, pca = DIME(wanted).fit(x), PCA(n_components=wanted, svd_solver="full").fit(x)
    assert dime.rank == pca.n_components_ == dime.hyperplane_basis_vectors.shape[1]
    share = torch.from_numpy(pca.explained_variance_ratio_)
    torch.testing.assert_close(dime.explained_variance, share, rtol=1e-9, atol=0)
    cosines = (dime.hyperplane_basis_vectors.T @ torch.from_numpy(pca.components_.T)).diagonal()
    torch.testing.assert_close(cosines.abs(), torch.ones(dime.rank).double(), rtol=0, atol=1e-9)
    back = torch.from_numpy(pca.inverse_transform(pca.transform(features(20, 1))))
    ours = dime.inverse_transform(dime.transform(features(20, 1)))
    torch.testing.assert_close(ours, back, rtol=0, atol=1e-9)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), st.floats(0.01, 1.0))
def test_rank_is_the_smallest_that_reaches_the_share(scales, wanted):
    # An orthogonal design: the singular values are known in advance.
    corners = torch.eye(len(scales)).double() * torch.tensor(scales).double()
    dime = DIME(wanted).fit(torch.cat([corners, -corners]))
    shares = np.sort(np.square(scales))[::-1] / np.square(scales).sum()
    reached = shares.cumsum()
    assert reached[dime.rank - 1] >= wanted - 1e-11
    assert dime.rank == 1 or reached[dime.rank - 2] < wanted + 1e-11


def test_rounding_of_the_sum_adds_no_direction():
    shares = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    assert float(shares.cumsum(0)[1]) < 0.9  # by one unit in the last place
    assert choose_rank(shares, 0.9) == 2


def test_a_share_of_variance_is_not_always_rank_one():
    ranks = [DIME(share).fit(features(300)).rank for share in (0.3, 0.6, 0.9, 0.99, 1.0)]
    assert ranks == sorted(set(ranks)) and ranks[0] == 1 and ranks[-1] == 12


def test_one_is_a_rank_and_one_point_zero_all_of_the_variance():
    assert (DIME(1).fit(features(50)).rank, DIME(1.0).fit(features(50)).rank) == (1, 12)
    assert DIME(np.float32(0.5)).fit(features(50)).rank == DIME(0.5).fit(features(50)).rank
    assert DIME(np.int64(2)).fit(features(50)).rank == 2


# ---- the distances ----


def test_distances_are_their_definitions():
    x, new = features(200), features(30, 1) + 0.5
    dime = DIME(4).fit(x)
    _, _, rows = np.linalg.svd((x - x.mean(0)).numpy())
    basis = rows[:4].T
    centred = (new - x.mean(0)).numpy()
    out = np.linalg.norm(centred @ (np.eye(12) - basis @ basis.T), axis=1)
    np.testing.assert_allclose(dime.distance_to_hyperplane(new), out, rtol=1e-9)
    np.testing.assert_allclose(dime.residual_sum_of_squares(new), out**2, rtol=1e-9)
    by_feature = dime.residual_sum_of_squares(new, dim=0)
    assert by_feature.shape == (12,) and float(by_feature.sum()) == pytest.approx((out**2).sum())

    scores = (x - x.mean(0)).numpy() @ basis
    precision = np.linalg.inv(np.cov(scores.T))
    within = [mahalanobis(t, np.zeros(4), precision) for t in centred @ basis]
    np.testing.assert_allclose(dime.distance_within_hyperplane(new), within, rtol=1e-9)


def test_both_distances_make_the_full_mahalanobis_distance_at_full_rank():
    x, new = features(200), features(10, 1)
    dime = DIME(1.0).fit(x)
    precision = np.linalg.inv(np.cov(x.T.numpy()))
    full = [mahalanobis(p, x.mean(0).numpy(), precision) for p in new.numpy()]
    np.testing.assert_allclose(dime.distance_within_hyperplane(new), full, rtol=1e-8)
    assert float(dime.distance_to_hyperplane(new).max()) < 1e-12


def test_uncentred_is_the_plane_through_the_origin():
    x, new = features(200), features(30, 1)
    dime = DIME(3, centered=False).fit(x)
    _, sizes, rows = np.linalg.svd(x.numpy())
    np.testing.assert_allclose(dime.explained_variance, sizes[:3] ** 2 / (sizes**2).sum())
    out = new.numpy() @ (np.eye(12) - rows[:3].T @ rows[:3])
    np.testing.assert_allclose(dime.distance_to_hyperplane(new), np.linalg.norm(out, axis=1))
    scores, t = x.numpy() @ rows[:3].T, new.numpy() @ rows[:3].T
    precision = np.linalg.inv(np.cov(scores.T))
    within = [mahalanobis(row, scores.mean(0), precision) for row in t]
    np.testing.assert_allclose(dime.distance_within_hyperplane(new), within, rtol=1e-9)


def test_moving_all_data_changes_nothing_unless_uncentred():
    x, new = features(100), features(20, 1) + 1
    for name in ("distance_to_hyperplane", "distance_within_hyperplane"):
        near, far = (getattr(DIME(0.9).fit(x + c), name)(new + c) for c in (0.0, 1e4))
        torch.testing.assert_close(near, far, rtol=1e-7, atol=0)
    moved = [DIME(3, centered=False).fit(x + c).distance_to_hyperplane(new + c) for c in (0, 50)]
    assert not torch.allclose(*moved, rtol=0.05)
    mean = x.mean(0) / x.mean(0).norm()
    first = DIME(3, centered=False).fit(x + 50).hyperplane_basis_vectors[:, 0]
    assert float(first @ mean) > 0.99  # without centring the plane is spent on the mean


def test_one_sample_is_scored_like_many():
    dime = DIME(0.9).fit(features(100)).calibrate(features(100, 1))
    new = features(10, 2)
    for method in (dime.distance_to_hyperplane, dime.distance_within_hyperplane, dime.p_values):
        alone = torch.cat([method(row[None]) for row in new])
        torch.testing.assert_close(method(new), alone, rtol=1e-12, atol=0)
        torch.testing.assert_close(method(new.flip(0)), alone.flip(0), rtol=1e-12, atol=0)


# ---- the published calls ----


def test_the_published_calls_run():
    x, x_cal, x_new = (features(100, seed).float() for seed in range(3))
    dime = DIME(explained_variance_threshold=0.99, n_percentiles=5000).fit(x).calibrate(x_cal)
    out = dime.distance_to_hyperplane(x_new, return_probabilities=True)
    within = dime.distance_within_hyperplane(x_new, return_probabilities=True)
    for p in (out, within):
        assert p.shape == (100,) and 0 <= float(p.min()) < 0.2 and 0.8 < float(p.max()) <= 1
    assert DIME(0.99).fit(x, calibrate_against_trainingset=True).p_values(x).shape == (100,)


def test_probability_is_the_percentile_reached():
    x, calibration, new = features(100), features(37, 1), features(50, 2) * 1.1
    dime = DIME(0.9, n_percentiles=101).fit(x).calibrate(calibration)
    for name in ("distance_to_hyperplane", "distance_within_hyperplane"):
        known, distances = (getattr(dime, name)(s).numpy() for s in (calibration, new))
        percentiles = np.percentile(known, np.arange(101))
        expected = [max([k for k in range(101) if percentiles[k] <= d], default=0) / 100
                    for d in distances]  # fmt: skip
        found = getattr(dime, name)(new, return_probabilities=True)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert set(found.tolist()) & {0.0} or float(found.min()) > 0
    top = calibration[dime.distance_to_hyperplane(calibration).argmax()][None]
    assert dime.distance_to_hyperplane(top, return_probabilities=True).item() == 1.0


@pytest.mark.parametrize("n_percentiles", [2, 3, 10])
def test_few_percentiles_are_coarse_but_never_wrong(n_percentiles):
    known = torch.linspace(1, 2, 50).double()
    levels = percentile_levels(known, torch.tensor([0.5, 1.5, 1.99, 2.0, 7.0]), n_percentiles)
    assert levels[0] == 0 and levels[3:].tolist() == [1.0, 1.0]
    assert bool((levels[1:3] < 1).all()) and bool((levels.diff() >= 0).all())


def test_one_calibration_sample_is_enough_for_a_percentile():
    dime = DIME(2).fit(features(50)).calibrate(features(1, 1))
    near, far = features(50).mean(0, keepdim=True), features(1, 2) + 100
    both = dime.distance_to_hyperplane(torch.cat([near, far]), return_probabilities=True)
    assert both.tolist() == [0.0, 1.0]


# ---- conformal p-values ----


def test_p_values_count_calibration_samples_at_least_as_far():
    x, calibration, new = features(100), features(40, 1), features(25, 2)
    dime = DIME(0.9).fit(x).calibrate(calibration)
    alone = {}
    for key, name in (("out", "distance_to_hyperplane"), ("within", "distance_within_hyperplane")):
        known, distances = (getattr(dime, name)(s) for s in (calibration, new))
        alone[key] = [(1 + int((known >= d).sum())) / 41 for d in distances]
        assert dime.p_values(new, key).tolist() == pytest.approx(alone[key])
    both = [min(1, 2 * min(a, b)) for a, b in zip(*alone.values(), strict=True)]
    assert dime.p_values(new).tolist() == pytest.approx(both)
    with pytest.raises(CalibrationError, match="distance: expected 'out', 'within' or 'both'"):
        dime.p_values(new, "inside")


@pytest.mark.parametrize("distance", ["out", "within", "both"])
def test_false_alarm_rate_with_held_out_calibration(distance):
    alarms, trials = 0, 400
    for seed in range(trials):
        x = features(60, seed, d=5)
        dime = DIME(2).fit(x[:40]).calibrate(x[40:59])
        alarms += int(dime.p_values(x[59:], distance) <= 0.1)
    low, high = stats.binom.interval(0.998, trials, 0.1)
    assert alarms <= high and (distance == "both" or alarms >= low)


# ---- bad input ----


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_what_is_not_a_number_is_never_normal(value):
    dime = DIME(0.9).fit(features(60)).calibrate(features(60, 1))
    bad = features(3, 2)
    bad[1, 4] = value
    for method in (dime.distance_to_hyperplane, dime.distance_within_hyperplane):
        distances = method(bad)
        assert distances[1] == math.inf and bool(distances[[0, 2]].isfinite().all())
        assert method(bad, return_probabilities=True)[1] == 1.0
    assert dime.p_values(bad)[1] == 0.0 and bool((dime.p_values(bad)[[0, 2]] > 0).all())


def test_numbers_beyond_float32_squares_are_measured():
    dime = DIME(0.9).fit(features(60)).calibrate(features(60, 1))
    far = features(1, 2).float()
    far[0, 0] = 1e25
    assert 1e23 < dime.distance_to_hyperplane(far).item() < 1e26
    assert dime.distance_to_hyperplane(far, return_probabilities=True).item() == 1.0


def test_normal_data_that_are_not_finite_are_refused():
    bad = features(30)
    bad[3, 3] = math.nan
    with pytest.raises(CalibrationError, match="x: 1 of 30 samples hold NaN"):
        DIME().fit(bad)
    with pytest.raises(CalibrationError, match="x: 1 of 30 samples hold NaN"):
        DIME().fit(features(30)).calibrate(bad)


def test_a_rank_that_the_data_do_not_have():
    low = features(50)[:, :4] @ features(4, 1, d=9)  # four directions in nine features
    for offset in (0.0, 1e6):
        with pytest.raises(CalibrationError, match="rank 5 asked for, but the samples span 4"):
            DIME(5).fit(low + offset)
        assert DIME(1.0).fit(low + offset).rank == 4
    with pytest.raises(CalibrationError, match="rank 6 asked for, but the samples span 5 dir"):
        DIME(6).fit(features(6))  # six points span five directions around their mean


def test_dead_units_and_few_samples_give_finite_distances():
    x = torch.cat([features(40).relu(), torch.zeros(40, 30).double()], dim=1)
    for rank in (3, 0.9, 1.0):
        dime = DIME(rank).fit(x).calibrate(x)
        revived = x[:5].clone()
        revived[:, 20] = 2.0  # a unit that was always silent
        assert bool((dime.distance_to_hyperplane(revived) > 1.99).all())
        assert bool(dime.distance_within_hyperplane(revived).isfinite().all())
        assert dime.distance_to_hyperplane(revived, return_probabilities=True).min() == 1.0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_samples_that_never_vary_span_no_plane(value):
    for n in range(2, 40):  # the mean of equal numbers is not always that number
        with pytest.raises(CalibrationError, match="all equal"):
            DIME().fit(torch.full((n, 3), value).double())


def test_a_direction_without_spread_inside_an_uncentred_plane_stays_visible():
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        x = torch.cat([torch.full((30, 3), 7.1), torch.randn(30, 2, generator=g)], dim=1).double()
        dime = DIME(3, centered=False).fit(x)  # the mean takes one direction, and never varies
        assert float(dime.distance_within_hyperplane(x).max()) < 5
        assert 1e4 < dime.distance_within_hyperplane(1.1 * x[:1]).item() < 1e6


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_samples(n):
    with pytest.raises(CalibrationError, match=f"at least 2 samples, got {n}"):
        DIME().fit(features(n))


def test_another_width():
    dime = DIME().fit(features(30))
    with pytest.raises(StateError, match="x: expected 12 features like the reference, got 3"):
        dime.distance_to_hyperplane(torch.zeros(2, 3))
    with pytest.raises(CalibrationError, match="x: expected 12 features"):
        dime.calibrate(torch.zeros(2, 3))
    with pytest.raises(StateError, match="scores: expected"):
        dime.inverse_transform(torch.zeros(2, 12 + dime.rank))
    assert dime.distance_to_hyperplane(torch.zeros(0, 12)).shape == (0,)


def test_order_of_calls():
    for call in ("transform", "calibrate", "distance_to_hyperplane", "distance_within_hyperplane",
                 "residual_sum_of_squares", "inverse_transform", "p_values"):  # fmt: skip
        with pytest.raises(NotFittedError, match="call fit"):
            getattr(DIME(), call)(features(5))
    dime = DIME().fit(features(30))
    with pytest.raises(NotFittedError, match="call calibrate"):
        dime.distance_to_hyperplane(features(5), return_probabilities=True)
    with pytest.raises(NotFittedError, match="call calibrate"):
        dime.p_values(features(5))
    with pytest.raises(NotFittedError, match="call calibrate"):  # a new plane, an old calibration
        dime.calibrate(features(30, 1)).fit(features(30, 2)).p_values(features(5))


@pytest.mark.parametrize("wanted", [0.0, -0.1, 1.1, 0, -2, True, "0.9", None, math.nan])
def test_wrong_thresholds(wanted):
    with pytest.raises(ValueError, match="explained_variance_threshold: expected a share"):
        DIME(wanted)


@pytest.mark.parametrize("n", [1, 0, -3, 2.5])
def test_wrong_percentiles(n):
    with pytest.raises(ValueError, match="n_percentiles: expected a whole number >= 2"):
        DIME(0.9, n)


def test_arrays_are_taken_and_no_graph_is_kept():
    x = features(50).requires_grad_()
    dime = DIME(3).fit(x)
    assert not dime.hyperplane_basis_vectors.requires_grad
    assert not dime.distance_to_hyperplane(x).requires_grad
    by_array = DIME(3).fit(x.detach().numpy()).distance_to_hyperplane(x.detach().numpy())
    assert by_array.equal(dime.distance_to_hyperplane(x))


# ---- files ----


@pytest.mark.parametrize("wanted", [0.9, 3])
@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("centered", [True, False])
def test_saved_and_loaded_gives_the_same_answers(wanted, calibrated, centered, tmp_path):
    dime, new = DIME(wanted, 123, centered=centered).fit(features(50)), features(20, 2)
    if calibrated:
        dime.calibrate(features(50, 1))
    dime.save(tmp_path / "dime.safetensors")
    loaded = DIME.load(tmp_path / "dime.safetensors")
    for name in ("distance_to_hyperplane", "distance_within_hyperplane"):
        assert getattr(loaded, name)(new).equal(getattr(dime, name)(new))
        if calibrated:
            both = (getattr(d, name)(new, return_probabilities=True) for d in (loaded, dime))
            assert torch.equal(*both)
    settings = ("explained_variance_threshold", "n_percentiles", "centered", "rank", "n_samples")
    assert all(getattr(loaded, k) == getattr(dime, k) for k in settings)
    assert type(loaded.explained_variance_threshold) is type(wanted)
    if not calibrated:
        with pytest.raises(NotFittedError, match="call calibrate"):
            loaded.p_values(new)


def test_files_that_are_something_else(tmp_path):
    with pytest.raises(NotFittedError, match="call fit"):
        DIME().save(tmp_path / "dime.safetensors")
    with pytest.raises(ReferenceFileError, match="no file"):
        DIME.load(tmp_path / "dime.safetensors")
    (tmp_path / "other").write_bytes(b"no tensors")
    with pytest.raises(ReferenceFileError, match="damaged"):
        DIME.load(tmp_path / "other")

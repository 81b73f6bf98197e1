"""Every rival against a formula of its own: numpy in float64, scikit-learn, or the library raw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_ood import detector as library
from scipy.special import logsumexp, softmax
from sklearn.neighbors import NearestNeighbors
from torch import nn

from deepdrift.baselines import DIME
from deepdrift.errors import StateError
from deepdrift.lab.fair_comparison.detectors import DETECTORS, Observed, fit_detectors, observe
from deepdrift.lab.networks.models import SmallResNet

CLASSES, WIDTH = 3, 12
POSITIVE_ONLY = {"ASH-S", "SCALE"}


class Toy(nn.Module):
    """Two hidden layers and a head; features behind a ReLU."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
        self.second = nn.Sequential(nn.Linear(10, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


def toy():
    torch.manual_seed(0)
    return Toy().eval()


def images(n, seed, spread=1.0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    centres = torch.randn(CLASSES, 1, 4, 4, generator=torch.Generator().manual_seed(99))
    return centres[labels] + spread * torch.randn(n, 1, 4, 4, generator=g), labels


NET = toy()
FIT, CALIBRATION, TEST = (
    observe(NET, *(lambda pair: (pair[0], ["first", "second"], pair[1]))(images(n, seed, spread)))
    for n, seed, spread in ((300, 0, 1.0), (400, 1, 1.0), (120, 2, 1.7))
)
FITTED = fit_detectors(NET, FIT, CALIBRATION)
Z_FIT, Z, Y = (x.double().numpy() for x in (FIT.features, TEST.features, FIT.labels))
LOGITS = TEST.logits.double().numpy()


def scores(name, x=TEST):
    return FITTED[name].score(x).numpy()


# ---- what one forward pass shows ----


def test_observe_takes_the_input_of_the_head_and_leaves_no_hook():
    network = toy()
    seen = observe(network, TEST.images, ["first", "second"], TEST.labels)
    with torch.no_grad():
        first = network.first(TEST.images)
        features = network.second(first)
    torch.testing.assert_close(seen.features, features)
    torch.testing.assert_close(seen.logits, network.head(features).detach())
    torch.testing.assert_close(seen.states["first"], first)
    assert list(seen.states) == ["first", "second"] and len(seen) == 120
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    assert not any(before or after for before, after in hooks)


def test_observe_removes_its_hook_when_the_run_fails():
    network = toy()
    with pytest.raises(RuntimeError):
        observe(network, torch.zeros(5, 1, 9, 9), ["first"])
    assert not network.head._forward_pre_hooks


def test_observe_of_a_shipped_kind_gives_its_penultimate_features():
    torch.manual_seed(0)
    network = SmallResNet(4).eval()
    x = torch.rand(300, 1, 28, 28)  # more than one batch
    seen = observe(network, x, ["stem"])
    with torch.no_grad():
        torch.testing.assert_close(seen.features, network.features(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.logits, network.head(seen.features).detach())


def test_rows_of_an_observation():
    part = TEST[torch.tensor([5, 2])]
    assert torch.equal(part.features, TEST.features[[5, 2]])
    assert torch.equal(part.states["first"], TEST.states["first"][[5, 2]])
    assert part.labels.tolist() == TEST.labels[[5, 2]].tolist() and len(part) == 2


# ---- rivals on logits ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MSP", -softmax(LOGITS, axis=1).max(axis=1)),
        ("max logit", -LOGITS.max(axis=1)),
        ("energy", -logsumexp(LOGITS, axis=1)),
    ],
)
def test_scores_of_logits(name, expected):
    np.testing.assert_allclose(scores(name), expected, rtol=1e-12)


# ---- rivals on features ----


def test_knn_is_the_distance_to_one_neighbour_in_a_thousand_on_the_unit_sphere():
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    normal = Z_FIT / np.linalg.norm(Z_FIT, axis=1, keepdims=True)
    distance, _ = (
        NearestNeighbors(n_neighbors=max(1, round(len(Z_FIT) / 1000)), algorithm="brute")
        .fit(normal)
        .kneighbors(unit)
    )
    np.testing.assert_allclose(scores("kNN"), distance[:, -1], rtol=1e-4, atol=1e-6)


def squared_distances(z, centres, precision):
    gaps = z[:, None] - centres[None]
    return np.einsum("nkd,de,nke->nk", gaps, precision, gaps)


def class_distances(z_fit, z):
    centres = np.stack([z_fit[Y == c].mean(axis=0) for c in range(CLASSES)])
    scatter = sum(np.cov(z_fit[Y == c].T, bias=True) * (Y == c).sum() for c in range(CLASSES))
    return squared_distances(z, centres, np.linalg.pinv(scatter, rcond=1e-9, hermitian=True))


def relative_distances(z_fit, z):
    total = np.cov(z_fit.T, bias=True) * len(z_fit)
    background = squared_distances(
        z, z_fit.mean(axis=0)[None], np.linalg.pinv(total, rcond=1e-9, hermitian=True)
    )
    return class_distances(z_fit, z) - background


def test_mahalanobis_is_half_the_squared_distance_to_the_nearest_class():
    expected = class_distances(Z_FIT, Z).min(axis=1) / 2
    np.testing.assert_allclose(scores("Mahalanobis"), expected, rtol=1e-3)


def test_rmd_subtracts_the_distance_to_the_background():
    expected = relative_distances(Z_FIT, Z).min(axis=1)
    np.testing.assert_allclose(scores("RMD"), expected, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("name", ["Mahalanobis", "RMD"])
def test_whitening_changes_nothing_where_the_library_alone_is_exact(name):
    raw = getattr(library, name)(None).fit_features(FIT.features, FIT.labels)
    same = scores(name)
    expected = raw.predict_features(TEST.features).double().numpy()
    np.testing.assert_allclose(same, expected, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["Mahalanobis", "RMD"])
def test_whitening_keeps_the_rival_right_where_float32_breaks_it(name):
    """Features of very different sizes: the formula in float64 does not mind, nor may we."""
    sizes = torch.logspace(-2.5, 2, WIDTH)
    head = nn.Linear(WIDTH, CLASSES)
    stub = nn.Module()
    stub.head = head
    g = torch.Generator().manual_seed(3)
    mixed = torch.randn(WIDTH, WIDTH, generator=g)
    fit, calibration, test = (
        Observed(x.images, x.states, (torch.randn(len(x), WIDTH, generator=g) @ mixed) * sizes,
                 x.logits, x.labels)
        for x in (FIT, CALIBRATION, TEST)
    )  # fmt: skip
    fitted = fit_detectors(stub, fit, calibration, [name])[name]
    # in units of each feature's size, where float64 has digits to spare
    z_fit, z = ((x.features / sizes).double().numpy() for x in (fit, test))
    formula = {"Mahalanobis": lambda *a: class_distances(*a) / 2, "RMD": relative_distances}[name]
    expected = formula(z_fit, z).min(axis=1)
    got = fitted.score(test).numpy()
    np.testing.assert_allclose(got, expected, rtol=5e-3, atol=1e-3 * np.abs(expected).max())
    raw = getattr(library, name)(None).fit_features(fit.features, fit.labels)
    off = raw.predict_features(test.features).double().numpy() - expected
    assert np.abs(off).max() > 10 * np.abs(got - expected).max(), "the raw call is no worse here"


def test_gmm_is_minus_the_log_likelihood_of_one_gaussian_per_class():
    from scipy.stats import multivariate_normal

    densities = [
        math.log((Y == c).mean()) + multivariate_normal(
            Z_FIT[Y == c].mean(axis=0),
            np.cov(Z_FIT[Y == c].T, bias=True) + 1e-6 * np.eye(WIDTH),
        ).logpdf(Z)
        for c in range(CLASSES)
    ]  # fmt: skip
    np.testing.assert_allclose(scores("GMM"), -logsumexp(densities, axis=0), rtol=1e-6)


def test_vim_is_the_scaled_residual_minus_the_energy():
    w, b = (p.detach().double().numpy() for p in (NET.head.weight, NET.head.bias))
    origin = -np.linalg.pinv(w) @ b
    centred = Z_FIT - origin
    _, vectors = np.linalg.eigh(centred.T @ centred)
    rest = vectors[:, : WIDTH - WIDTH // 2]
    largest = FIT.logits.double().numpy().max(axis=1)
    alpha = largest.mean() / np.linalg.norm(centred @ rest, axis=1).mean()
    expected = alpha * np.linalg.norm((Z - origin) @ rest, axis=1) - logsumexp(LOGITS, axis=1)
    np.testing.assert_allclose(scores("ViM"), expected, rtol=1e-3, atol=1e-4)


def test_vim_of_one_network_does_not_remember_another():
    other = toy()
    with torch.no_grad():
        other.head.weight.mul_(3)
        logits = [other.head(x.features) for x in (FIT, CALIBRATION)]
    parts = [
        Observed(x.images, x.states, x.features, z, x.labels)
        for x, z in zip((FIT, CALIBRATION), logits, strict=True)
    ]
    before = scores("ViM").copy()
    fit_detectors(other, *parts, ["ViM"])
    np.testing.assert_array_equal(scores("ViM"), before)


# ---- rivals that change the features ----


def energy_of(features):
    with torch.no_grad():
        return -NET.head(torch.as_tensor(features).float()).double().logsumexp(dim=1).numpy()


def test_react_clips_at_the_90th_percentile_of_all_normal_activations():
    expected = energy_of(np.minimum(Z, np.percentile(Z_FIT, 90)))
    np.testing.assert_allclose(scores("ReAct"), expected, rtol=1e-5)


def test_ash_s_and_scale_by_formula():
    kept = WIDTH - round(0.65 * WIDTH)
    largest = np.sort(Z, axis=1)[:, -kept:]
    factor = np.exp(Z.sum(axis=1) / largest.sum(axis=1))[:, None]
    pruned = np.where(Z >= largest[:, :1], Z, 0.0)
    np.testing.assert_allclose(scores("SCALE"), energy_of(factor * Z), rtol=1e-5)
    np.testing.assert_allclose(scores("ASH-S"), energy_of(factor * pruned), rtol=1e-5)


def test_shaping_is_left_out_where_features_are_negative():
    signed = [
        Observed(x.images, x.states, x.features - 1, x.logits, x.labels) for x in (FIT, CALIBRATION)
    ]
    assert set(FITTED) - set(fit_detectors(NET, *signed)) == POSITIVE_ONLY
    assert set(FITTED) == set(DETECTORS)


# ---- velocity, DIME, trivial scores, by hand ----


def by_hand(states):
    n = len(next(iter(states.values())))
    return Observed(torch.zeros(n, 1, 2, 2), states, torch.ones(n, 2), torch.zeros(n, 2))


def test_velocity_by_hand():
    """From length 2 to 5 to 4, with a turn; then from (0, 4) to three numbers of length 5."""
    states = {
        "a": torch.tensor([[0.0, 2.0]]),
        "b": torch.tensor([[0.0, 5.0]]),
        "c": torch.tensor([[4.0, 5.0]]),
        "wide": torch.tensor([[0.0, 3.0, 4.0]]),
    }
    x = by_hand(states)
    steps = [3.0, 4.0, math.hypot(4, 5) - 5]  # the last one joins two widths: lengths only
    found = {
        kind: DETECTORS[f"velocity, {kind}"].fit(None, None, None)(x).item()
        for kind in ("peak", "sum", "relative")
    }
    assert found["peak"] == pytest.approx(4.0)
    assert found["sum"] == pytest.approx(sum(steps))
    assert found["relative"] == pytest.approx(3 / 2)


def test_dime_is_the_plane_of_the_penultimate_features():
    dime = DIME().fit(FIT.features)
    np.testing.assert_allclose(scores("DIME, outside"), dime.distance_to_hyperplane(TEST.features))
    np.testing.assert_allclose(
        scores("DIME, within"), dime.distance_within_hyperplane(TEST.features)
    )


def trivial(name, pixels):
    x = torch.tensor(pixels)
    x = x.view(len(x), 1, *x.shape[1:])
    n = len(x)
    seen = Observed(x, {"a": torch.zeros(n, 2)}, torch.zeros(n, 2), torch.zeros(n, 2))
    return DETECTORS[name].fit(None, None, None)(seen).tolist()


def test_gradient_energy_of_four_pixels():
    # rows (0, 1) and (3, 5): down 9 + 16, across 1 + 4
    assert trivial("gradient energy", [[[0.0, 1.0], [3.0, 5.0]]]) == [30.0]
    assert trivial("gradient energy", [[[0.7, 0.7], [0.7, 0.7]]]) == [0.0]


def test_input_norm_of_four_pixels():
    assert trivial("input norm", [[[1.0, 1.0], [1.0, 1.0]], [[0.0, 3.0], [4.0, 0.0]]]) == [2, 5]


def test_random_scores_belong_to_the_image_and_are_uniform():
    pixels = torch.rand(2000, 2, 2, generator=torch.Generator().manual_seed(0)).tolist()
    found = trivial("random", pixels)
    assert trivial("random", pixels[::-1]) == found[::-1]
    assert trivial("random", (torch.tensor(pixels) + 1).tolist()) != found
    from scipy.stats import kstest

    assert kstest(found, "uniform").pvalue > 0.01 and len(set(found)) == 2000


# ---- all of them ----


@pytest.mark.parametrize("name", DETECTORS)
def test_calibration_scores_are_the_score_of_calibration_images(name):
    """Ours may use one half of them for another purpose; none may invent any."""
    own = scores(name, CALIBRATION)
    kept = FITTED[name].normal_scores.numpy()
    assert len(kept) >= len(own) // 2 - 1
    if DETECTORS[name].family not in ("ours", "multi-layer"):
        np.testing.assert_array_equal(kept, own)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_depends_on_its_image_alone(name):
    rows = torch.tensor([7, 3, 50])
    np.testing.assert_allclose(scores(name, TEST[rows]), scores(name)[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_not_a_number_is_the_most_unusual_and_its_neighbours_keep_theirs(name, bad):
    broken = Observed(
        TEST.images.clone(),
        {k: v.clone() for k, v in TEST.states.items()},
        TEST.features.clone(),
        TEST.logits.clone(),
    )
    broken.images[0, 0, 0, 0] = bad
    broken.states["first"][1, 0] = bad
    broken.features[2, 0] = bad
    broken.logits[3, 1] = bad
    found = scores(name, broken)
    assert np.isposinf(found[:4]).all()
    np.testing.assert_allclose(found[4:], scores(name)[4:], rtol=1e-5, atol=1e-6)


def test_a_batch_without_one_finite_image():
    broken = Observed(
        torch.full_like(TEST.images[:2], math.nan), {k: v[:2] for k, v in TEST.states.items()},
        TEST.features[:2], TEST.logits[:2],
    )  # fmt: skip
    for name in FITTED:
        assert FITTED[name].score(broken).tolist() == [math.inf, math.inf]


def test_unknown_names_and_missing_labels_are_refused():
    with pytest.raises(StateError, match=r"names: expected some of .*energy.* got \['enrgy'\]"):
        fit_detectors(NET, FIT, CALIBRATION, ["MSP", "enrgy"])
    bare = Observed(FIT.images, FIT.states, FIT.features, FIT.logits)
    with pytest.raises(StateError, match="fit: expected labels, got none"):
        fit_detectors(NET, bare, CALIBRATION)


def test_names_keep_their_order():
    assert list(fit_detectors(NET, FIT, CALIBRATION, ["random", "MSP"])) == ["random", "MSP"]
    assert [d.name for d in DETECTORS.values()] == list(DETECTORS)


def test_a_network_without_a_head_is_refused_by_name():
    with pytest.raises(StateError, match="expected a linear layer named head, Sequential has none"):
        observe(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.zeros(3, 2), ["0"])


@pytest.mark.parametrize("name", DETECTORS)
def test_the_card_says_whether_labels_must_be_there(name):
    bare = Observed(FIT.images, FIT.states, FIT.features, FIT.logits)
    try:
        DETECTORS[name].fit(bare, CALIBRATION, NET.head)
        works = True
    except Exception:
        works = False
    if DETECTORS[name].card.labels != "no":  # the package asks for labels also where it needs none
        assert works == (DETECTORS[name].card.labels == "if any")


@pytest.mark.parametrize("name", DETECTORS)
def test_the_card_says_whether_labels_matter(name):
    """With one class for all images a score that needs labels fails or changes, others do not."""
    one_class = torch.zeros_like(FIT.labels)
    bare = Observed(FIT.images, FIT.states, FIT.features, FIT.logits, one_class)
    try:
        found = fit_detectors(NET, bare, CALIBRATION, [name])[name].score(TEST).numpy()
        same = np.allclose(found, scores(name), rtol=1e-4, atol=1e-5)
    except Exception:
        same = False
    assert same == (DETECTORS[name].card.labels == "no")

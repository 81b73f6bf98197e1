"""Similarities against sets, NumPy, SciPy, scikit-image, and against every pair of sets."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import structural_similarity

from deepdrift.attribution import (
    AttributionError,
    chance_iou,
    pearson,
    saliency,
    similarity,
    spearman,
    ssim,
    top_iou,
)

G = torch.Generator().manual_seed(0)
A, B = torch.rand(2, 12, 16, 9, generator=G)
B = 0.5 * A + 0.5 * B
TIED = (4 * A).floor(), (4 * B).floor()  # whole numbers: many ties
EMPTY, CONSTANT = torch.zeros(1, 16, 9), torch.full((1, 16, 9), 0.3)
ALL = {"iou": top_iou, "pearson": pearson, "spearman": spearman, "ssim": ssim}


@pytest.mark.parametrize("q", [0.01, 0.2, 0.5, 1.0])
def test_overlap_of_sets(q):
    k = round(q * 144)
    tops = [[set(m.flatten().argsort()[-k:].tolist()) for m in maps] for maps in (A, B)]
    expected = [len(a & b) / len(a | b) for a, b in zip(*tops, strict=True)]
    assert top_iou(A, B, q).tolist() == pytest.approx(expected)


def test_ties_share_the_last_places():
    a = torch.tensor([[[3.0, 2.0, 2.0, 1.0]]]).view(1, 2, 2)
    b = torch.tensor([[[3.0, 2.0, 1.0, 1.0]]]).view(1, 2, 2)
    # two places: a has pixel 0 and a half of 1 and of 2; b has 0 and 1: (1 + .5) / (1 + 1 + .5)
    assert top_iou(a, b, 0.5).tolist() == pytest.approx([1.5 / 2.5])
    assert top_iou(a, a, 0.5).tolist() == [1.0]
    turned = a.flip(2)  # no order of the pixels is preferred
    assert top_iou(turned, b.flip(2), 0.5).tolist() == pytest.approx([1.5 / 2.5])


def test_zeros_are_never_at_the_top():
    """With argsort two maps of one bright pixel each share the same zeros."""
    a, b = torch.zeros(2, 1, 10, 10)
    a[0, 0, 0], b[0, 9, 9] = 1, 1
    assert top_iou(a, b).tolist() == [0.0]
    assert top_iou(a, a).tolist() == [1.0]


@pytest.mark.parametrize(("n", "k"), [(5, 1), (6, 2), (6, 5), (7, 3), (8, 8)])
def test_chance_is_the_mean_over_every_set(n, k):
    mine = set(range(k))
    found = [len(mine & set(s)) / len(mine | set(s)) for s in itertools.combinations(range(n), k)]
    assert chance_iou(n, k / n) == pytest.approx(np.mean(found))


def test_chance_of_many_pixels():
    assert chance_iou(10**6) == pytest.approx(0.2 / 1.8, abs=1e-6)
    assert chance_iou(28 * 28) == pytest.approx(0.11155, abs=5e-6)
    g = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 1000, 28, 28, generator=g)
    found = top_iou(a, b)
    error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean()) - chance_iou(784)) < 4 * error


@pytest.mark.parametrize(("a", "b"), [(A, B), TIED], ids=["distinct", "tied"])
def test_correlations(a, b):
    flat = [m.flatten(1).double().numpy() for m in (a, b)]
    pairs = list(zip(*flat, strict=True))
    assert pearson(a, b).tolist() == pytest.approx([np.corrcoef(x, y)[0, 1] for x, y in pairs])
    expected = [stats.spearmanr(x, y).statistic for x, y in pairs]
    assert spearman(a, b).tolist() == pytest.approx(expected)


def test_structural_similarity():
    expected = [
        structural_similarity((x / x.max()).double().numpy(), (y / y.max()).double().numpy(),
                              data_range=1.0)
        for x, y in zip(A, B, strict=True)
    ]  # fmt: skip
    assert ssim(A, B).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_scale_and_order_do_not_matter_and_a_map_is_like_itself(name):
    measure = ALL[name]
    assert torch.allclose(measure(A, B), measure(B, A))
    assert torch.allclose(measure(A, B), measure(1e-12 * A.double(), 1e6 * B.double()))
    assert measure(A, A).tolist() == pytest.approx([1.0] * 12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("flat", [EMPTY, CONSTANT], ids=["empty", "constant"])
def test_a_flat_map_is_like_nothing(name, flat):
    """Ranks by argsort call two empty maps alike, 1.0."""
    rest = A[1:]
    for a, b in ((flat, A[:1]), (A[:1], flat), (flat, flat)):
        found = ALL[name](torch.cat([a, rest]), torch.cat([b, rest]))
        assert found.isnan().tolist() == [True] + [False] * 11


def test_rounding_is_no_structure():
    noise = CONSTANT * (1 + 1e-7 * torch.rand(1, 16, 9, generator=G).double())
    assert all(bool(measure(noise, noise).isnan()) for measure in ALL.values())


def test_the_four_at_once_and_what_they_take(cnn, images):
    found = similarity(A, B, q=0.1)
    assert list(found) == list(ALL)
    assert torch.equal(found["iou"], top_iou(A, B, 0.1))
    assert all(torch.equal(found[k], ALL[k](A, B)) for k in ("pearson", "spearman", "ssim"))
    assert all(v.dtype == torch.float64 and v.shape == (12,) for v in found.values())
    explained = saliency(cnn, images)
    whole, maps = similarity(explained, explained.maps), explained.maps[:, None].numpy()
    again = similarity(maps, explained)
    assert all(torch.equal(whole[k], again[k]) for k in whole)


@pytest.mark.parametrize(
    ("a", "b", "reason", "words"),
    [
        (A, B[:3], "input", r"one shape, got \(12, 16, 9\) and \(3, 16, 9\)"),
        (-A, B, "input", "a: has negative values.*abs"),
        (A, B * math.nan, "not_finite", "b: has NaN"),
        (torch.rand(4, 1, 64), B, "embedding_axis", r"got shape \(4, 1, 64\).*use grad_cam"),
        (torch.rand(4, 64), B, "embedding_axis", "embedding dimensions"),
        (torch.rand(4, 3, 8, 8), B, "input", r"expected maps \(N, H, W\)"),
        (A[:0], B[:0], "input", r"expected maps \(N, H, W\)"),
    ],
)
def test_what_are_no_maps(a, b, reason, words):
    for measure in ALL.values():
        with pytest.raises(AttributionError, match=words) as caught:
            measure(a, b)
        assert caught.value.reason == reason


@pytest.mark.parametrize("q", [0, -0.2, 1.1, math.nan])
def test_no_such_share(q):
    with pytest.raises(AttributionError, match="q: expected a share"):
        top_iou(A, B, q)
    with pytest.raises(AttributionError, match="q: expected a share"):
        chance_iou(10, q)


def test_other_bad_arguments():
    with pytest.raises(AttributionError, match="n_pixels"):
        chance_iou(0)
    with pytest.raises(AttributionError, match="windows of 7 x 7"):
        ssim(A[:, :6], B[:, :6])

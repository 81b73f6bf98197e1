"""Layer distance against numpy, and the laws it must obey."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from deepdrift import LayerDistance
from deepdrift.errors import CalibrationError, NotFittedError, StateError
from deepdrift.scores.distance import check_labels
from deepdrift.scores.moments import shrinkage


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(n, width=5, n_classes=3, seed=0, shift=0.0):
    """States around class means, correlated within a class; labels beside them."""
    labels = torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed + 500))
    means = 4 * normal(n_classes, width, seed=900)
    z = normal(n, width, seed=seed) @ normal(width, width, seed=901) + means[labels] + shift
    return z, labels


def numpy_distance(z, labels, new):
    z, labels, new = (np.asarray(v, dtype=np.float64) for v in (z, labels, new))
    means = {c: z[labels == c].mean(axis=0) for c in np.unique(labels)}
    within = z - np.stack([means[c] for c in labels])
    s = within.T @ within / len(z)
    w = shrinkage(torch.tensor(s), len(z))
    inverse = np.linalg.inv((1 - w) * s + w * np.trace(s) / len(s) * np.eye(len(s)))
    gaps = [new - m for m in means.values()]
    return np.min([np.einsum("ni,ij,nj->n", g, inverse, g) for g in gaps], axis=0)


@pytest.mark.parametrize("shift", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("labelled", [True, False])
def test_against_numpy(shift, labelled):
    (z, labels), (new, _) = classes(300, shift=shift), classes(40, seed=7, shift=shift)
    labels = labels if labelled else None
    found = LayerDistance().fit({"a": z}, labels).score({"a": new})[:, 0]
    expected = numpy_distance(z, torch.zeros(300) if labels is None else labels, new)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_by_hand():
    # means 0 and 10; within-class variance ((1 + 1) + (1 + 1)) / 4 = 1
    z = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
    distance = LayerDistance().fit([z], torch.tensor([0, 0, 7, 7]))
    scores = distance.score([torch.tensor([[0.0], [3.0], [6.0], [12.0]])])
    assert scores.flatten().tolist() == pytest.approx([0, 9, 16, 4])
    # one class: mean 5, variance (36 + 16 + 16 + 36) / 4 = 26
    assert LayerDistance().fit([z]).score([torch.zeros(1, 1)]).item() == pytest.approx(25 / 26)


def test_scores_of_gaussian_data_follow_chi_squared():
    stretch = torch.linspace(1, 3, 6)
    distance = LayerDistance().fit([normal(20_000, 6) * stretch + 5])
    scores = distance.score([normal(4000, 6, seed=1) * stretch + 5])[:, 0]
    assert stats.kstest(scores.numpy(), stats.chi2(6).cdf).pvalue > 0.01


def test_every_layer_alone():
    (a, labels), (b, _) = classes(100), classes(100, width=3, seed=1)
    together = LayerDistance().fit({"a": a, "b": b}, labels).score({"a": a, "b": b})
    for i, z in enumerate((a, b)):
        assert torch.equal(together[:, i], LayerDistance().fit([z], labels).score([z])[:, 0])


@given(
    cuts=st.lists(st.integers(1, 79), unique=True, max_size=8),
    ordered=st.booleans(),
    labelled=st.booleans(),
)
@hypothesis_settings(max_examples=20)
def test_any_batching_gives_one_fit(cuts, ordered, labelled):
    """Also where batches hold other classes than those before (sorted labels)."""
    z, labels = classes(80)
    if ordered:
        labels, order = labels.sort()
        z = z[order]
    whole = LayerDistance().fit([z], labels if labelled else None)
    parts = LayerDistance()
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
        parts.partial_fit([z[a:b]], labels[a:b] if labelled else None)
    one, many = whole.to_tensors(), parts.to_tensors()
    assert one.keys() == many.keys()
    assert all(torch.allclose(one[k], many[k], rtol=1e-9, atol=1e-9) for k in one)
    new = classes(10, seed=3)[0]
    assert torch.allclose(parts.score([new]), whole.score([new]), rtol=1e-5)


@pytest.mark.parametrize("left", [[0, 1, 2], [0], [2], [0, 2]])
@pytest.mark.parametrize("right", [[0, 1, 2], [1, 2]])
def test_merging_shards_with_different_classes(left, right):
    z, labels = classes(200)
    first = torch.isin(labels, torch.tensor(left)) & (torch.arange(200) < 100)
    second = torch.isin(labels, torch.tensor(right)) & (torch.arange(200) >= 100)
    a = LayerDistance().fit([z[first]], labels[first])
    b = LayerDistance().fit([z[second]], labels[second])
    both = first | second
    whole, before = LayerDistance().fit([z[both]], labels[both]), a.score([z])
    for merged in (a.merge(b), b.merge(a)):
        assert merged.n_samples == int(both.sum())
        assert merged.n_classes == len({*left, *right})
        assert torch.allclose(merged.score([z]), whole.score([z]), rtol=1e-5)
    assert torch.equal(a.score([z]), before)


def test_pooled_is_a_fit_without_labels():
    z, labels = classes(120)
    pooled = LayerDistance().fit([z], labels).pooled()
    plain = LayerDistance().fit([z])
    one, two = pooled.to_tensors(), plain.to_tensors()
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[k], two[k], rtol=1e-9, atol=1e-9) for k in one)
    assert torch.allclose(plain.pooled().score([z]), plain.score([z]), rtol=1e-12)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_labels_for_a_part_of_the_data_do_not_count(order):
    """Unlabelled data are no class; mixing them with class 0 would move its mean."""
    z, labels = classes(120)
    plain = LayerDistance().fit([z])
    parts, shards = LayerDistance(), []
    for rows, labelled in zip((slice(60), slice(60, None)), order, strict=True):
        given_labels = labels[rows] if labelled else None
        parts.partial_fit([z[rows]], given_labels)
        shards.append(LayerDistance().fit([z[rows]], given_labels))
    for mixed in (parts, shards[0].merge(shards[1])):
        assert mixed.n_classes == 1
        assert mixed.n_samples == 120
        assert torch.allclose(mixed.score([z]), plain.score([z]), rtol=1e-5)
    later = parts.partial_fit([z], labels)  # and it stays so
    assert torch.allclose(later.score([z]), plain.partial_fit([z]).score([z]), rtol=1e-5)


def test_round_trip_through_tensors():
    z, labels = classes(100)
    distance = LayerDistance().fit({"a": z, "b": z[:, :2]}, labels + 3)
    again = LayerDistance.from_tensors(distance.to_tensors(), ["a", "b"])
    states = {"a": z, "b": z[:, :2]}
    assert torch.equal(again.score(states), distance.score(states))
    assert (again.n_samples, again.n_classes) == (100, 3)
    again.partial_fit(states, labels + 3)
    distance.partial_fit(states, labels + 3)
    assert torch.equal(again.score(states), distance.score(states))


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_units_rotations_and_reflections_do_not_matter(scale):
    (z, labels), (new, _) = classes(150), classes(20, seed=8)
    expected = LayerDistance().fit([z], labels).score([new])
    q = scale * torch.linalg.qr(normal(5, 5)).Q
    assert torch.allclose(
        LayerDistance().fit([z @ q], labels).score([new @ q]), expected, rtol=1e-3
    )


def test_an_invertible_map_matters_only_through_shrinkage():
    labels = torch.arange(20_000) % 2
    z, new = normal(20_000, 5) + 4 * labels[:, None], normal(20, 5, seed=8)
    expected = LayerDistance().fit([z], labels).score([new])
    stretch = torch.diag(torch.tensor([0.7, 1, 1, 1.5, 2])) @ torch.linalg.qr(normal(5, 5)).Q
    found = LayerDistance().fit([z @ stretch], labels).score([new @ stretch])
    assert torch.allclose(found, expected, rtol=0.03)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("n", [4, 400])
@pytest.mark.parametrize("spoil", ["dead channel", "dead", "constant", "twins", "one direction"])
def test_deficient_layers_give_finite_scores_and_see_new_life(spoil, n, labelled):
    def spoiled(z):
        return {
            "dead channel": lambda: z * torch.tensor([1.0, 0, 1, 1, 1]),
            "dead": lambda: z * 0,
            "constant": lambda: z * 0 + 7.3,
            "twins": lambda: torch.cat([z[:, :3], z[:, 1:3]], dim=1),
            "one direction": lambda: z[:, :1].expand(-1, 5),
        }[spoil]()

    (z, labels), (new, _) = classes(n), classes(50, seed=8)
    distance = LayerDistance().fit([spoiled(z)], labels if labelled else None)
    usual = distance.score([spoiled(new)])
    alive = distance.score([spoiled(new) + 10 * torch.eye(5)[1]])
    assert bool(usual.isfinite().all())
    assert bool(alive.isfinite().all())
    if n == 400:
        assert alive.median() > 10 * usual.median() + 10


def test_rounding_of_a_constant_layer_is_no_signal():
    distance = LayerDistance().fit([torch.full((200, 4), 1000.0)])
    wobble = torch.nextafter(torch.full((1, 4), 1000.0), torch.tensor(torch.inf))
    assert distance.score([wobble]).item() < 10
    assert distance.score([torch.full((1, 4), 1010.0)]).item() > 1e6


def test_samples_do_not_see_each_other():
    (z, labels), (new, _) = classes(200), classes(16, seed=8)
    distance = LayerDistance().fit([z], labels)
    together = distance.score([new])
    alone = torch.cat([distance.score([row[None]]) for row in new])
    assert torch.allclose(alone, together, rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_bad_number_is_never_a_finite_score(bad, labelled):
    z, labels = classes(100)
    distance = LayerDistance().fit({"a": z, "b": z}, labels if labelled else None)
    new = z[:4].clone()
    new[2, 1] = bad
    scores = distance.score({"a": new, "b": z[:4]})
    assert not bool(scores[2, 0].isfinite())
    assert bool(scores[:, 1].isfinite().all())
    assert bool(scores[[0, 1, 3]].isfinite().all())


def test_a_refused_batch_changes_nothing():
    z, labels = classes(100)
    states = {"a": z, "b": z[:, :2]}
    distance = LayerDistance().fit(states, labels)
    before = distance.score(states)
    for bad, bad_labels, error, text in [
        ({"a": z, "b": z[:, :2] * float("nan")}, labels, CalibrationError, "'b'"),
        ({"a": z, "b": z[:, :3]}, labels, StateError, "'b': 3"),
        ({"b": z[:, :2], "a": z}, labels, StateError, "expected layers"),
        (states, labels[:5], CalibrationError, "expected 100 integers"),
        (states, labels - 1, CalibrationError, "class numbers >= 0"),
        (states, labels.float(), CalibrationError, "integers"),
    ]:
        with pytest.raises(error, match=text):
            distance.partial_fit(bad, bad_labels)
        assert torch.equal(distance.score(states), before)
    with pytest.raises(CalibrationError):
        distance.fit(states, labels - 1)
    assert torch.equal(distance.score(states), before)
    with pytest.raises(StateError, match="expected layers of widths"):
        distance.merge(LayerDistance().fit([z]))
    with pytest.raises(StateError, match=r"\{'a': 5, 'b': 2\}"):
        distance.score({"a": z, "b": z})
    with pytest.raises(NotFittedError, match="fit"):
        LayerDistance().score(states)


def test_labels_of_any_integer_type():
    assert check_labels(torch.tensor([3, 1], dtype=torch.uint8), 2).tolist() == [3, 1]
    assert check_labels([0, 1], 2).dtype == torch.int64

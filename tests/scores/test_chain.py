"""Shared sums against numpy, and against the stand-alone scores that keep sums of their own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deepdrift import Innovation, LayerDistance
from deepdrift.errors import CalibrationError, StateError
from deepdrift.scores.chain import ChainSums


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chain(n, widths=(4, 6, 3), n_classes=3, seed=0, shift=0.0):
    labels = torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed + 500))
    states = {"0": normal(n, widths[0], seed=seed) + 4 * normal(n_classes, widths[0])[labels]}
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        turn = normal(a, b, seed=1000 + i) / a**0.5
        states[str(i)] = list(states.values())[-1] @ turn + 0.5 * normal(n, b, seed=seed + i)
    return {k: v + shift for k, v in states.items()}, labels


def rows(states, index):
    return {k: v[index] for k, v in states.items()}


def scores(sums, states):
    distances, steps = sums.maps()
    layers = list(states.values())
    found = [part.squared(z) for part, z in zip(distances, layers, strict=True)]
    pairs = zip(steps, layers, layers[1:], strict=False)
    return torch.stack(found + [part.squared(a, b) for part, a, b in pairs], dim=1)


def closeness(one, two):
    """Largest difference of what follows from the sums, relative to the size of each matrix."""
    assert (one.n, one.n_classes, one.widths) == (two.n, two.n_classes, two.widths)
    worst = 0.0
    for a, b in (
        (one.distance().to_tensors(), two.distance().to_tensors()),
        (one.innovation().steps["0->1"].to_tensors(), two.innovation().steps["0->1"].to_tensors()),
    ):
        assert a.keys() == b.keys()
        for key in a:
            gap = (a[key] - b[key]).abs().max() / a[key].abs().max().clamp(min=1e-300)
            worst = max(worst, float(gap))
    return worst


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("labelled", [False, True])
def test_sums_against_numpy(shift, labelled):
    states, labels = chain(300, shift=shift)
    sums = ChainSums()
    for part in torch.arange(300).split(64):
        sums.add(rows(states, part), labels[part] if labelled else None)
    x = np.concatenate([v.double().numpy() for v in states.values()], axis=1)
    expected = np.cov(x.T, bias=True)
    cut = np.cumsum([0, 4, 6, 3])
    for i, step in enumerate(sums.innovation().steps.values()):
        both = step._moments
        assert np.allclose(both.mean, x.mean(axis=0)[cut[i] : cut[i + 2]], rtol=1e-13)
        block = expected[cut[i] : cut[i + 2], cut[i] : cut[i + 2]]
        assert np.allclose(both.covariance, block, rtol=1e-9, atol=1e-10)
    for i, layer in enumerate(sums.distance()._layers.values()):
        z = x[:, cut[i] : cut[i + 1]]
        groups = [z[labels.numpy() == c] for c in range(3)] if labelled else [z]
        means = [g.mean(axis=0) for g in groups]
        within = sum((g - m).T @ (g - m) for g, m in zip(groups, means, strict=True))
        assert np.allclose(layer.means, means, rtol=1e-13)
        assert np.allclose(layer.scatter, within, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("shift", [0.0, 100.0])
@pytest.mark.parametrize("labelled", [False, True])
def test_scores_are_those_of_the_stand_alone_classes(shift, labelled):
    (states, labels), (new, _) = chain(300, shift=shift), chain(50, seed=9, shift=shift)
    labels = labels if labelled else None
    distance, innovation = LayerDistance().fit(states, labels), Innovation().fit(states)
    expected = torch.cat([distance.score(new), innovation.score(new)], dim=1)
    sums = ChainSums().add(states, labels)
    assert torch.allclose(scores(sums, new), expected, rtol=1e-6)
    copies = torch.cat([sums.distance().score(new), sums.innovation().score(new)], dim=1)
    assert torch.equal(scores(sums, new), copies)


@given(
    cuts=st.lists(st.integers(1, 79), unique=True, max_size=8),
    ordered=st.booleans(),
    labelled=st.booleans(),
)
@hypothesis_settings(max_examples=20, deadline=None)
def test_any_batching_gives_the_same_sums(cuts, ordered, labelled):
    states, labels = chain(80)
    if ordered:
        labels, order = labels.sort()
        states = rows(states, order)
    given_labels = labels if labelled else None
    whole, parts, shards = ChainSums().add(states, given_labels), ChainSums(), []
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
        one = rows(states, slice(a, b)), labels[a:b] if labelled else None
        parts.add(*one)
        shards.append(ChainSums().add(*one))
    merged = shards[0]
    for shard in shards[1:]:
        merged = merged.merge(shard)
    assert closeness(whole, parts) < 1e-12
    assert closeness(whole, merged) < 1e-12


@pytest.mark.parametrize("left", [[0, 1, 2], [0], [0, 2]])
@pytest.mark.parametrize("right", [[0, 1, 2], [1, 2]])
@pytest.mark.parametrize("far", [0.0, 20.0])
def test_merging_shards_with_different_classes(left, right, far):
    states, labels = chain(400)
    first = torch.isin(labels, torch.tensor(left)) & (torch.arange(400) < 150)
    second = torch.isin(labels, torch.tensor(right)) & (torch.arange(400) >= 150)
    states = {k: v + far * second[:, None] for k, v in states.items()}  # another mean
    a = ChainSums().add(rows(states, first), labels[first])
    b = ChainSums().add(rows(states, second), labels[second])
    both = first | second
    whole, before = ChainSums().add(rows(states, both), labels[both]), scores(a, states)
    for merged in (a.merge(b), b.merge(a)):
        assert closeness(merged, whole) < 1e-12
    assert torch.equal(scores(a, states), before)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_labels_for_a_part_of_the_data_do_not_count(order):
    states, labels = chain(120)
    plain, parts, shards = ChainSums().add(states), ChainSums(), []
    for part, labelled in zip((slice(60), slice(60, None)), order, strict=True):
        one = rows(states, part), labels[part] if labelled else None
        parts.add(*one)
        shards.append(ChainSums().add(*one))
    for mixed in (parts, shards[0].merge(shards[1]), ChainSums().add(states, labels).pooled()):
        assert mixed.n_classes == 1
        assert closeness(mixed, plain) < 1e-12
    assert parts.add(states, labels).n_classes == 1


def test_round_trip_through_tensors_is_exact_and_goes_on_learning():
    states, labels = chain(100)
    for given_labels in (labels + 3, None):
        sums = ChainSums().add(states, given_labels)
        again = ChainSums.from_tensors(sums.to_tensors(), sums.layers)
        for _ in range(2):
            mine, theirs = sums.to_tensors(), again.to_tensors()
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[k], theirs[k]) for k in mine)
            assert torch.equal(scores(sums, states), scores(again, states))
            sums.add(states, given_labels), again.add(states, given_labels)
    numbers = sum(v.numel() for v in ChainSums().add(states).to_tensors().values())
    assert numbers == 1 + 2 * (4 + 6 + 3) + (10 + 21 + 6) + (4 * 6 + 6 * 3)


def test_what_was_handed_out_stays_as_it_is():
    states, labels = chain(100)
    sums = ChainSums().add(states, labels)
    before = scores(sums, states)
    handed, tensors = sums.share(), sums.to_tensors()
    kept = {k: v.clone() for k, v in tensors.items()}
    sums.add({k: v + 3 for k, v in states.items()}, labels + 1)
    assert torch.equal(scores(handed, states), before)
    assert all(torch.equal(tensors[k], v) for k, v in kept.items())
    handed.add(states, labels)
    assert sums.n == handed.n == 200
    assert not torch.equal(scores(handed, states), scores(sums, states))


def test_a_single_layer_has_no_steps():
    z = {"0": normal(50, 4)}
    for with_steps in (True, False):
        sums = ChainSums(with_steps).add(z)
        assert sums.maps()[1] == []
        again = ChainSums.from_tensors(sums.to_tensors(), ["0"])
        assert again.merge(sums).n == 100


def test_a_refused_batch_changes_nothing():
    states, labels = chain(100)
    sums = ChainSums().add(states, labels)
    kept = {k: v.clone() for k, v in sums.to_tensors().items()}
    for bad, bad_labels, error, text in [
        (states | {"2": states["2"] * float("nan")}, labels, CalibrationError, "'2'"),
        (states | {"2": states["1"]}, labels, StateError, "'2': 6"),
        (dict(reversed(states.items())), labels, StateError, "expected layers"),
        (states, labels[:5], CalibrationError, "expected 100 integers"),
        (states, labels - 1, CalibrationError, "class numbers >= 0"),
    ]:
        with pytest.raises(error, match=text):
            sums.add(bad, bad_labels)
        assert all(torch.equal(v, kept[k]) for k, v in sums.to_tensors().items())
    with pytest.raises(StateError, match="expected layers of widths"):
        sums.merge(ChainSums().add({"0": states["0"]}))

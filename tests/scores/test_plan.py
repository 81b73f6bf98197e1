"""The plan against one map after the other: every mixture of widths, classes and batch sizes."""

import pytest
import torch

from deepdrift import Innovation, LayerDistance
from deepdrift.scores.chain import ChainSums
from deepdrift.scores.maps import WIDE
from deepdrift.scores.plan import Plan


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chain(n, widths, seed=0):
    states = [normal(n, widths[0], seed=seed) + 2]
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        states.append(states[-1] @ normal(a, b, seed=50 + i) / a**0.5 + normal(n, b, seed=seed + i))
    return states


MIXTURES = [
    [5],
    [3, 4, 5],
    [16, 32, 32, 64, 64, 64],
    [200, 200, 200],
    [64, 400, 64],
    [400, 410],
    [8, 700, 8, 8],
    [320, 320, 1],
    [WIDE, WIDE + 1, 330],
]


@pytest.mark.parametrize("widths", MIXTURES, ids=str)
@pytest.mark.parametrize("n_classes", [None, 3])
def test_columns_are_what_the_stand_alone_scores_say(widths, n_classes):
    fit, new = chain(900, widths), chain(40, widths, seed=7)
    labels = None if n_classes is None else torch.arange(900) % n_classes
    plan = Plan(*ChainSums().add(fit, labels).maps())
    expected = LayerDistance().fit(fit, labels).score(new)
    if len(widths) > 1:
        expected = torch.cat([Innovation().fit(fit).score(new), expected], dim=1)
    for n in (40, 1, 7):
        found = plan.squared([z[:n] for z in new])
        assert found.dtype == torch.float64
        assert torch.allclose(found, expected[:n], rtol=3e-6, atol=1e-5)


def test_many_classes_take_the_way_that_needs_no_memory():
    fit, new = chain(4000, [40, 60]), chain(300, [40, 60], seed=7)
    labels = torch.arange(4000) % 400
    plan = Plan(*ChainSums().add(fit, labels).maps())
    together = plan.squared(new)
    one = torch.cat([plan.squared([z[i : i + 1] for z in new]) for i in range(300)])
    assert torch.allclose(one, together, rtol=3e-6)
    assert torch.allclose(together[:, 1:], LayerDistance().fit(fit, labels).score(new), rtol=3e-6)


@pytest.mark.parametrize("widths", [[6, 5, 4], [6, 400, 4], [6, 700, 4], [400, 400, 400]], ids=str)
def test_parts_of_a_plan(widths):
    fit, new = chain(900, widths), chain(5, widths, seed=7)
    distances, steps = ChainSums().add(fit).maps()
    logits, labels = normal(900, 3, seed=90), torch.arange(900) % 3
    inner = LayerDistance().fit([logits], labels)
    extra = [part.maps()[0] for part in (inner, inner.pooled())]
    whole = Plan(distances, steps, [(3, part) for part in extra]).squared([*new, logits[:5]])
    assert torch.allclose(whole[:, 5:6], inner.score([logits[:5]]), rtol=3e-6)
    assert torch.allclose(whole[:, 6:], inner.pooled().score([logits[:5]]), rtol=3e-6)
    without = Plan(distances, steps).squared(new)
    assert torch.allclose(without, whole[:, :5], rtol=3e-6)
    assert torch.allclose(Plan([], steps).squared(new), without[:, :2], rtol=3e-6)
    assert torch.allclose(Plan(distances, []).squared(new), without[:, 2:], rtol=3e-6)
    assert Plan([], []).squared(new).shape == (5, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("widths", [[6, 5, 4], [6, 400, 4], [6, 700, 4], [400, 400, 400]], ids=str)
def test_a_bad_number_spoils_its_own_columns_only(bad, widths):
    plan = Plan(*ChainSums().add(chain(900, widths)).maps())
    new = chain(5, widths, seed=7)
    before = plan.squared(new)
    new[2][3, 1] = bad
    found = plan.squared(new)
    spoiled = torch.zeros(5, 5, dtype=torch.bool)
    spoiled[3, [1, 4]] = True  # the step into the layer, and its distance
    assert torch.allclose(found[~spoiled], before[~spoiled], rtol=3e-6)
    assert not bool((found[spoiled] < 1e20).any())
    assert bad == 1e30 or not bool(found[spoiled].isfinite().any())


def test_states_of_half_precision_are_taken():
    fit, new = chain(900, [6, 5]), [z.half() for z in chain(5, [6, 5], seed=7)]
    plan = Plan(*ChainSums().add(fit).maps())
    assert torch.equal(plan.squared(new), plan.squared([z.float() for z in new]))

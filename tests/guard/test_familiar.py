"""Innovation at low rank against the library's own, and p-values of tokens that come in answers."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binom

from deepdrift import Innovation
from deepdrift.guard.familiar import Familiar, GroupedRanks, Sketch
from deepdrift.states.projection import Projection


def chain(n: int, seed: int, layers: int = 5, width: int = 6) -> torch.Tensor:
    """Sketches ``(n, L, r)`` whose layers follow from one another, with noise."""
    g = torch.Generator().manual_seed(seed)
    turn = torch.randn(layers, width, width, generator=torch.Generator().manual_seed(99))
    z = [torch.randn(n, width, generator=g)]
    for layer in range(1, layers):
        z.append(z[-1] @ turn[layer] + 0.3 * torch.randn(n, width, generator=g))
    return torch.stack(z, dim=1)


def test_all_steps_at_once_are_the_librarys_innovation():
    normal, new = chain(300, 0), chain(40, 1)
    new[0, 2] += 5
    familiar = Familiar().fit(normal)
    theirs = Innovation().fit({str(i): normal[:, i] for i in range(5)})
    want = theirs.score({str(i): new[:, i] for i in range(5)})
    torch.testing.assert_close(familiar.squared(new), want, rtol=1e-4, atol=1e-4)
    rms = familiar.innovation(new)
    assert rms[:, 0].isnan().all()
    torch.testing.assert_close(rms[:, 1:].double(), (want / 6).sqrt(), rtol=1e-4, atol=1e-4)
    two = want.sort(dim=1).values[:, -2:].mean(dim=1) / 6
    torch.testing.assert_close(familiar.score(new), two, rtol=1e-4, atol=1e-4)


def test_innovation_of_normal_sketches_is_about_one():
    familiar = Familiar().fit(chain(2000, 0))
    rms = familiar.innovation(chain(2000, 1))[:, 1:].double().square().mean(dim=0).sqrt()
    assert ((rms - 1).abs() < 0.05).all()


def test_a_broken_layer_is_the_largest_innovation():
    familiar, broken = Familiar().fit(chain(300, 0)), chain(50, 1)
    broken[:, 3] = broken[:, 3].flip(1)
    assert (familiar.squared(broken)[:, :3].argmax(dim=1) == 2).float().mean() > 0.9


def test_a_sketch_is_the_packages_projection_of_each_layer():
    g = torch.Generator().manual_seed(0)
    even = [torch.randn(3, 40, generator=g) for _ in range(2)]
    project = Projection(8)
    want = torch.stack([project(z) for z in even], dim=1)
    torch.testing.assert_close(Sketch(8)(even), want)
    torch.testing.assert_close(Sketch(8)(torch.stack(even)), want)
    uneven = [even[0], torch.randn(3, 5, generator=g)]
    got = Sketch(8)(uneven)
    torch.testing.assert_close(got[:, 0], want[:, 0])
    assert torch.equal(got[:, 1, :5], uneven[1]) and (got[:, 1, 5:] == 0).all()


def test_tokens_of_single_token_answers_have_the_plain_conformal_p_value():
    from deepdrift import conformal_p_values

    scores = torch.randn(50, generator=torch.Generator().manual_seed(0)).double()
    new = torch.linspace(-3, 3, 20).double()
    ranks = GroupedRanks(scores, torch.arange(50))
    torch.testing.assert_close(ranks.p_values(new), conformal_p_values(scores, new))


def test_ties_count_as_at_least_as_high():
    ranks = GroupedRanks(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0, 0, 1]))
    assert ranks.p_values(torch.tensor([1.0, 2.0])).tolist() == pytest.approx([1.0, 2 / 3])


def answers(n: int, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of tokens that share most of their noise within an answer, of 1 to 12 tokens."""
    lengths = torch.randint(1, 13, (n,), generator=g)
    groups = torch.arange(n).repeat_interleave(lengths)
    own = torch.randn(n, generator=g) * lengths.sqrt()
    return own[groups] + 0.3 * torch.randn(len(groups), generator=g), groups


def test_a_random_token_of_a_new_answer_keeps_the_rate():
    g, alpha, hits, tries = torch.Generator().manual_seed(0), 0.2, 0, 600
    for _ in range(tries):
        scores, groups = answers(30, g)
        ranks = GroupedRanks(scores[groups < 29], groups[groups < 29])
        new = scores[groups == 29]
        token = new[torch.randint(len(new), (1,), generator=g)]
        hits += bool(ranks.p_values(token) <= alpha)
    assert hits <= binom.ppf(0.999, tries, alpha)
    assert hits >= binom.ppf(0.001, tries, alpha - 1.5 / 30)  # and it is not idle

"""Numbers of a token by hand, and where an answer ends."""

from __future__ import annotations

import math

import pytest
import torch

from deepdrift.guard.tokens import answer_mask, log_probabilities


def test_a_token_of_probability_three_quarters():
    log_p, entropy = log_probabilities(torch.tensor([[math.log(3), 0.0]]))
    assert log_p.exp()[0].tolist() == pytest.approx([0.75, 0.25])
    assert entropy.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_agreement_with_torchs_own_distribution():
    logits = torch.randn(5, 30, generator=torch.Generator().manual_seed(0)).double() * 4
    law = torch.distributions.Categorical(logits=logits)
    log_p, entropy = log_probabilities(logits)
    torch.testing.assert_close(entropy, law.entropy())
    torch.testing.assert_close(log_p[:, 7], law.log_prob(torch.tensor([7] * 5)))


def test_impossible_tokens_count_nothing_and_nan_spreads():
    rows = torch.tensor([[0.0, -torch.inf], [0.0, torch.nan], [0.0, torch.inf], [-torch.inf] * 2])
    log_p, entropy = log_probabilities(rows)
    assert entropy[0] == 0 and log_p[0].tolist() == [0.0, -math.inf]
    assert entropy[1:].isnan().all() and log_p[1:].isnan().all(dim=1).all()


def test_half_precision_is_widened():
    logits = torch.tensor([[0.0, 8.0, 8.0]], dtype=torch.bfloat16)
    assert log_probabilities(logits)[1].item() == pytest.approx(math.log(2), abs=4e-3)


@pytest.mark.parametrize(
    ("tokens", "ends", "pad", "want"),
    [
        ([5, 6, 7], {2}, 0, [1, 1, 1]),
        ([5, 2, 7], {2}, 0, [1, 1, 0]),  # what follows the end is no answer, whatever it is
        ([2, 2, 2], {2}, 2, [1, 0, 0]),  # the end is the padding too
        ([5, 2, 2], {2}, 2, [1, 1, 0]),
        ([5, 0, 6], {2}, 0, [1, 1, 1]),  # a pad token inside is a token
        ([5, 0, 0], {2}, 0, [1, 0, 0]),  # stopped by something else
        ([5, 3, 4], {3, 4}, None, [1, 1, 0]),
        ([5, 0, 0], (), None, [1, 1, 1]),
    ],
)
def test_where_an_answer_ends(tokens, ends, pad, want):
    assert answer_mask(torch.tensor([tokens]), ends, pad)[0].int().tolist() == want

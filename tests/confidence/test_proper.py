from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepdrift import confidence


def test_brier_against_numpy_and_its_parts_where_values_repeat():
    """Two stated values, so that Murphy's parts are exact and can be worked out by hand."""
    p = [[0.75, 0.25]] * 4 + [[0.25, 0.75]] * 4
    labels = [0, 0, 0, 1, 1, 1, 0, 0]
    found = confidence.brier(p, labels, n_bins=4)
    one_hot = np.eye(2)[labels]
    assert found.value == pytest.approx(((np.array(p) - one_hot) ** 2).sum(axis=1).mean())
    # class 0: bins say 0.75 and 0.25, true shares 3/4 and 2/4, base rate 5/8; class 1 mirrors it
    assert found.reliability == pytest.approx(2 * (4 / 8 * 0 + 4 / 8 * 0.25**2))
    assert found.resolution == pytest.approx(2 * (0.5 * (1 / 8) ** 2 + 0.5 * (1 / 8) ** 2))
    assert found.uncertainty == pytest.approx(2 * 5 / 8 * 3 / 8)


@pytest.mark.parametrize("n_bins", [1, 5, 15, 100])
def test_the_parts_add_up_for_any_bins(n_bins):
    generator = torch.Generator().manual_seed(n_bins)
    p = torch.randn(300, 4, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.randint(4, (300,), generator=generator)
    found = confidence.brier(p, labels, n_bins)
    total = found.reliability - found.resolution + found.uncertainty
    assert total == pytest.approx(found.value)
    assert found.reliability >= 0


def test_resolution_is_murphys_plus_what_the_spread_inside_the_bins_adds():
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(400, 3, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.multinomial(p, 1, generator=generator)[:, 0]
    found = confidence.brier(p, labels, n_bins=8)
    expected = 0.0
    for k in range(3):
        stated, true = p[:, k].numpy(), (labels == k).double().numpy()
        index = np.clip(np.ceil(stated * 8).astype(int), 1, 8)
        for b in np.unique(index):
            f, o = stated[index == b], true[index == b]
            weight = len(f) / len(stated)
            expected += weight * (o.mean() - true.mean()) ** 2
            expected += weight * (2 * np.cov(f, o, ddof=0)[0, 1] - f.var())
    assert found.resolution == pytest.approx(expected)


def test_nll_is_scikit_learns_and_infinite_for_what_was_called_impossible():
    log_loss = pytest.importorskip("sklearn.metrics").log_loss
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(50, 3, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.randint(3, (50,), generator=generator)
    assert confidence.nll(p, labels) == pytest.approx(log_loss(labels, p.numpy(), labels=[0, 1, 2]))
    assert confidence.nll([[1.0, 0.0]], [1]) == math.inf


def test_brier_of_the_sure_and_of_the_ignorant():
    assert confidence.brier([[1.0, 0.0, 0.0]], [0]).value == 0.0
    assert confidence.brier([[1.0, 0.0, 0.0]], [1]).value == 2.0  # summed over classes
    flat = confidence.brier([[1 / 3] * 3] * 3, [0, 1, 2])
    assert flat.value == pytest.approx(flat.uncertainty) == pytest.approx(2 / 3)
    assert flat.reliability == pytest.approx(0, abs=1e-12) == flat.resolution
    assert "Brier score 0.667 = reliability 0.000" in str(flat)


def test_brier_is_scikit_learns_for_two_classes():
    loss = pytest.importorskip("sklearn.metrics").brier_score_loss
    p = torch.linspace(0.01, 0.99, 40, dtype=torch.float64)
    labels = (torch.arange(40) * 7 % 3 == 0).long()
    both = confidence.brier(torch.stack([1 - p, p], dim=1), labels)
    assert both.value == pytest.approx(2 * loss(labels, p.numpy()))  # theirs counts one class


def test_resolution_falls_below_zero_where_the_spread_inside_a_bin_is_noise():
    """One bin: reliability 0; stated 0.1 and 0.9 say nothing about the labels."""
    p = [[0.1, 0.9], [0.9, 0.1]] * 2
    found = confidence.brier(p, [0, 1, 1, 0], n_bins=1)
    assert found.reliability == pytest.approx(0)
    assert found.resolution == pytest.approx(-2 * 0.4**2)  # minus the variance inside, twice


def test_nll_of_the_sure_and_right_is_zero_and_prints_so():
    assert str(confidence.nll([[1.0, 0.0]], [0])) == "0.0"

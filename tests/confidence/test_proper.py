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

"""Ranks within predicted classes: by hand, exactly over all choices of the new sample, by rates."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import conformal_p_values, conformal_threshold
from deepdrift.evidence.classes import ClassRanks, group_of


def test_by_hand():
    """Alpha 1/4 needs three samples in a group. Class 5 has one: it is joined by class 2."""
    scores = torch.tensor([1.0, 2, 3, 10, 20, 30, 40, 50, 5, 100, 200, 300, 400, 500])
    classes = torch.tensor([2] * 3 + [0] * 5 + [5] + [1] * 5)
    ranks = ClassRanks(scores, classes, alpha=0.25)
    assert ranks.pooled == (2, 5)
    # 0: 4th of 10 .. 50; 1: 4th of 100 .. 500; pool: 4th of 1, 2, 3, 5
    assert ranks.thresholds == {0: 50.0, 1: 500.0, 2: 5.0, 5: 5.0}
    new = torch.tensor([4.0, 4.0, 4.0, 4.0, 45.0, 501.0, math.inf, math.nan]).double()
    of = torch.tensor([0, 1, 2, 5, 0, 1, 1, 0])
    expected = [1, 1, 2 / 5, 2 / 5, 2 / 6, 1 / 6, 0, 0]
    assert ranks.p_values(new, of).tolist() == pytest.approx(expected)
    assert ranks.p_values(new[:1], torch.tensor([99])).tolist() == pytest.approx([2 / 5])


def test_one_class_is_a_conformal_p_value():
    generator = torch.Generator().manual_seed(0)
    scores, new = (torch.rand(n, generator=generator).double() for n in (99, 200))
    ranks = ClassRanks(scores, torch.full((99,), 3), alpha=0.05)
    expected = conformal_p_values(scores, new)
    for c in (3, 0):  # also where no class is known
        assert torch.equal(ranks.p_values(new, torch.full((200,), c)), expected)
    assert ranks.thresholds == {3: conformal_threshold(scores, 0.05)}
    assert ranks.pooled == ()


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.2, 0.1])
def test_every_sample_as_the_new_one(alpha):
    """Of the samples of a group each is once the most unusual, once the second, and so on.

    So the p-values are exact within every group, however few samples a class has.
    """
    generator = np.random.default_rng(7)
    for _ in range(25):
        n = 19
        classes = generator.choice(6, n + 1, p=[0.4, 0.3, 0.15, 0.08, 0.05, 0.02])
        scores = generator.permutation(n + 1) + 0.5
        found = {}
        for i in range(n + 1):
            others = torch.from_numpy(np.delete(classes, i))
            ranks = ClassRanks(torch.from_numpy(np.delete(scores, i)), others, alpha)
            of = torch.from_numpy(classes[i : i + 1])
            p = ranks.p_values(torch.from_numpy(scores[i : i + 1]), of).item()
            sizes = {int(c): int((others == c).sum()) for c in others.unique()}
            group = frozenset(group_of(int(classes[i]), sizes, math.ceil(1 / alpha - 1e-9)))
            found.setdefault(group, []).append(p)
        assert sum(map(len, found.values())) == n + 1
        members = [c for group in found for c in group]
        assert len(members) == len(set(members))  # the groups are disjoint
        for p in found.values():
            m = len(p)
            assert np.allclose(np.sort(p), np.arange(1, m + 1) / m)
            assert min(p) <= alpha + 1e-12  # and an alarm is possible


def test_groups_are_large_enough_and_small_ones_are_joined_by_the_next_larger():
    sizes = {0: 50, 1: 3, 2: 20, 3: 4, 4: 25}
    assert group_of(0, sizes, 8) == (0,)
    assert set(group_of(1, sizes, 8)) == set(group_of(3, sizes, 8)) == {1, 3}
    assert set(group_of(9, sizes, 8)) == {9, 1, 3}
    assert set(group_of(1, sizes, 20)) == {1, 3, 2}
    assert set(group_of(2, sizes, 20)) == {1, 3, 2}
    assert set(group_of(4, sizes, 20)) == {4}
    assert set(group_of(4, sizes, 103)) == {0, 1, 2, 3, 4}


def two_classes(n, generator):
    """Scores of a quiet class and of one that is ten times as spread."""
    classes = torch.randint(2, (n,), generator=generator)
    return torch.randn(n, generator=generator).double() * (1 + 9 * classes), classes


def test_every_class_keeps_its_rate_where_one_line_for_all_does_not():
    """The rate of each class, given its n normal samples, is beta-binomial."""
    generator, alpha = torch.Generator().manual_seed(4), 0.05
    (scores, classes), (new, of) = (two_classes(n, generator) for n in (2000, 4000))
    ranks = ClassRanks(scores, classes, alpha)
    p, together = ranks.p_values(new, of), conformal_p_values(scores, new)
    assert ranks.pooled == ()
    for c in (0, 1):
        n, m = int((classes == c).sum()), int((of == c).sum())
        a = math.floor(alpha * (n + 1) + 1e-9)
        low, high = stats.betabinom(m, a, n + 1 - a).ppf([0.001, 0.999])
        assert low <= int((p[of == c] <= alpha).sum()) <= high
        assert not low <= int((together[of == c] <= alpha).sum()) <= high
        flagged = new[of == c] > ranks.thresholds[c]
        assert torch.equal(flagged, p[of == c] <= alpha + 1e-12)
    assert abs(float((p <= alpha).double().mean()) - alpha) < 0.02
    assert abs(float((together <= alpha).double().mean()) - alpha) < 0.02


def test_clear_errors():
    with pytest.raises(CalibrationError, match="one per score"):
        ClassRanks(torch.rand(5), torch.zeros(4, dtype=torch.long), 0.5)
    with pytest.raises(CalibrationError, match="at least 19"):
        ClassRanks(torch.rand(18), torch.arange(18), 0.05)
    with pytest.raises(CalibrationError, match="NaN"):
        ClassRanks(torch.full((9,), math.nan), torch.arange(9), 0.5)

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift import confidence


def draw(n: int, k: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random predictions, strictly below 1, with labels that have something to do with them."""
    generator = torch.Generator().manual_seed(seed)
    p = (2 * torch.randn(n, k, generator=generator, dtype=torch.float64)).softmax(dim=1)
    labels = torch.multinomial(p.sqrt(), 1, generator=generator)[:, 0]
    return p, labels


def brute_ece(confidence_of: np.ndarray, hit: np.ndarray, edges: np.ndarray) -> float:
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (confidence_of > low) & (confidence_of <= high)
        if inside.any():
            total += inside.mean() * abs(confidence_of[inside].mean() - hit[inside].mean())
    return total


@pytest.mark.parametrize(("n", "k", "n_bins"), [(50, 2, 15), (300, 10, 15), (1000, 3, 7)])
def test_every_error_against_a_loop_over_bins(n, k, n_bins):
    p, labels = draw(n, k)
    top, guess = (x.numpy() for x in p.max(dim=1))
    hit = guess == labels.numpy()
    edges = np.linspace(0, 1, n_bins + 1)
    assert confidence.ece(p, labels, n_bins) == pytest.approx(brute_ece(top, hit, edges))
    classwise = [
        brute_ece(p[:, c].numpy(), (labels == c).double().numpy(), edges) for c in range(k)
    ]
    assert confidence.classwise_ece(p, labels, n_bins) == pytest.approx(np.mean(classwise))
    order = np.argsort(top)
    chunks = np.split(order, [(i * n) // n_bins for i in range(1, n_bins)])
    adaptive = sum(len(c) / n * abs(top[c].mean() - hit[c].mean()) for c in chunks if len(c))
    assert confidence.adaptive_ece(p, labels, n_bins) == pytest.approx(adaptive)
    gaps = [
        abs(top[i].mean() - hit[i].mean())
        for low, high in zip(edges[:-1], edges[1:], strict=True)
        if (i := (top > low) & (top <= high)).any()
    ]
    assert confidence.max_calibration_error(p, labels, n_bins) == pytest.approx(max(gaps))


@pytest.mark.parametrize("n_bins", [3, 7, 10, 15, 100])
def test_a_confidence_on_an_edge_lies_below_it(n_bins):
    """k / B, for every k, as Python and a reader write it: (low, high]."""
    from deepdrift.confidence.reliability import bin_index

    edges = torch.tensor([k / n_bins for k in range(n_bins + 1)], dtype=torch.float64)
    assert bin_index(edges, n_bins).tolist() == [0, *range(n_bins)]
    above = torch.nextafter(edges[:-1], torch.ones(1, dtype=torch.float64))
    assert bin_index(above, n_bins).tolist() == list(range(n_bins))


def test_classwise_error_of_three_classes_by_hand():
    """One bin: class shares 1/2, 1/2, 0 against mean probabilities 0.6, 0.25, 0.15."""
    p = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]
    assert confidence.classwise_ece(p, [0, 1], n_bins=1) == pytest.approx((0.1 + 0.25 + 0.15) / 3)


def test_fewer_predictions_than_adaptive_bins_stand_alone():
    found = confidence.reliability([[0.6, 0.4], [0.9, 0.1]], [0, 0], 15, adaptive=True)
    assert sorted(found.count.tolist())[-3:] == [0, 1, 1]
    assert found.ece == pytest.approx((0.4 + 0.1) / 2)


def test_empty_bins_are_no_zeros():
    found = confidence.reliability([[0.95, 0.05], [0.9, 0.1]], [0, 1], n_bins=10)
    assert found.count.tolist() == [0] * 8 + [1, 1]
    assert found.accuracy[:8].isnan().all() and found.confidence[:8].isnan().all()
    assert found.accuracy[8:].tolist() == [0.0, 1.0]
    assert found.ece == pytest.approx((0.9 + 0.05) / 2)
    assert found.n == 2


def test_a_confidence_of_one_lies_in_the_last_bin_and_half_in_the_lower():
    found = confidence.reliability([[1.0, 0.0], [0.5, 0.5]], [0, 0], n_bins=2)
    assert found.count.tolist() == [1, 1]
    assert found.ece == pytest.approx(0.25)


def test_equal_confidences_share_an_adaptive_bin():
    p = [[0.6, 0.4]] * 9 + [[0.9, 0.1]]
    found = confidence.reliability(p, [0] * 5 + [1] * 4 + [0], n_bins=3, adaptive=True)
    assert sorted(found.count.tolist()) == [0, 1, 9]
    assert found.ece == pytest.approx(0.9 * abs(0.6 - 5 / 9) + 0.1 * 0.1)


def test_order_and_copies_of_the_predictions_do_not_matter():
    p, labels = draw(200, 5)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    for measure in (confidence.ece, confidence.classwise_ece, confidence.max_calibration_error):
        value = measure(p, labels)
        assert measure(p[order], labels[order]) == pytest.approx(value)
        assert measure(p.repeat(2, 1), labels.repeat(2)) == pytest.approx(value)


def test_the_sentence_says_which_way_it_errs():
    assert "too sure" in str(confidence.reliability([[0.9, 0.1]] * 4, [0, 1, 1, 1]))
    assert "too modest" in str(confidence.reliability([[0.6, 0.4]] * 4, [0, 0, 0, 0]))
    assert "neither" in str(confidence.reliability([[0.5, 0.5]] * 4, [0, 1, 0, 1]))


# ---- torchmetrics: the same on what it reads right, and four deliberate differences ----


@pytest.fixture(scope="module")
def theirs():
    functional = pytest.importorskip("torchmetrics.functional.classification")
    return functional.multiclass_calibration_error


@pytest.mark.parametrize(("k", "n_bins"), [(2, 15), (5, 15), (10, 30), (3, 1)])
def test_torchmetrics_agrees_below_one(theirs, k, n_bins):
    p, labels = draw(800, k, seed=k)
    p = p.float()  # their bin edges are float32
    assert float(p.max()) < 1
    for norm, ours in (("l1", confidence.ece), ("max", confidence.max_calibration_error)):
        expected = float(theirs(p, labels, num_classes=k, n_bins=n_bins, norm=norm))
        assert ours(p, labels, n_bins) == pytest.approx(expected, abs=1e-6)


def test_a_confidence_of_one_gets_no_bin_of_its_own(theirs):
    p = torch.tensor([[0.95, 0.05]] * 10 + [[1.0, 0.0]] * 10)
    labels = torch.tensor([0] * 10 + [1] * 10)
    by_hand = abs(0.975 - 0.5)  # one bin holds all twenty, ten are right
    assert confidence.ece(p, labels, 10) == pytest.approx(by_hand)
    assert float(theirs(p, labels, num_classes=2, n_bins=10)) == pytest.approx(0.525)


def test_logits_in_the_unit_interval_are_refused_however_they_are_batched(theirs):
    logits = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.8, 0.2], [0.1, 0.0, 0.7]])
    labels = torch.tensor([0, 1, 2])
    taken = float(theirs(logits, labels, num_classes=3))
    meant = float(theirs(logits.softmax(dim=1), labels, num_classes=3))
    assert abs(taken - meant) > 0.1  # they were taken for probabilities
    for rows in (slice(None), slice(0, 1)):
        with pytest.raises(confidence.ConfidenceError, match="softmax"):
            confidence.ece(logits[rows], labels[rows])


def test_the_answer_does_not_depend_on_batches(theirs):
    """Theirs takes the first batch for probabilities, since it lies in [0, 1], but not both."""
    logits = torch.tensor([[0.1, 0.0], [0.0, 0.1], [3.0, -2.0], [-2.0, 3.0]])
    labels = torch.tensor([0, 1, 0, 1])
    metric = pytest.importorskip("torchmetrics.classification").MulticlassCalibrationError
    answers = []
    for size in (4, 2):
        batched = metric(num_classes=2)
        for rows in zip(logits.split(size), labels.split(size), strict=True):
            batched.update(*rows)
        answers.append(float(batched.compute()))
    p = logits.softmax(dim=1)
    assert answers[0] == pytest.approx(confidence.ece(p, labels))
    assert answers[1] - answers[0] > 0.2  # 0.1 was read as a confidence of 10 %
    parts = torch.cat([confidence.check_probabilities(rows) for rows in p.split(2)])
    assert confidence.ece(parts, labels) == confidence.ece(p, labels)
    for rows in (logits, logits[2:]):
        with pytest.raises(confidence.ConfidenceError, match="softmax"):
            confidence.ece(rows, labels[: len(rows)])


@pytest.mark.parametrize(
    ("p", "label", "words"),
    [
        ([[0.5, 0.2]], 0, "sums to 0.7"),
        ([[float("nan"), 0.5]], 0, "NaN"),
        ([[0.6, 0.4]], 7, "expected 0 to 1, got 7"),
        ([[0.6, 0.4]], -3, "expected 0 to 1, got -3"),
    ],
    ids=["rows do not sum to 1", "NaN", "label too large", "label below 0"],
)
def test_what_passes_there_in_silence_is_an_error_here(theirs, p, label, words):
    theirs(torch.tensor(p), torch.tensor([label]), num_classes=2)
    with pytest.raises(confidence.ConfidenceError, match=words):
        confidence.ece(torch.tensor(p), [label])

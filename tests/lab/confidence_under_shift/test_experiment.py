"""Predictions by hand, sets that share no image, and what two networks answer on a few of them."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from deepdrift import confidence
from deepdrift.lab import data
from deepdrift.lab.confidence_under_shift import experiment
from deepdrift.lab.confidence_under_shift.experiment import (
    SCORES,
    SHIFTS,
    Predictions,
    Sets,
    along,
    load_sets,
    normalised_entropy,
    predict,
)


def logits_of(rows):
    return torch.tensor(rows, dtype=torch.float64).log()


ROWS = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.3, 0.45, 0.25]]


def said(logits, labels):
    """Predictions of which no score and no drift is asked."""
    return Predictions(logits, labels, {}, torch.zeros(1))


HAND = said(logits_of(ROWS), torch.tensor([0, 0, 1, 2]))


def test_four_predictions_by_hand():
    torch.testing.assert_close(HAND.probabilities, torch.tensor(ROWS, dtype=torch.float64))
    assert HAND.confidence.tolist() == pytest.approx([0.7, 0.6, 0.5, 0.45])
    assert HAND.guess.tolist() == [0, 1, 1, 1]
    assert HAND.correct.tolist() == [True, False, True, False]
    assert len(HAND) == 4 and HAND.accuracy == 0.5


def test_macro_f1_counts_a_class_that_is_never_predicted():
    """F1 = 2 / (1 / precision + 1 / recall): 1 and 1/2; 1/3 and 1; nothing found of the third."""
    assert HAND.f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    perfect = said(HAND.logits, HAND.guess)
    assert perfect.f1 == perfect.accuracy == 1


def test_a_temperature_divides_the_logits_and_keeps_the_guess():
    """At T = 2 a probability becomes its root, and the row is normalised again."""
    flat = HAND.at(2.0)
    roots = [math.sqrt(p) for p in ROWS[0]]
    assert flat[0].tolist() == pytest.approx([r / sum(roots) for r in roots])
    assert flat.argmax(dim=1).tolist() == HAND.guess.tolist()
    torch.testing.assert_close(HAND.at(1.0), HAND.probabilities)


def test_without_labels_there_is_nothing_right():
    strange = said(HAND.logits, None)
    for question in ("correct", "accuracy"):
        with pytest.raises(confidence.ConfidenceError, match="labels"):
            getattr(strange, question)
    assert strange.confidence.tolist() == HAND.confidence.tolist()


@pytest.mark.parametrize(
    ("guess", "n_classes", "expected"),
    [
        ([0, 0, 1, 2], 4, 0.75),  # 1.5 bits of 2
        ([0, 1, 2, 3], 4, 1.0),
        ([0, 0, 1, 1], 4, 0.5),
        ([3, 3, 3], 8, 0.0),
    ],
)
def test_entropy_of_what_is_predicted_in_shares_of_the_largest(guess, n_classes, expected):
    found = normalised_entropy(torch.tensor(guess), n_classes)
    assert found == pytest.approx(expected) and math.copysign(1, found) == 1


def test_along_a_shift_from_clean_to_the_worst():
    names = ["clean", *(f"blur {s}" for s in (5, 3, 1, 2, 4)), "noise 1", "held", "digits"]
    found = {name: said(HAND.logits + i, HAND.labels) for i, name in enumerate(names)}
    expected = [found[k] for k in ("clean", "blur 1", "blur 2", "blur 3", "blur 4", "blur 5")]
    assert [a is b for a, b in zip(along(found, "blur"), expected, strict=True)] == [True] * 6


# ---- the shipped images ----


@pytest.fixture(scope="module")
def sets():
    return load_sets()


def keys(images):
    return {image.numpy().tobytes() for image in images}


def test_no_image_has_two_purposes(sets):
    parts = {name: keys(getattr(sets, name).images) for name in ("fit", "calibration", "held")}
    parts |= {"clean": keys(sets.clean.images)}
    parts |= {name: keys(images) for name, images in sets.strange.items()}
    for (a, first), (b, second) in combinations(parts.items(), 2):
        assert not first & second, f"{a} and {b} share images"


def test_the_networks_and_the_choices_saw_nothing_of_what_is_judged(sets):
    whole = data.load()
    assert keys(sets.clean.images) < keys(whole.test.images)
    assert not keys(sets.held.images) & keys(whole.fit.images)
    for kind in ("cnn", "vit"):
        network = data.load_network(f"{kind}-holdout-1")
        assert network.trained_without == "fit"
        assert set(experiment.HELD_OUT).isdisjoint(network.classes)
        assert network.class_names == sets.clean.class_names


def test_new_classes_are_those_that_were_held_out(sets):
    whole = data.load()
    known = {k for label in range(10) if label not in experiment.HELD_OUT
             for k in keys(whole.test.images[whole.test.labels == label])}  # fmt: skip
    assert keys(sets.clean.images) <= known
    assert not keys(sets.strange["sandals, bags"]) & known
    for part in (sets.fit, sets.calibration, sets.held, sets.clean):
        assert part.labels.unique().tolist() == list(range(8))


def test_a_shift_starts_at_the_image_and_repeats(sets):
    before = sets.clean.images.clone()
    for shift in SHIFTS:
        assert torch.equal(sets.shifted(shift, 0), before)
        assert torch.equal(sets.shifted(shift, 2), sets.shifted(shift, 2))
    noise = [(sets.shifted("gaussian_noise", s) - before).abs().mean() for s in range(1, 6)]
    assert noise == sorted(noise) and noise[0] > 0
    assert torch.equal(sets.clean.images, before)


# ---- two networks on a few images ----


@pytest.fixture(scope="module")
def few(sets):
    strange = {name: images[:20] for name, images in sets.strange.items()}
    return Sets(sets.fit[:400], sets.calibration[:300], sets.held[:30], sets.clean[:40], strange)


@pytest.fixture(scope="module")
def answered(few):
    return predict("cnn", few)


def test_every_set_is_answered(answered, few):
    names = {f"{shift} {s}" for shift in SHIFTS for s in range(1, 6)}
    assert answered.keys() == {"held", "clean", *names, *few.strange}
    for name, answers in answered.items():
        labels = few.held.labels if name == "held" else few.clean.labels
        if name in few.strange:
            assert answers.labels is None and len(answers) == 20
        else:
            assert torch.equal(answers.labels, labels)
        assert answers.logits.shape == (len(answers), 8) and answers.logits.dtype == torch.float64
        assert tuple(answers.scores) == SCORES
        for score in ("MSP", "innovation", "fused"):
            assert answers.scores[score].shape == (len(answers),)
            assert bool(answers.scores[score].isfinite().all()), (name, score)


@pytest.mark.parametrize("name", ["clean", "blur 3", "digits"])
def test_logits_are_the_networks_and_msp_is_minus_confidence(answered, few, name):
    images = {"clean": few.clean.images, "blur 3": few.shifted("blur", 3)} | few.strange
    with torch.no_grad():
        logits = data.load_network("cnn-holdout-1")(images[name]).double()
    torch.testing.assert_close(answered[name].logits, logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(answered[name].scores["MSP"], -answered[name].confidence)


def test_the_gate_closes_above_one_line_of_the_fused_score(answered):
    """Open: MSP. Closed: infinity. One threshold for all sets parts the two."""
    opened, closed = [], []
    for answers in answered.values():
        gated, fused = answers.scores["gated MSP"], answers.scores["fused"]
        shut = gated.isinf()
        assert torch.equal(gated[~shut], answers.scores["MSP"][~shut]) and bool((gated > -2).all())
        opened.append(fused[~shut]), closed.append(fused[shut])
    assert torch.cat(opened).max() < torch.cat(closed).min()
    assert float(answered["clean"].scores["gated MSP"].isinf().double().mean()) < 0.3
    assert bool(answered["contrast 5"].scores["gated MSP"].isinf().all())


def test_the_worst_contrast_is_unusual_to_every_score_but_confidence(answered):
    for score in ("innovation", "fused"):
        normal, worst = (answered[k].scores[score] for k in ("clean", "contrast 5"))
        assert worst.min() > normal.median()


def test_drift_is_that_of_the_layers_and_grows_with_the_shift(answered):
    layers = data.NETWORK_LAYERS["cnn-holdout-1"]
    largest = [float(a.drift.max()) for a in along(answered, "blur")]
    assert all(bool(a.drift.isfinite().all()) for a in answered.values())
    assert largest[0] < 3 < largest[5] and largest[5] > largest[1]
    assert len(answered["clean"].drift) >= len(layers)

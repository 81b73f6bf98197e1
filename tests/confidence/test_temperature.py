from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from deepdrift import confidence
from deepdrift.confidence import ConfidenceError


def drawn(n: int, k: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is right only after division by ``temperature``."""
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(n, k, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(honest.softmax(dim=1), 1, generator=generator)[:, 0]
    return honest * temperature, labels


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_a_true_temperature_is_found(true):
    logits, labels = drawn(40_000, 5, true)
    assert confidence.fit_temperature(logits, labels) == pytest.approx(true, rel=0.02)


def test_it_is_the_likeliest_one():
    logits, labels = drawn(500, 4, 2.0)
    best = minimize_scalar(
        lambda t: float(cross_entropy(logits / t, labels)), bounds=(0.1, 20), method="bounded"
    )
    assert confidence.fit_temperature(logits.float(), labels) == pytest.approx(best.x, rel=1e-3)
    t = confidence.fit_temperature(logits, labels)
    own, all_classes = logits.gather(1, labels[:, None])[:, 0], (logits / t).softmax(dim=1) * logits
    slope = float((own - all_classes.sum(dim=1)).mean())  # of the likelihood in 1 / T: 0 at its top
    assert slope == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 0.01, 1.0, 100.0, 1000.0])
def test_logits_of_any_scale(scale):
    """Cosines divided by nothing, or energies: T takes the scale."""
    logits, labels = drawn(2000, 5, 1.0)
    expected = scale * confidence.fit_temperature(logits, labels)
    assert confidence.fit_temperature(scale * logits, labels) == pytest.approx(expected, rel=1e-5)


def test_logits_shifted_by_a_constant_and_masked_by_a_large_negative_number():
    logits, labels = drawn(500, 4, 2.0)
    expected = confidence.fit_temperature(logits, labels)
    assert confidence.fit_temperature(logits + 1e4, labels) == pytest.approx(expected, rel=1e-6)
    masked = torch.cat([logits, torch.full((500, 1), -1e9, dtype=torch.float64)], dim=1)
    assert confidence.fit_temperature(masked, labels) == pytest.approx(expected, rel=1e-6)


def test_t_divides_logits_and_is_no_inverse():
    """Too sure logits need T > 1 (a package that multiplies would answer 1/3)."""
    logits, labels = drawn(5000, 5, 3.0)
    t = confidence.fit_temperature(logits, labels)
    assert t == pytest.approx(3, rel=0.1)
    expected = (logits / t).softmax(dim=1)
    assert torch.allclose(confidence.apply_temperature(logits, t), expected)


@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 1e3, 1e300])
def test_extreme_temperatures_give_probabilities(temperature):
    p = confidence.apply_temperature([[800.0, 0.0, -800.0]], temperature)
    assert torch.equal(confidence.check_probabilities(p), p)
    assert float(p[0, 0]) == pytest.approx(1.0 if temperature < 1 else float(p.max()))


def test_the_predicted_class_stays_and_the_calibration_is_repaired():
    logits, labels = drawn(5000, 5, 3.0)
    t = confidence.fit_temperature(logits, labels)
    p = confidence.apply_temperature(logits, t)
    assert torch.equal(p.argmax(dim=1), logits.argmax(dim=1))
    assert confidence.calibration_test(p, labels, n_simulations=199).p_value > 0.05
    assert confidence.ece(logits.softmax(dim=1), labels) > 0.1


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ([[5.0, 0.0], [0.0, 5.0]], [0, 1], "all 2 predictions are right"),
        ([[5.0, 0.0], [0.0, 5.0]], [1, 0], "infinite"),
        ([[5.0, 0.0], [0.0, 0.0]], [0, 1], "all 2 predictions are right"),  # a tie can be right
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], "constant"),
        ([[5.0, 0.0], [0.0, 5.0]], [1, 1], "all 2 are class 1"),
        ([[0.3, 0.7], [0.6, 0.4]], [0, 1], "probabilities"),
        ([[1.0, -float("inf")]], [0], "leave the column away"),
        ([[2, 1], [1, 2]], [0, 1], "floats"),
        ([[3.0, 1.0], [0.0, 1.0]], [0], r"shape \(2,\)"),
        ([[1.0, float("nan")]], [0], "NaN"),
        ([[1.0, 2.0]], [2], "expected 0 to 1"),
        ([1.0, 2.0], [0, 1], r"\(N, K\)"),
        ([[1.0]], [0], "K >= 2"),
    ],
)
def test_what_has_no_temperature_is_refused(logits, labels, words):
    with pytest.raises(ConfidenceError, match=words):
        confidence.fit_temperature(torch.tensor(logits), labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf"), None, "warm"])
def test_only_positive_temperatures_are_applied(temperature):
    with pytest.raises(ConfidenceError, match="temperature"):
        confidence.apply_temperature(torch.tensor([[2.0, 0.0]]), temperature)


def test_it_works_inside_no_grad_and_leaves_the_generator_alone():
    logits, labels = drawn(200, 3, 1.0)
    state = torch.get_rng_state()
    with torch.no_grad():
        inside = confidence.fit_temperature(logits, labels)
    assert inside == confidence.fit_temperature(logits, labels)
    with torch.inference_mode():
        assert confidence.fit_temperature(logits.clone(), labels.clone()) == inside
    assert not logits.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_probabilities_in_any_precision_are_no_logits(kind):
    logits, labels = drawn(50, 5, 1.0)
    with pytest.raises(ConfidenceError, match="these are probabilities"):
        confidence.fit_temperature(logits.softmax(dim=1).to(kind), labels)

"""Performance beside calibration, two networks compared in pairs, and promises that break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepdrift import confidence
from deepdrift.attribution import saliency, top_iou
from deepdrift.confidence.reliability import bin_index
from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import Estimate, EvaluationError, proportion
from deepdrift.lab.confidence_under_shift.experiment import Predictions, Sets, along

__all__ = [
    "Promise",
    "answers_given",
    "ece_difference",
    "first_above",
    "growth",
    "keep_promise",
    "overlap",
    "prediction_lines",
    "promise_lines",
    "simulate_calibrated",
]


def simulate_calibrated(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two-class probabilities and labels of a model whose every confidence is true.

    Confidence is uniform from 0.5 to 1, and each prediction is right with just that probability.
    """
    generator = torch.Generator().manual_seed(seed)
    sure = 0.5 + 0.5 * torch.rand(n, generator=generator, dtype=torch.float64)
    right = torch.rand(n, generator=generator, dtype=torch.float64) < sure
    return torch.stack([sure, 1 - sure], dim=1), (~right).long()


def growth(
    found: Mapping[str, Predictions], shift: str, temperature: float = 1.0, n_bins: int = 15
) -> dict[str, dict[str, float]]:
    """Accuracy, F1, confidence, ECE and its null's 95 % quantile at severity 0 to 5."""
    rows = {}
    for severity, answers in enumerate(along(found, shift)):
        p = answers.at(temperature)
        test = confidence.calibration_test(p, answers.labels, n_bins)
        rows[f"severity {severity}"] = {
            "accuracy": answers.accuracy,
            "F1": answers.f1,
            "confidence": float(p.amax(dim=1).mean()),
            "ECE": test.ece,
            "by chance": test.null_high,
        }
    return rows


def ece_difference(
    first: Predictions,
    second: Predictions,
    n_bins: int = 15,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """ECE of one network minus that of another on the same images, bootstrap over images."""
    if len(first) != len(second):
        raise EvaluationError(f"expected the same images, got {len(first)} and {len(second)}")
    n = len(first)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
    weights = torch.from_numpy(np.concatenate([np.ones((1, n)), draws]))

    def errors(answers: Predictions) -> Tensor:
        top = answers.confidence
        bins = bin_index(top, n_bins)
        gap = torch.zeros(n, n_bins, dtype=torch.float64)
        gap[torch.arange(n), bins] = top - answers.correct.double()
        return (weights @ gap).abs().sum(dim=1) / n

    gaps = errors(first) - errors(second)
    low, high = gaps[1:].quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(float(gaps[0]), low, high, n, n)


@dataclass(frozen=True, eq=False)
class Promise:
    """A threshold chosen on held-out data, spent on a shift.

    Attributes
    ----------
    chosen : Acceptance
    coverage : list of float
        Share answered at severity 0 to 5.
    risk : list of Estimate or None
        Share of wrong answers with an exact 95 % interval; None where nothing is answered.
    """

    chosen: confidence.Acceptance
    coverage: list[float]
    risk: list[Estimate | None]

    @property
    def broken_at(self) -> int | None:
        """First severity at which the interval of the risk lies above the promise."""
        for severity, risk in enumerate(self.risk):
            if risk is not None and risk.low > self.chosen.max_risk:
                return severity
        return None

    @property
    def silent_at(self) -> int | None:
        """First severity from which on less than 1 % is answered."""
        speaking = [s for s, share in enumerate(self.coverage) if share >= 0.01]
        first = speaking[-1] + 1 if speaking else 0
        return first if first < len(self.coverage) else None


def keep_promise(
    found: Mapping[str, Predictions], shift: str, score: str, max_risk: float
) -> Promise:
    """Choose "at most ``max_risk`` wrong" on the held-out images, and spend it along a shift."""
    held = found["held"]
    chosen = confidence.accept_at_risk(held.scores[score], held.correct, max_risk)
    coverage, risk = [], []
    for answers in along(found, shift):
        kept = chosen.accepts(answers.scores[score])
        n = int(kept.sum())
        coverage.append(n / len(answers))
        wrong = int((~answers.correct[kept]).sum())
        risk.append(proportion(wrong, n) if n else None)
    return Promise(chosen, coverage, risk)


def promise_lines(
    found: Mapping[str, Predictions], shifts: Sequence[str], score: str, max_risk: float
) -> list[str]:
    """Per shift, in words: where the promise breaks, and where nothing is answered any more."""
    lines = []
    for shift in shifts:
        kept = keep_promise(found, shift, score, max_risk)
        broken = "not seen to break" if kept.broken_at is None else f"breaks at {kept.broken_at}"
        quiet = "" if kept.silent_at is None else f", silent from {kept.silent_at}"
        answered = " ".join(f"{share:4.0%}" for share in kept.coverage)
        lines.append(f"  {shift:<15}{answered}   {broken}{quiet}")
    return lines


def prediction_lines(
    found: Mapping[str, Predictions], names: Sequence[str], classes: Sequence[str], n: int = 3
) -> str:
    """How often the ``n`` commonest classes are predicted, a line for each set."""
    lines = []
    for name in names:
        counts = found[name].guess.bincount(minlength=len(classes))
        most = counts.argsort(descending=True, stable=True)[:n].tolist()
        said = ", ".join(f"{classes[k]} {counts[k] / len(found[name]):.0%}" for k in most)
        lines.append(f"  {name:<13} called {said}")
    return "\n".join(lines)


def overlap(kind: str, sets: Sets, shift: str, n: int = 200) -> list[Estimate]:
    """Overlap of saliency maps of an image and its shifted copy, at severity 0 to 5.

    The mean over ``n`` images of the top-20 % IoU, with a normal 95 % interval; explained is the
    class predicted for the clean image. 1 at severity 0.
    """
    network = data.load_network(f"{kind}-holdout-1")
    images = sets.clean.images[:n]
    n = len(images)
    with torch.no_grad():
        guess = network(images).argmax(dim=1)
    clean = saliency(network, images, guess).maps
    found = []
    for severity in range(6):
        shifted = sets.shifted(shift, severity)[:n] if severity else images
        values = top_iou(clean, saliency(network, shifted, guess).maps).double()
        half = 1.96 * float(values.std()) / n**0.5
        mean = float(values.mean())
        found.append(Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n, n))
    return found


def first_above(values: Sequence[float], limit: float) -> int | None:
    """First severity at which a number exceeds a limit.

    Examples
    --------
    >>> first_above([0.1, 2.0, 5.0], 3.0), first_above([0.1], 3.0)
    (2, None)
    """
    return next((s for s, value in enumerate(values) if value > limit), None)


def answers_given(
    found: Mapping[str, Predictions], shifts: Sequence[str], score: str, max_risk: float
) -> tuple[int, int]:
    """Number of answers given over all shifts at severity 1 to 5, and of wrong ones among them."""
    held = found["held"]
    chosen = confidence.accept_at_risk(held.scores[score], held.correct, max_risk)
    given = wrong = 0
    for shift in shifts:
        for answers in along(found, shift)[1:]:
            kept = chosen.accepts(answers.scores[score])
            given += int(kept.sum())
            wrong += int((kept & ~answers.correct).sum())
    return given, wrong

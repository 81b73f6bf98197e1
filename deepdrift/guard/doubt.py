"""Two lamps: how doubtful an answer is, and whether that question has an answer here at all."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import (
    conformal_p_values,
    conformal_threshold,
    required_samples,
)
from deepdrift.guard.checks import GuardError
from deepdrift.guard.familiar import Familiar
from deepdrift.guard.scores import answer_score
from deepdrift.guard.trace import INVALID, GuardTrace
from deepdrift.guard.wrong import Method, WrongCurve

BEYOND = 2.0
UNCHECKED = "prompts not checked: call fit(pairs) first"


@dataclass(frozen=True, eq=False)
class Doubt:
    """What the lamps say of B answers; iterating, or an index, gives them one by one.

    Attributes
    ----------
    valid : Tensor, shape (B,), bool
        Whether the promise holds: the prompt is like those of the calibration, and everything is
        finite. Where it does not, there is no number to rely on.
    nll : Tensor, shape (B,), float64
        The score that decides; the whole answer's negative log-likelihood unless another was asked.
    threshold : Tensor, shape (B,), float64
        Of right answers at most ``alpha`` score above; NaN where not valid.
    is_doubtful : Tensor, shape (B,), bool
        Above the threshold, or not valid.
    p_wrong, low, high : tuple of float or None
        Calibrated probability of being wrong with its band; None where not valid, or where no
        wrong answers were known.
    reason : tuple of str
        One sentence for each row.
    """

    valid: Tensor
    nll: Tensor
    threshold: Tensor
    is_doubtful: Tensor
    p_wrong: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reason)

    def __getitem__(self, i: int) -> Doubt:
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        rows = slice(i, i + 1) if i != -1 else slice(i, None)
        return Doubt(**{name: value[rows] for name, value in vars(self).items()})

    def __iter__(self) -> Iterator[Doubt]:
        return (self[i] for i in range(len(self)))

    def __str__(self) -> str:
        return "\n".join(self.reason)


@dataclass
class Template:
    """What was calibrated for prompts of one template.

    Attributes
    ----------
    trace : GuardTrace
        The calibration answers.
    correct : Tensor, shape (N,), bool
    has_wrong : bool
        Whether right and wrong were told; otherwise all are right.
    familiar : Familiar or None
        What normal prompts look like; None before `fit`.
    """

    name: Hashable
    trace: GuardTrace
    correct: Tensor
    has_wrong: bool
    alpha: float
    method: Method
    confidence: float
    familiar: Familiar | None
    reference: Tensor | None
    _prompts: Tensor | None = field(default=None, init=False)
    _thresholds: dict[str, float] = field(default_factory=dict, init=False)
    _curves: dict[str, WrongCurve] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        needed, n = required_samples(self.alpha), int(self.correct.sum())
        if n < needed:
            raise GuardError(
                f"pairs: a threshold for alpha = {self.alpha:g} needs {needed} right answers or "
                f"more{self._where}, got {n} of {len(self.correct)}; add some, or take alpha >= "
                f"{1 / (n + 1):.3g}"
            )
        if self.familiar is not None:
            self._prompts = self.familiar.score(self.trace.prompt_sketch)
            if not bool(self._prompts.isfinite().all()):
                raise CalibrationError("pairs: hidden states of some prompts are not finite")
        self.threshold("nll")
        if self.has_wrong:
            self.curve("nll")

    @property
    def _where(self) -> str:
        return "" if self.name is None else f" in template {self.name!r}"

    def threshold(self, score: str) -> float:
        """The conformal threshold of right answers for the score of that name."""
        if score not in self._thresholds:
            values = answer_score(self.trace, score, self.reference)[self.correct]
            self._thresholds[score] = conformal_threshold(values, self.alpha)
        return self._thresholds[score]

    def curve(self, score: str) -> WrongCurve:
        """The probability of being wrong as a function of that score."""
        if score not in self._curves:
            values = answer_score(self.trace, score, self.reference)
            self._curves[score] = WrongCurve(
                values, ~self.correct, self.method, self.confidence, self._where
            )
        return self._curves[score]

    def p_values(self, sketches: Tensor) -> Tensor:
        """Conformal p-value ``(B,)`` of prompts with sketches ``(B, L, r)``; NaN before `fit`."""
        if self.familiar is None or self._prompts is None:
            return torch.full((len(sketches),), torch.nan, dtype=torch.float64, device="cpu")
        return conformal_p_values(self._prompts, self.familiar.score(sketches))

    def strangest(self, trace: GuardTrace) -> list[str]:
        """For each prompt the first layer that does not follow from the one before.

        A faulty layer makes all that come after it unusual too, and the last ones most of all: so
        the first counts whose squared innovation is beyond `BEYOND` times the largest of the
        calibration; where there is none, the one that is farthest beyond its mean.
        """
        if self.familiar is None:
            return [""] * len(trace)
        normal = self.familiar.squared(self.trace.prompt_sketch)
        found = self.familiar.squared(trace.prompt_sketch).nan_to_num(torch.inf, torch.inf)
        beyond = found > BEYOND * normal.amax(dim=0)
        farthest = (found / normal.mean(dim=0).clamp(min=1e-12)).argmax(dim=1)
        first = torch.where(beyond.any(dim=1), beyond.long().argmax(dim=1), farthest)
        return [trace.layers[1 + i] for i in first.tolist()]

    def doubt(self, trace: GuardTrace, score: str) -> list[tuple]:
        """The fields of a `Doubt`, row by row."""
        values = answer_score(trace, score, self.reference)
        p_prompt, layers = self.p_values(trace.prompt_sketch), self.strangest(trace)
        limit = self.threshold(score)
        curve = self.curve(score) if self.has_wrong else None
        numbers = curve(values) if curve is not None else None
        rows = []
        for i, value in enumerate(values.tolist()):
            problem = self._problem(trace, i, value, float(p_prompt[i]), layers[i])
            if problem:
                text = f"not valid here: {problem}"
                rows.append((False, value, math.nan, True, None, None, None, text))
                continue
            p = [None] * 3 if numbers is None else [float(x[i]) for x in numbers]
            doubtful = value > limit
            text = self._sentence(score, value, limit, doubtful, p)
            rows.append((True, value, limit, doubtful, *p, text))
        return rows

    def _problem(self, trace: GuardTrace, i: int, value: float, p: float, layer: str) -> str:
        if int(trace.lengths[i]) == 0:
            return "the answer has no token"
        if math.isnan(value) or bool((trace.state[i] == INVALID).any()):
            return "logits or states are not finite"
        if p <= self.alpha:
            return (
                f"unfamiliar prompt (p = {p:.3f}{self._where}), first at {layer}; the threshold "
                "was calibrated on others"
            )
        return ""

    def _sentence(self, score: str, value: float, limit: float, doubtful: bool, p: list) -> str:
        said, line = told_apart(value, limit)
        text = (
            f"{'doubtful' if doubtful else 'not doubtful'}: {score} {said} is "
            f"{'above' if doubtful else 'not above'} {line}, which at most {self.alpha:.0%} "
            "of right answers exceed"
        )
        if p[0] is not None:
            text += f"; wrong with p = {p[0]:.2f} [{p[1]:.2f}, {p[2]:.2f}] ({self.method})"
        return text + ("" if self.familiar is not None else f"; {UNCHECKED}")


def told_apart(value: float, limit: float) -> tuple[str, str]:
    """Two numbers with two decimals, or with as many more, up to six, as tell them apart.

    Examples
    --------
    >>> told_apart(1.94, 3.331), told_apart(0.0003, 0.0024), told_apart(0.0, 0.0)
    (('1.94', '3.33'), ('0.000', '0.002'), ('0.00', '0.00'))
    """
    for digits in range(2, 7):
        said, line = f"{value:.{digits}f}", f"{limit:.{digits}f}"
        if said != line:
            return said, line
    return (said, line) if value != limit else (f"{value:.2f}", f"{limit:.2f}")


def unknown_template(trace: GuardTrace, i: int, name: Hashable, known: list[str]) -> tuple:
    """The row of a prompt whose template was not calibrated."""
    value = float(trace.nll[i])
    text = (
        f"not valid here: no threshold was calibrated for template {name!r} (known: "
        f"{', '.join(known)})"
    )
    return False, value, math.nan, True, None, None, None, text


def as_doubt(rows: list[tuple]) -> Doubt:
    """Rows side by side."""
    valid, nll, threshold, doubtful, p, low, high, reason = zip(*rows, strict=True)
    return Doubt(
        torch.tensor(valid, device="cpu"),
        torch.tensor(nll, dtype=torch.float64, device="cpu"),
        torch.tensor(threshold, dtype=torch.float64, device="cpu"),
        torch.tensor(doubtful, device="cpu"),
        p,
        low,
        high,
        reason,
    )

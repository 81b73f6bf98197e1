"""Two explorers: reliability while a shift grows, and a promise that is spent on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from deepdrift import confidence
from deepdrift.lab.bench.controls import (
    ExplorerError,
    choice_control,
    number_control,
    toggle_control,
)
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures import BLUE, VERMILLION, ink, percent_axis
from deepdrift.lab.confidence_under_shift import figures
from deepdrift.lab.confidence_under_shift.experiment import SCORES, Predictions, along
from deepdrift.lab.confidence_under_shift.measures import Promise, keep_promise

Found = Mapping[str, Mapping[str, Predictions]]


def _names(networks: Found, shifts: tuple[str, ...]) -> list[str]:
    if not networks or not shifts:
        raise ExplorerError("networks, shifts: expected at least one of each, got none")
    for name, found in networks.items():
        lacking = [s for s in shifts if f"{s} 5" not in found]
        if lacking:
            raise ExplorerError(f"{name}: expected predictions for {lacking[0]!r} 1 to 5")
    return list(networks)


class ReliabilityExplorer(Explorer):
    """Accuracy against confidence, with the band of a calibrated model.

    Left: the reliability diagram. Right: ECE against severity beside what chance allows.

    Parameters
    ----------
    networks : mapping of str to mapping of str to Predictions
        As `deepdrift.lab.confidence_under_shift.experiment.predict` gives them.
    shifts : tuple of str
    temperatures : mapping of str to float
        Of every network.
    """

    _panels = (1.0, 1.1)

    def __init__(
        self, networks: Found, shifts: tuple[str, ...], temperatures: Mapping[str, float]
    ) -> None:
        names = _names(networks, shifts)
        self._networks, self._t = networks, dict(temperatures)
        self._case, self._test, self._errors = map(cache, (self._look, self._judge, self._eces))
        self._start(
            {
                "severity": number_control("severity", 3, 0, 5, 1),
                "bins": number_control("bins", 15, 2, 30, 1),
                "shift": choice_control("shift", shifts),
                "network": choice_control("network", names),
                "temperature": toggle_control("with the temperature of clean data"),
            }
        )

    def _look(self, severity: int, shift: str, network: str, temperature: bool) -> tuple[Any, Any]:
        answers = along(self._networks[network], shift)[severity]
        return answers.at(self._t[network] if temperature else 1.0), answers

    def test(self, **values: Any) -> confidence.CalibrationTest:
        """ECE and its null at the current values; with values: there, and nothing moves."""
        v = self._values_at(values)
        return self._test(v["severity"], v["bins"], v["shift"], v["network"], v["temperature"])

    def _judge(
        self, severity: int, bins: int, shift: str, network: str, temperature: bool
    ) -> confidence.CalibrationTest:
        p, answers = self._case(severity, shift, network, temperature)
        return confidence.calibration_test(p, answers.labels, bins)

    def _eces(self, bins: int, shift: str, network: str, temperature: bool) -> list[float]:
        """ECE at every severity."""
        cases = (self._case(s, shift, network, temperature) for s in range(6))
        return [confidence.ece(p, answers.labels, bins) for p, answers in cases]

    def _sentence(
        self, severity: int, bins: int, shift: str, network: str, temperature: bool
    ) -> str:
        test = self._test(severity, bins, shift, network, temperature)
        p, answers = self._case(severity, shift, network, temperature)
        sure = float(p.amax(dim=1).mean())
        word = "more than" if test.ece > test.null_high else "within"
        return (
            f"{network}, {shift.replace('_', ' ')} at severity {severity}: says {sure:.0%}, is "
            f"right in {answers.accuracy:.0%}; ECE {test.ece:.3f}, {word} the {test.null_high:.3f} "
            f"that chance allows with {bins} bins."
        )

    def _draw(
        self,
        axes: list[Any],
        severity: int,
        bins: int,
        shift: str,
        network: str,
        temperature: bool,
    ) -> None:
        left, right = axes
        p, answers = self._case(severity, shift, network, temperature)
        left.yaxis.labelpad = 0  # "100 %" is wide
        figures.draw_reliability(left, p, answers.labels, bins, "reliability")
        errors = self._errors(bins, shift, network, temperature)
        chance = self._test(severity, bins, shift, network, temperature).null_high
        right.plot(range(6), errors, marker="o", markersize=5, color=VERMILLION, linewidth=2)
        right.plot(severity, errors[severity], "o", markersize=11, color=VERMILLION)
        right.fill_between([0, 5], 0, chance, color=BLUE, alpha=0.35, linewidth=0, zorder=0.8)
        right.text(5, chance + 0.025, "by chance", ha="right", color=ink(BLUE), fontsize=10)
        right.set(xlabel="severity", ylabel="ECE", xlim=(-0.2, 5.2), ylim=(0, 0.9))
        percent_axis(right.yaxis)
        right.set_title(f"ECE {errors[severity]:.3f}")


class PromiseExplorer(Explorer):
    """A promise, "at most r % of the answers are wrong", chosen on clean images and spent.

    Parameters
    ----------
    networks, shifts
        As in `ReliabilityExplorer`.
    """

    _panels = (1.3, 1.0)

    def __init__(self, networks: Found, shifts: tuple[str, ...]) -> None:
        names = _names(networks, shifts)
        self._networks, self._promise = networks, cache(self._keep)
        self._start(
            {
                "wrong": number_control("at most % wrong", 5, 1, 20, 1),
                "score": choice_control("score", SCORES),
                "shift": choice_control("shift", shifts),
                "network": choice_control("network", names),
            }
        )

    def promise(self, **values: Any) -> Promise:
        """What is kept at the current values; with values: there, and nothing moves."""
        return self._promise(*self._values_at(values).values())

    def _keep(self, wrong: int, score: str, shift: str, network: str) -> Promise:
        return keep_promise(self._networks[network], shift, score, wrong / 100)

    def _sentence(self, wrong: int, score: str, shift: str, network: str) -> str:
        kept = self._promise(wrong, score, shift, network)
        start = f"{network}, {score}, {shift.replace('_', ' ')}:"
        if kept.chosen.coverage == 0:
            return (
                f"{start} at most {wrong} % wrong cannot be promised at all; nothing is answered."
            )
        clean = f"clean images: {kept.coverage[0]:.0%} answered"
        clean += f", {kept.risk[0].value:.1%} wrong;" if kept.risk[0] else ";"
        if kept.broken_at is None:
            return f"{start} {clean} the promise of {wrong} % is not seen to break."
        risk = kept.risk[kept.broken_at]
        return (
            f"{start} {clean} the promise of {wrong} % breaks at severity {kept.broken_at}, where "
            f"{risk.value:.0%} of the answers are wrong."
        )

    def _draw(self, axes: list[Any], wrong: int, score: str, shift: str, network: str) -> None:
        figures.draw_promise(axes, self._promise(wrong, score, shift, network))
        for ax in axes:
            ax.yaxis.labelpad = 0  # "100 %" is wide
        axes[0].set_title("is the promise kept?")
        axes[1].set_title("at which price?")

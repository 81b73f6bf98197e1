"""A shift that grows, seen by raw velocity and by innovation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.evaluation import Array, Estimate, as_scores, auroc
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.innovation.figures import draw_growth, draw_picture, keep_sides


class ShiftExplorer(Explorer):
    """Let a shift grow and compare how well two or more scores see it.

    Left: the chosen score for normal and for shifted samples. Right: AUROC of every score against
    severity, in fixed orientation (larger score = more unusual), so that a score that sinks below
    0.5 is seen to point the wrong way. Controls: ``severity``, ``score``, and ``shift`` where
    several shifts are given.

    Parameters
    ----------
    scores : mapping of score name to mapping of severity to array_like, shape (N,)
        Severities 0, 1, ..., S; severity 0 is the normal set. For several shifts: a mapping of
        shift name to such mappings.
    shift : str
        Name of the shift, if there is only one.
    severity : int
        Where the slider starts.
    log : bool
        Logarithmic score axis.
    pictures : mapping of shift name to sequence of Tensor, shape (1, H, W), optional
        What an image looks like at the severities 0 to S, shown at the left.

    Examples
    --------
    >>> scores = {"velocity": {0: range(10, 20), 1: range(10)}}
    >>> app = ShiftExplorer(scores, shift="blur", severity=1)
    >>> print(app.summary())
    Blur at severity 1: velocity has an AUROC of 0.000 [0.000, 0.308]: it takes the shifted \
samples for more normal than the normal ones.
    """

    _panels = (1.3, 1.0)

    def __init__(
        self,
        scores: Mapping[str, Mapping[Any, Any]],
        *,
        shift: str = "the shift",
        severity: int = 3,
        log: bool = False,
        xlabel: str = "{score} (larger = more unusual)",
        pictures: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> None:
        if not scores:
            raise ExplorerError("scores: expected at least one score, got none")
        inner = next(iter(scores.values()))
        several = all(isinstance(v, Mapping) for v in inner.values()) and len(inner) > 0
        by_shift = scores if several else {shift: scores}
        self._log, self._xlabel = log, xlabel
        self._scores: dict[tuple[str, str], list[Array]] = {}
        names = list(next(iter(by_shift.values())))
        for shift_name, by_score in by_shift.items():
            if list(by_score) != names:
                raise ExplorerError(
                    f"scores[{shift_name!r}]: expected the scores {', '.join(names)}, "
                    f"got {', '.join(map(str, by_score))}"
                )
            for name, by_severity in by_score.items():
                self._scores[str(shift_name), str(name)] = self._series(by_severity, name)
        self._edges = {key: _common_edges(s, log) for key, s in self._scores.items()}
        lengths = {len(series) for series in self._scores.values()}
        if len(lengths) != 1:
            raise ExplorerError(
                "scores: expected the same severities everywhere, got up to "
                + " and ".join(str(n - 1) for n in sorted(lengths))
            )
        self._estimates: dict[tuple[str, str], list[Estimate]] = {
            key: [auroc(series[0], s) for s in series] for key, series in self._scores.items()
        }
        self._names = [str(name) for name in names]
        self._shifts = [str(name) for name in by_shift]
        top = lengths.pop() - 1
        self._pictures = None if pictures is None else {k: list(v) for k, v in pictures.items()}
        if self._pictures is not None:
            short = [k for k in self._shifts if len(self._pictures.get(k, ())) != top + 1]
            if short:
                raise ExplorerError(f"pictures of {short[0]!r}: expected {top + 1}, one a severity")
            self._panels = (0.55, 1.7, 0.95)
        controls = {
            "severity": number_control("severity", min(severity, top), 0, top, 1),
            "score": choice_control("score", self._names),
        }
        if several:
            controls["shift"] = choice_control("shift", self._shifts)
        self._start(controls)

    @staticmethod
    def _series(by_severity: Mapping[Any, Any], name: str) -> list[Array]:
        severities = sorted(by_severity)
        if severities != list(range(len(severities))) or len(severities) < 2:
            raise ExplorerError(
                f"scores of {name!r}: expected the severities 0, 1, ..., S with S >= 1, "
                f"got {severities}"
            )
        return [as_scores(by_severity[s], f"{name}, severity {s}", 2) for s in severities]

    def auroc(self, **values: Any) -> Estimate:
        """AUROC of the chosen score at the chosen severity, against severity 0.

        With values: there, and nothing moves.
        """
        values = self._values_at(values)
        key = values.get("shift", self._shifts[0]), values["score"]
        return self._estimates[key][values["severity"]]

    def _sentence(self, severity: int, score: str, shift: str | None = None) -> str:
        shift = shift or self._shifts[0]
        start = shift[:1].upper() + shift[1:]
        if severity == 0:
            return f"{start} at severity 0 changes nothing: the AUROC of any score is 0.5."
        e = self._estimates[shift, score][severity]
        if e.low > 0.5:
            reading = (
                f"a shifted sample scores higher than a normal one in "
                f"{100 * e.value:.0f} of 100 pairs"
            )
        elif e.high < 0.5:
            reading = "it takes the shifted samples for more normal than the normal ones"
        else:
            reading = "not told apart from a coin flip"
        return f"{start} at severity {severity}: {score} has an AUROC of {e}: {reading}."

    def _draw(self, axes: list[Any], severity: int, score: str, shift: str | None = None) -> None:
        shift = shift or self._shifts[0]
        *first, left, right = axes
        if self._pictures is not None:
            draw_picture(first[0], self._pictures[shift][severity])
            first[0].set_title(f"severity {severity}", fontweight="normal", fontsize=10)
        series = self._scores[shift, score]
        names = "normal", f"severity {severity}"
        drawn = figures.draw_two_histograms(
            left, series[0], series[severity], names, f"{shift}, severity {severity}",
            self._xlabel.format(score=score), log=self._log, edges=self._edges[shift, score],
        )  # fmt: skip
        keep_sides(drawn, names)
        if self._pictures is not None:
            left.set_ylabel("")  # no room beside the picture; the axis is in percent
        chosen = self._estimates[shift, score][severity].value
        draw_growth(
            right,
            {n: [e.value for e in self._estimates[shift, n]] for n in self._names},
            score,
            severity,
            f"AUROC {chosen:.3f}",
        )


def _common_edges(series: Sequence[Array], log: bool) -> Array:
    """Bins for all severities together, so that a growing shift is seen to move."""
    if not log:  # a few extreme scores must not squeeze the rest: they go to the outermost bins
        series = [
            np.clip(s, *np.quantile(s[np.isfinite(s)], [0.002, 0.99]))
            for s in series
            if np.isfinite(s).any()
        ]
    return figures.histogram_edges(*series, n_bins=40, log=log)

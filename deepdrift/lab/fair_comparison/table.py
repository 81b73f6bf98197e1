"""Many scores of detectors, over several trainings, as one table with honest intervals.

The unit is an image: one that was scored clean and through eleven faults counts once, not twelve
times. With the placements of DeLong et al. (1988), an average of AUROCs is an average over images
plus noise; what one image adds to it, over all sets it appears in, is one independent term
(clusters after Obuchowski, Biometrics 53, 1997). Patches of one photograph count as one too.
Detectors see the same images, so differences come from the covariance of their terms, not from two
separate intervals.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from scipy import stats

from deepdrift.lab.bench.evaluation import (
    Array,
    Estimate,
    EvaluationError,
    aupr,
    fpr_at_tpr,
    placements,
)
from deepdrift.lab.fair_comparison.protocol import KINDS, Scores

__all__ = ["GROUPS", "Comparison", "groups_of", "load_comparisons", "save_comparisons"]

GROUPS = ("all shifts", *KINDS)
RENAMED = {"fused (default)": "fused"}  # names of scores in files written before -> today's


def groups_of(kinds: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Averages over sets: name -> set key -> weight, the weights of each adding up to 1.

    A corruption counts once, with its severities averaged; in "all shifts" it weighs as much as
    the new classes or one far set.

    Parameters
    ----------
    kinds : dict of str to str
        Set key -> kind, as in `deepdrift.lab.fair_comparison.protocol.Scores`.

    Examples
    --------
    >>> groups = groups_of({"bags": "near", "blur 1": "corruption", "blur 5": "corruption"})
    >>> groups["all shifts"]
    {'bags': 0.5, 'blur 1': 0.25, 'blur 5': 0.25}
    >>> groups["blur"]
    {'blur 1': 0.5, 'blur 5': 0.5}
    """
    shifts: dict[str, list[str]] = {}
    for key, kind in kinds.items():
        shifts.setdefault(key.rsplit(" ", 1)[0] if kind == "corruption" else key, []).append(key)
    groups = {key: {key: 1.0} for key in kinds}
    groups |= {name: {k: 1 / len(keys) for k in keys} for name, keys in shifts.items()}
    for group in GROUPS:
        members = [
            keys for keys in shifts.values() if group == GROUPS[0] or kinds[keys[0]] == group
        ]
        if members:
            groups[group] = {k: 1 / len(members) / len(keys) for keys in members for k in keys}
    return groups


@dataclass(frozen=True, eq=False)
class Comparison:
    """AUROC of every detector on every set and average, for several trainings of one network.

    Attributes
    ----------
    detectors, rows : tuple of str
        Names; a row is a set key, a shift, or one of ``GROUPS``.
    kinds : dict of str to str
        Set key -> kind.
    values : Array, shape (S, R, D)
        AUROC per training, row and detector.
    covariance : Array, shape (R, D, D)
        Of the mean over the trainings, from the draw of test images alone.
    false_alarms : Array, shape (S, A, D)
        Share of normal test images flagged at each of ``alphas``.
    alphas : tuple of float
    n_test : int
        Normal test images.
    measured_rows : tuple of str
    measured : Array, shape (S, M, D, 2, 3)
        AUPR and FPR95 of every training: value, low, high.

    Examples
    --------
    >>> one = {"a": {"test": np.array([1.0, 3]), "x": np.array([2.0, 3, 4])}}
    >>> comparison = Comparison.of([Scores(one, {"a": {0.5: 3.0}}, {"x": "far"})])
    >>> comparison.auroc("a", "x").value
    0.75
    """

    detectors: tuple[str, ...]
    rows: tuple[str, ...]
    kinds: dict[str, str]
    values: Array
    covariance: Array
    false_alarms: Array
    alphas: tuple[float, ...]
    n_test: int
    measured_rows: tuple[str, ...] = ()
    measured: Array = field(default_factory=lambda: np.zeros((0, 0, 0, 2, 3)))

    @classmethod
    def of(
        cls, runs: Sequence[Scores], measured_rows: Sequence[str] = (), n_bootstrap: int = 200
    ) -> Comparison:
        """Summarise the scores of several trainings on the same sets.

        Parameters
        ----------
        runs : sequence of Scores
        measured_rows : sequence of str
            Set keys to bootstrap AUPR and FPR95 for, which takes about 0.1 s a detector and set.
        n_bootstrap : int
            Resamples for them.

        Raises
        ------
        EvaluationError
            If the runs differ in sets or detectors.
        """
        if not runs:
            raise EvaluationError("runs: expected the scores of at least one training, got none")
        first = runs[0]
        if any((r.kinds, r.detectors) != (first.kinds, first.detectors) for r in runs):
            raise EvaluationError("runs: expected the same sets and detectors in every run")
        groups, names = groups_of(first.kinds), first.detectors
        n = len(first.values[names[0]]["test"])
        values = np.zeros((len(runs), len(groups), len(names)))
        covariance = np.zeros((len(groups), len(names), len(names)))
        by_set = {key: _terms(runs, key) for key in first.kinds}  # set by set, trainings averaged
        for s, run in enumerate(runs):
            aurocs = {k: by_set[k][0][s] for k in run.kinds}
            for r, weights in enumerate(groups.values()):
                values[s, r] = sum(w * aurocs[k] for k, w in weights.items())
        for r, weights in enumerate(groups.values()):
            of_test = np.zeros((len(names), n))
            for key, weight in weights.items():
                _, of_normal, of_shifted = by_set[key]
                of_test += weight * of_normal
                if first.kinds[key] == "corruption":
                    of_test += weight * of_shifted
                else:
                    covariance[r] += _scatter(weight * of_shifted, first.clusters.get(key))
            covariance[r] += _scatter(of_test)
        alphas = tuple(first.thresholds[names[0]])
        flagged = [[[float(run.false_alarms(d, a)) for d in names] for a in alphas] for run in runs]
        measured = [
            [
                [_other_metrics(run.values[d], key, n_bootstrap) for d in names]
                for key in measured_rows
            ]
            for run in runs
        ]
        shape = (len(runs), len(measured_rows), len(names), 2, 3)
        return cls(
            names,
            tuple(groups),
            dict(first.kinds),
            values,
            covariance,
            np.array(flagged),
            alphas,
            n,
            tuple(measured_rows),
            np.array(measured).reshape(shape),
        )

    @property
    def shifts(self) -> tuple[str, ...]:
        """Rows of single shifts, the severities of a corruption averaged."""
        rows = (row for row in self.rows if row not in GROUPS)
        return tuple(row for row in rows if self.kinds.get(row) != "corruption")

    def auroc(self, detector: str, row: str = GROUPS[0]) -> Estimate:
        """Mean over the trainings, with its interval over the draw of test images.

        The interval does not cover another training: look at `by_training` for that.
        """
        d, r = self._index(detector, row)
        return self._estimate(self.values[:, r, d].mean(), self.covariance[r, d, d], 0.0)

    def by_training(self, detector: str, row: str = GROUPS[0]) -> Array:
        """AUROC of each training ``(S,)``."""
        d, r = self._index(detector, row)
        return self.values[:, r, d]

    def difference(self, a: str, b: str, row: str = GROUPS[0]) -> Estimate:
        """AUROC of a minus AUROC of b on the same images, as `auroc`; 0 inside means a tie."""
        (i, r), (j, _) = self._index(a, row), self._index(b, row)
        c = self.covariance[r]
        value = (self.values[:, r, i] - self.values[:, r, j]).mean()
        return self._estimate(value, c[i, i] + c[j, j] - 2 * c[i, j], -1.0)

    def over_trainings(self, a: str, b: str | None = None, row: str = GROUPS[0]) -> Estimate:
        """AUROC of a, or a minus b, with Student's interval over the trainings.

        It covers another training of the same kind on the same test images, and needs two
        trainings at least; with three it is wide.

        Examples
        --------
        >>> sets = [{"test": np.array([1.0, 3]), "x": np.array([x, 4, 4])} for x in (2.0, 3, 4)]
        >>> runs = [Scores({"a": each}, {"a": {0.5: 3.0}}, {"x": "far"}) for each in sets]
        >>> print(Comparison.of(runs).over_trainings("a"))
        0.917 [0.710, 1.000]
        """
        i, r = self._index(a, row)
        values = self.values[:, r, i]
        if b is not None:
            values = values - self.values[:, r, self._index(b, row)[0]]
        n = len(values)
        if n < 2:
            raise EvaluationError("over_trainings: expected two trainings or more, got one")
        half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)
        mean, lowest = float(values.mean()), -1.0 if b is not None else 0.0
        return Estimate(mean, max(lowest, mean - half), min(1.0, mean + half), n, 0)

    def ranking(self, row: str = GROUPS[0]) -> list[tuple[str, Estimate]]:
        """Detectors that apply, best first."""
        found = [(d, self.auroc(d, row)) for d in self.detectors]
        return sorted((p for p in found if not np.isnan(p[1].value)), key=lambda p: -p[1].value)

    def losses(
        self,
        detector: str,
        rows: Sequence[str] | None = None,
        rivals: Sequence[str] | None = None,
    ) -> list[tuple[str, str, Estimate]]:
        """Rows on which another detector is surely better: row, the best such, difference.

        Surely: the interval of the difference, detector minus other, lies below 0. With many rows
        and rivals some of these are luck. Largest loss first.

        Parameters
        ----------
        rows : sequence of str, optional
            By default all `shifts`.
        rivals : sequence of str, optional
            By default all other detectors.
        """
        found = []
        for row in self.shifts if rows is None else rows:
            others = self.detectors if rivals is None else rivals
            gaps = [(row, o, self.difference(detector, o, row)) for o in others if o != detector]
            sure = [item for item in gaps if item[2].high < 0]
            found += [min(sure, key=lambda item: item[2].value)] if sure else []
        return sorted(found, key=lambda item: item[2].value)

    def aupr(self, detector: str, row: str, training: int = 0) -> Estimate:
        """Area under the precision-recall curve of one training, where `of` measured it.

        Its chance level depends on the sizes of the two sets: compare within a row only.
        """
        return self._measured(detector, row, training, 0)

    def fpr95(self, detector: str, row: str, training: int = 0) -> Estimate:
        """False-alarm rate at which 95 % of the shifted images are caught; lower is better."""
        return self._measured(detector, row, training, 1)

    def _measured(self, detector: str, row: str, training: int, metric: int) -> Estimate:
        d, _ = self._index(detector, row)
        if row not in self.measured_rows:
            raise EvaluationError(f"row: measured for {', '.join(self.measured_rows)}, not {row!r}")
        found = self.measured[training, self.measured_rows.index(row), d, metric]
        return Estimate(*found.tolist(), self.n_test, 0)

    def _index(self, detector: str, row: str) -> tuple[int, int]:
        for name, known, what in ((detector, self.detectors, "detector"), (row, self.rows, "row")):
            if name not in known:
                raise EvaluationError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
        return self.detectors.index(detector), self.rows.index(row)

    def _estimate(self, value: float, variance: float, lowest: float) -> Estimate:
        half = float(stats.norm.ppf(0.975)) * float(np.sqrt(max(variance, 0.0)))
        low, high = max(lowest, value - half), min(1.0, value + half)
        return Estimate(float(value), float(low), float(high), self.n_test, 0)


def _terms(runs: Sequence[Scores], key: str) -> tuple[Array, Array, Array]:
    """AUROC ``(S, D)``, and what each normal and shifted image adds to the mean over S trainings.

    The terms ``(D, n)`` and ``(D, m)`` add up to 0 over the images.
    """
    aurocs, of_normal, of_shifted = [], 0.0, 0.0
    for run in runs:
        pairs = [placements(run.values[d]["test"], run.values[d][key]) for d in run.detectors]
        value = np.array([normal.mean() for normal, _ in pairs])
        aurocs.append(value)
        for_normal, for_shifted = (np.stack(part) for part in zip(*pairs, strict=True))
        of_normal += (for_normal - value[:, None]) / for_normal.shape[1] / len(runs)
        of_shifted += (for_shifted - value[:, None]) / for_shifted.shape[1] / len(runs)
    return np.array(aurocs), of_normal, of_shifted


def _scatter(terms: Array, clusters: Array | None = None) -> Array:
    """Covariance ``(D, D)`` of the sums of independent terms ``(D, n)`` with mean 0.

    What belongs to one cluster counts as one term.
    """
    if clusters is not None:
        _, rows = np.unique(clusters, return_inverse=True)
        terms = np.stack([np.bincount(rows, weights=line) for line in terms])
    n = terms.shape[1]
    return n / (n - 1) * terms @ terms.T


def _other_metrics(values: Mapping[str, Array], key: str, n_bootstrap: int) -> list[list[float]]:
    pair = values["test"], values[key]
    found = (metric(*pair, n_bootstrap=n_bootstrap) for metric in (aupr, fpr_at_tpr))
    return [[e.value, e.low, e.high] for e in found]


def save_comparisons(path: str | os.PathLike[str], named: Mapping[str, Comparison]) -> None:
    """Write comparisons, name by name, into one compressed npz file (numbers in float32)."""
    arrays = {}
    for name, comparison in named.items():
        for part in fields(Comparison):
            value = getattr(comparison, part.name)
            if isinstance(value, dict):
                value = np.array(list(value.items()))
            value = np.asarray(value)
            arrays[f"{name}/{part.name}"] = (
                value.astype(np.float32) if value.dtype == np.float64 else value
            )
    np.savez_compressed(Path(path), **arrays)


def load_comparisons(path: str | os.PathLike[str]) -> dict[str, Comparison]:
    """Inverse of `save_comparisons`; scores have the names of `RENAMED`, if they are there."""
    named: dict[str, dict[str, object]] = {}
    with np.load(Path(path), allow_pickle=False) as arrays:
        for key in arrays.files:
            name, part = key.rsplit("/", 1)
            value = arrays[key]
            if part == "kinds":
                value = dict(value.tolist())
            elif part == "n_test":
                value = int(value)
            elif part == "detectors":
                value = tuple(RENAMED.get(name, name) for name in value.tolist())
            elif part in ("rows", "measured_rows"):
                value = tuple(value.tolist())
            elif part == "alphas":
                value = tuple(round(float(a), 6) for a in value)
            else:
                value = value.astype(np.float64)
            named.setdefault(name, {})[part] = value
    return {name: Comparison(**parts) for name, parts in named.items()}

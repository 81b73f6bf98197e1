"""From hidden states to calibrated scores: everything a monitor does that needs no model.

Use it directly on states recorded earlier; `deepdrift.DeepDriftMonitor` adds the model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepdrift.alarms.findings import Findings
from deepdrift.alarms.input_evidence import NormalInputs
from deepdrift.errors import NotFittedError, StateError
from deepdrift.evidence import calibration as cal
from deepdrift.evidence.classes import ClassRanks
from deepdrift.evidence.drift import Drift
from deepdrift.evidence.fusion import Fusion
from deepdrift.monitor.columns import (
    BLOCKS,
    ScoreColumns,
    check_chain,
    check_widths,
    infinite_where_invalid,
    invalid_rows,
    split_states,
)
from deepdrift.monitor.diagnosing import diagnose, normal_inputs
from deepdrift.monitor.results import Calibration, Reading
from deepdrift.monitor.rules import PREDICTED, calibration_of, check_rule
from deepdrift.monitor.stream import PIECE, ScoreStream, split_rows
from deepdrift.scores.chain import ChainSums
from deepdrift.scores.distance import LayerDistance, check_labels
from deepdrift.scores.innovation import Innovation
from deepdrift.scores.moments import finite_samples
from deepdrift.scores.velocity import as_states, spatial_velocity
from deepdrift.states.inputs import INPUT

SCORES = {
    "fused": ("innovation", "distance", "relative"),
    "innovation": ("innovation",),
    "distance": ("distance",),
    "velocity": (),
}
# What the output says counts as much as the three blocks of the layers together.
BLOCK_WEIGHTS = {"output": 3.0, "input": 2.0}
N_SMALLEST = 2  # layers of a block that speak, those of the smallest p-values
SAMPLES_PER_CLASS = 5  # with fewer labelled samples than this, class means are noise
_ROWS = 4096  # samples that are copied at one time

States = dict[str, Tensor]


class StateScorer:
    """Score states ``{layer: (N, D_l)}`` against normal states.

    Parameters
    ----------
    score : {"fused", "innovation", "distance", "velocity"}
        ``fused`` combines innovation, layer distance and, with labels, relative distance
        (`deepdrift.evidence.fusion`). ``velocity`` is the raw peak spatial velocity, judged from
        both sides.
    alpha : float
        False-alarm rate per sample that the threshold promises.
    across_widths : {None, "norm"}
        See `deepdrift.spatial_velocity`.
    output_layer : str, optional
        Layer that holds the logits of a classifier. It is no link of the chain; with ``fused`` and
        labels, the relative distance of its state (`deepdrift.scores.distance`) is
        one more block, which counts as much as those of the layers together. New classes of the
        same sort show there.
    watch_input : bool
        Whether statistics of the input (`deepdrift.states.inputs.input_statistics`), the state
        named `deepdrift.states.inputs.INPUT`, are one more block of the score ``fused``.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> a = torch.randn(400, 3, generator=g)
    >>> scorer = StateScorer(score="innovation")
    >>> print(scorer.calibrate({"a": a, "b": a.flip(1)}).n_samples)
    100
    >>> x = torch.tensor([[2.0, 0.0, -2.0]])
    >>> scorer.read({"a": x, "b": x}).flagged  # b should be the mirror image of a
    tensor([True])
    """

    def __init__(
        self,
        score: str = "fused",
        alpha: float = 0.05,
        across_widths: str | None = None,
        output_layer: str | None = None,
        watch_input: bool = False,
    ) -> None:
        if score not in SCORES:
            raise StateError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
        cal.required_samples(alpha)
        self.score_name, self.alpha, self.across_widths = score, float(alpha), across_widths
        if output_layer is not None and score != "fused":
            raise StateError(f"output_layer: only score='fused' has an output term, not {score!r}")
        if watch_input and score != "fused":
            raise StateError(f"watch_input: only score='fused' has an input term, not {score!r}")
        self.output_layer, self.watch_input = output_layer, watch_input
        self.method = "conformal"
        self.widths: dict[str, int] = {}
        self.sums: ChainSums | None = None
        self.breaks: frozenset[str] = frozenset()  # layers that no step leads into
        self.output: LayerDistance | None = None
        self.input: LayerDistance | None = None
        self._columns: ScoreColumns | None = None
        self._one_sample: list[tuple[str, tuple[int, int]]] = []  # shapes of what `_columns` reads
        self.calibration_scores: dict[str, Tensor] = {}
        self.calibration: Calibration | None = None
        self._fusion: Fusion | None = None
        self._classes: ClassRanks | None = None
        self._drift: Drift | None = None
        self._normal = torch.empty(0, device="cpu")
        self._own_fit = False

    @property
    def fitted(self) -> bool:
        """Whether the statistics behind the score have seen normal data."""
        return bool(self.widths)

    @property
    def normal_scores(self) -> Tensor:
        """Scores ``(n,)`` of the calibration samples that new scores are ranked among."""
        if self.calibration is None:
            raise NotFittedError("score: calibrate on normal data first")
        return self._normal

    @property
    def innovation(self) -> Innovation | None:
        """A stand-alone copy of what is known about the steps, if the score uses it."""
        return self.sums.innovation() if self.sums is not None and self.sums.with_steps else None

    @property
    def distance(self) -> LayerDistance | None:
        """A stand-alone copy of what is known about the layers, if the score uses it."""
        used = self.sums is not None and "distance" in SCORES[self.score_name]
        return self.sums.distance() if used else None

    def partial_fit(self, states: States, labels: Tensor | None = None) -> StateScorer:
        """Learn from normal states; keeps sums only and drops an earlier calibration.

        Labels count if every call brings them and if, at the end, there are `SAMPLES_PER_CLASS`
        per class on average; else all data form one class.
        """
        states, others = self._split(as_states(states))
        check_chain(self.score_name, states)
        sums, known = self.sums, {"output": self.output, "input": self.input}
        if self._own_fit:  # what `calibrate` fitted for itself is no beginning
            sums, known = None, dict.fromkeys(known)
        else:
            check_widths(self.widths, states)
        blocks = SCORES[self.score_name]
        for name, state in others.items():
            block = "input" if name == INPUT else "output"
            fresh = LayerDistance().fit({name: state}, labels if block == "output" else None)
            known[block] = fresh if known[block] is None else known[block].merge(fresh)
        if blocks:
            sums = ChainSums("innovation" in blocks, self.breaks) if sums is None else sums
            sums.add(states, labels if "distance" in blocks else None)
        self.sums, self.output, self.input = sums, known["output"], known["input"]
        self._columns = None
        self.widths = {k: v.shape[1] for k, v in states.items()}
        self.calibration_scores, self.calibration, self._own_fit = {}, None, False
        return self

    def calibrate(
        self,
        states: States,
        labels: Tensor | None = None,
        method: str = "conformal",
        per_class: bool = False,
        inputs: Tensor | NormalInputs | None = None,
    ) -> Calibration:
        """Learn the scores of normal data and the threshold.

        Without an earlier `partial_fit` half of the samples, drawn by a fixed rule that depends on
        their number alone, fit the statistics. The others form the two halves of a `Fusion`.
        ``inputs`` ``(N, ...)``, of which statistics are kept, are for `diagnose`.

        With ``per_class`` alpha holds within every predicted class (the largest logit of the
        output layer): p-values are the ranks of scores among normal samples of the same class
        (`deepdrift.evidence.classes`). Scores and drift stay those of all samples.

        Raises
        ------
        CalibrationError
            Too few samples for alpha (the message says how many are needed), non-finite states,
            an unknown method, or ``per_class`` without an output layer or a conformal threshold.
        """
        check_rule(method, per_class, self.output_layer)
        states = {k: finite_samples(v, f"layer {k!r}") for k, v in as_states(states).items()}
        layers, _ = self._split(states)
        check_chain(self.score_name, layers)
        own_fit = self._own_fit or not self.fitted
        n = len(next(iter(states.values())))
        labels = None if labels is None else check_labels(labels, n)
        fit, first, second = split_rows(n, self.alpha, self._n_parts(own_fit), self._n_tails)

        def rows(index: Tensor) -> States:
            return {k: v[index.to(v.device)] for k, v in states.items()}

        if own_fit:
            if self.score_name == "velocity":
                self._peak_velocity(layers)  # or the error, before anything is forgotten
            self._own_fit = True  # the first of these calls forgets
            for part in (fit if len(fit) else torch.arange(n, device="cpu")).split(_ROWS):
                self.partial_fit(rows(part), None if labels is None else labels[part])
            self._own_fit = True
        stream = self.stream()
        if own_fit and len(fit):
            order = torch.cat([first, second])
            first, second = torch.arange(len(order), device="cpu").split([len(first), len(second)])
        else:
            order = torch.arange(n, device="cpu")
        for part in order.split(PIECE):
            stream.add(rows(part))
        seen = normal_inputs(inputs, states.get(self.output_layer or ""), n)
        return self._calibrated(stream, first, second, method, per_class, seen)

    def stream(self) -> ScoreStream:
        """Take normal states batch by batch after `partial_fit`: only their scores are kept.

        Hand it to `finish`. Scores and threshold are bit for bit those of `calibrate` on all rows.

        Raises
        ------
        NotFittedError
            Before `partial_fit`.
        """
        if not self.fitted:
            raise NotFittedError("score: a stream is scored after partial_fit on other normal data")
        sums = self.sums
        if sums is not None and sums.n < SAMPLES_PER_CLASS * sums.n_classes:
            self.sums, self.output = sums.pooled(), self.output and self.output.pooled()
            self._columns = None
        return ScoreStream(self._normal_scores, list(self.widths))

    def finish(
        self,
        stream: ScoreStream,
        method: str = "conformal",
        per_class: bool = False,
        inputs: NormalInputs | None = None,
    ) -> Calibration:
        """`calibrate` with what a stream of normal states has scored."""
        check_rule(method, per_class, self.output_layer)
        parts = split_rows(stream.n, self.alpha, self._n_parts(own_fit=False), self._n_tails)
        seen = inputs or NormalInputs()
        return self._calibrated(stream, *parts[1:], method, per_class, seen)

    def _normal_scores(self, states: States) -> Tensor:
        layers, others = self._split(states)
        check_widths(self.widths, layers)
        if self.score_name == "velocity":
            return self._peak_velocity(layers)
        matrix = self._matrix(layers | others)[0]
        if self.output_layer is None:
            return matrix
        return torch.cat([matrix, self._predicted(others)[:, None]], dim=1)

    def _calibrated(
        self,
        stream: ScoreStream,
        first: Tensor,
        second: Tensor,
        method: str,
        per_class: bool,
        seen: NormalInputs,
    ) -> Calibration:
        done = stream.finish()
        if self.score_name == "velocity":
            return self.set_calibration({"velocity": done.scores}, method)
        columns = self._columns
        scores = {
            f"{half}.{block}": values
            for half, index in (("first", first), ("second", second))
            for block, values in columns.blocks(done.scores[index, : columns.n_columns]).items()
        }
        if per_class:
            scores[PREDICTED] = done.scores[second, -1].long()
        more = done.shape(second).to_tensors() | seen.to_tensors()
        return self.set_calibration(scores | more, method)

    def set_calibration(self, scores: dict[str, Tensor], method: str) -> Calibration:
        """Take over calibration scores, as `calibrate` makes them and references store them."""
        drift = classes = None
        if self.score_name == "velocity":
            fusion, normal = None, scores["velocity"]
        else:
            first, second = (
                {k: scores[f"{half}.{k}"] for k in BLOCKS if f"{half}.{k}" in scores}
                for half in ("first", "second")
            )
            fusion = Fusion(first, second, BLOCK_WEIGHTS, N_SMALLEST)
            normal = fusion.normal_scores
            drift = Drift(fusion, second, len(self.widths), self._targets)
            if PREDICTED in scores:
                classes = ClassRanks(fusion.scores_of_second, scores[PREDICTED], self.alpha)
        self.calibration = calibration_of(
            normal, method, self.alpha, self._n_tails, self.sums, classes
        )
        self._fusion, self._normal, self._drift, self.method = fusion, normal, drift, method
        self.calibration_scores, self._classes = scores, classes
        self.prepare()
        widths = dict(self.widths)
        for part in (self.output, self.input):
            widths |= {} if part is None else part.widths
        if self.fitted and (self.output_layer is None or self.output is not None):
            # once through, so that the first sample pays for nothing
            self.read({k: torch.zeros(1, d, device="cpu") for k, d in widths.items()})
        return self.calibration

    def prepare(self) -> None:
        """Solve for what reading needs, unless it is done: then the first read costs no more."""
        if self._columns is None and self.fitted:
            wanted = SCORES[self.score_name]
            self._columns = ScoreColumns(
                self.sums, self.output, self.input, wanted, len(self.widths)
            )
            parts = [self.widths, *(p.widths for p in (self.output, self.input) if p is not None)]
            self._one_sample = [(k, (1, d)) for part in parts for k, d in part.items()]

    def read(self, states: States) -> Reading:
        """Scores, p-values and decisions for states ``(N, D_l)`` of the calibrated layers.

        Raises
        ------
        NotFittedError
            Before `calibrate`.
        StateError
            Other layers or widths than calibrated.
        """
        if self.calibration is None:
            raise NotFittedError("score: calibrate on normal data first")
        states = self._checked(states)
        matrix, finite = self._matrix(states)
        layer_p_values, invalid = {}, ()
        if self._fusion is None:
            score = self._peak_velocity(states)
            p_values = cal.conformal_p_values(self._normal, score, "two-sided")
            finite = bool(score.isfinite().all()) and len(states) == len(self.widths)
        else:
            score, p_values, ranks = self._fusion.judge(matrix, finite)
            layer_p_values = self._columns.blocks(ranks)
            if self._classes is not None:
                p_values = self._classes.p_values(score, self._predicted(states))
        if not finite:
            score, p_values, invalid = infinite_where_invalid(score, p_values, states)
        if self.method == "conformal":
            flagged = p_values <= self.alpha + 1e-12
        else:
            flagged = score > self.calibration.threshold
        return Reading(
            score=score,
            p_values=p_values,
            flagged=flagged,
            blocks=self._columns.blocks(matrix),
            layer_p_values=layer_p_values,
            invalid_layers=invalid,
            layers=tuple(self.widths),
            targets=None if self._targets is None else tuple(self._targets),
        )

    def drift(self, states: States) -> tuple[Tensor, Tensor]:
        """Drift of a batch, standard normal while all is well (`deepdrift.evidence.drift`).

        Returns
        -------
        layers, fused : Tensor, shapes (L,) and (), float64
            Infinite where a state of the batch is NaN or infinite.
        """
        layers, fused = self.drift_per_sample(states)
        return self._drift.of_batch(layers), self._drift.of_batch(fused)

    def diagnose(
        self,
        states: States,
        probe: States | None = None,
        *,
        inputs: Tensor | None = None,
        probe_inputs: Tensor | None = None,
    ) -> Findings:
        """Which side changed, where it shows, and what: see `deepdrift.alarms.findings`.

        ``probe`` holds the states of known good inputs, run now; ``inputs`` and ``probe_inputs``
        are what gave the states, if `calibrate` has seen inputs too.
        """
        return diagnose(self, states, probe, inputs, probe_inputs)

    def drift_per_sample(self, states: States) -> tuple[Tensor, Tensor]:
        """Drift of every sample: layers ``(N, L)`` and fused ``(N,)``."""
        if self.calibration is None:
            raise NotFittedError("drift: calibrate on normal data first")
        if self._drift is None:
            raise StateError("drift: score='velocity' has none; use 'fused'")
        states = self._checked(states)
        matrix, finite = self._matrix(states)
        layers, fused = self._drift.per_sample(self._columns.blocks(matrix))
        for name, bad in ({} if finite else invalid_rows(states)).items():
            if name in self.widths:
                layers[bad, list(self.widths).index(name)] = math.inf
            fused = fused.masked_fill(bad, math.inf)
        return layers, fused

    @property
    def _targets(self) -> list[int] | None:
        return None if self.sums is None else self.sums.targets

    @property
    def _n_tails(self) -> int:
        """The velocity is judged from both sides; each may spend half of alpha."""
        return 2 if self.score_name == "velocity" else 1

    def _n_parts(self, own_fit: bool) -> int:
        if self.score_name == "velocity":
            return 1
        return 4 if own_fit else 2

    def _split(self, states: States) -> tuple[States, States]:
        """The watched layers, and beside them the output layer and the input if there are such."""
        return split_states(states, self.output_layer, self.watch_input)

    def _checked(self, states: States) -> States:
        """States of the calibrated layers, then output layer and input; at least one sample."""
        if type(states) is dict and [(k, v.shape) for k, v in states.items()] == self._one_sample:
            return states  # as they are expected
        layers, others = self._split(as_states(states))
        check_widths(self.widths, layers)
        if not len(next(iter(layers.values()))):
            raise StateError("batch: expected at least one sample, got none")
        return layers | others if others else layers

    def _matrix(self, states: States) -> tuple[Tensor, bool]:
        """Scores ``(N, K)``, and whether all states, in the order of `_checked`, are finite."""
        self.prepare()
        return self._columns.read(list(states.values()))

    def _predicted(self, states: States) -> Tensor:
        """Class ``(N,)`` of the largest logit."""
        return states[self.output_layer].argmax(dim=1).cpu()

    def _peak_velocity(self, states: States) -> Tensor:
        layers, _ = self._split(states)
        return spatial_velocity(layers, self.across_widths).amax(dim=1).double().cpu()

"""The part of a monitor that learns what is normal: fit, calibrate, on one process or many."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Self

from torch import Tensor

from deepdrift.alarms.input_evidence import NormalInputs
from deepdrift.errors import CalibrationError, StateError
from deepdrift.monitor.gather import gather, number_of_batches, same_widths
from deepdrift.monitor.reference import CALIBRATION, FIT, shard_of
from deepdrift.monitor.results import Calibration
from deepdrift.monitor.rules import check_rule
from deepdrift.monitor.scorer import StateScorer
from deepdrift.monitor.shards import all_or_none, from_all_ranks, merge_named, world
from deepdrift.scores.distance import check_labels
from deepdrift.scores.moments import finite_samples
from deepdrift.states.alone import FirstBatch
from deepdrift.states.batches import split_batch
from deepdrift.states.forward import quiet, run
from deepdrift.states.head import blocks_of_output
from deepdrift.states.hooks import never_ran
from deepdrift.states.inputs import INPUT, find_input
from deepdrift.states.look import warn
from deepdrift.states.rows import say_answer
from deepdrift.states.shared import SharedStates, say_shared


class Learning:
    """`DeepDriftMonitor.fit` and `DeepDriftMonitor.calibrate`."""

    def fit(self, loader: Iterable[Any], max_batches: int | None = None) -> Self:
        """Fit the statistics on normal batches in one pass that keeps sums only.

        Use other data than for `calibrate`, for example training data. Without `fit`,
        `calibrate` splits its own data.

        In a distributed run (`torch.distributed`) every process calls it, each with its own shard,
        and all then hold the fit on all shards; so they do with `calibrate`.

        Once for a monitor, up to eight samples of a first batch run alone too, and leave no trace.
        A warning names layers whose states depend on the other samples of the batch, on chance or
        not on the input at all; layers whose rows are no samples are refused.

        Raises
        ------
        CalibrationError
            For an empty loader, normal data with non-finite states, or another process that failed.
        ReferenceFileError
            If two processes were given the same shard.
        """
        with self._lock:
            learned = None
            with all_or_none(), closing(self._batches(loader, max_batches)) as batches:
                for states, labels in batches:
                    learned = learned or self._new_scorer()
                    learned.partial_fit(states, labels)
            before = self._scorer, self._shards
            self._scorer, self._shards = learned, (self._fit_shard(learned),)
            if world() > 1:
                try:
                    parts = from_all_ranks(self.reference)
                    merged = merge_named((f"rank {i}", part) for i, part in enumerate(parts))
                    self._adopt(merged, self.alpha, learned.method)
                except Exception:
                    self._scorer, self._shards = before
                    raise
            self._fitted_apart, self._watch = True, None
        return self

    def calibrate(
        self,
        loader: Iterable[Any],
        max_batches: int | None = None,
        *,
        method: str = "conformal",
        per_class: bool = False,
    ) -> Calibration:
        """Learn the scores of normal data and the threshold; no unusual sample is needed.

        After `fit` nothing but scores is kept, some megabytes. Without it the states of all
        samples are held in memory meanwhile; above a gigabyte there is a warning. In a distributed
        run every process calls `fit` and then this, each with its own shard.

        Parameters
        ----------
        loader : iterable
            Batches ``x``, ``(x, y)`` or mappings; their size does not matter. Integer labels give
            class means if every batch has them, with five samples per class or more.
        max_batches : int, optional
            Stop after so many. A few thousand samples are plenty: of n, the realised rate differs
            from alpha by about ``sqrt(2 alpha (1 - alpha) / n)``; at 4,000 and .05 by .005.
        method : {"conformal", "quantile", "iqr"}
            Rule for the threshold. Only ``conformal`` keeps the stated rate.
        per_class : bool
            Keep alpha within every predicted class, not over all samples only. It takes an output
            layer, and of every class as many samples as alpha needs in the half that judges;
            classes with fewer are judged together (`Calibration.pooled_classes`). No labels needed.

        Returns
        -------
        Calibration
            ``threshold`` by the chosen rule, and mean, quartiles and ``iqr_threshold`` of the
            normal scores.

        Raises
        ------
        CalibrationError
            Too few samples for alpha (the message says how many are needed), an empty loader,
            normal data with non-finite states, ``per_class`` without an output layer or with
            another method, or another process that failed. What was learned before is then kept.
        """
        seen = NormalInputs()
        with self._lock, closing(self._batches(loader, max_batches, seen)) as batches:
            if self._fitted_apart:
                learned = copy.copy(self._scorer)  # who reads meanwhile keeps the old one
                fitted = tuple(s for s in self._shards if s.startswith(FIT))
                with all_or_none():
                    check_rule(method, per_class, learned.output_layer)
                    stream = learned.stream()
                    for states, _ in batches:
                        stream.add(states)
                if world() > 1:
                    sent = from_all_ranks((fitted, stream.part(), seen))
                    shards, parts, seen_by = zip(*sent, strict=True)
                    if len(set(shards)) > 1:
                        raise CalibrationError(
                            "calibrate: the processes hold different fits, whose scores cannot be "
                            "pooled; call fit(loader) in all of them, or load one file in all"
                        )
                    stream.take(parts)
                    seen = NormalInputs()
                    for other in seen_by:
                        seen.merge(other)
                learned.finish(stream, method, per_class, seen)
            elif world() > 1:
                with all_or_none():
                    raise CalibrationError(
                        "calibrate: in a run of several processes call fit(loader) first, each on "
                        "its shard; then each calibrates on its own"
                    )
            else:
                states, labels = gather(batches, number_of_batches(loader, max_batches))
                learned = self._new_scorer()
                learned.calibrate(states, labels, method, per_class, seen)
                fitted = (self._fit_shard(learned),)
            scores = shard_of(learned.calibration_scores, CALIBRATION)
            self._scorer, self._watch = learned, None  # its history is on another scale
            self._shards = (*fitted, scores)
            return learned.calibration

    def _fit_shard(self, scorer: StateScorer) -> str:
        return shard_of({} if scorer.sums is None else scorer.sums.to_tensors(), FIT)

    def _batches(
        self, loader: Iterable[Any], max_batches: int | None, seen: NormalInputs | None = None
    ) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
        """States and labels batch by batch; drawing the batches leaves no trace either.

        ``seen`` is shown the inputs and the logits.
        """
        count, widths, shared = 0, {}, SharedStates()
        look = FirstBatch(self._recorder, self._network, self._quiet, self._forward)
        with quiet(self._network):
            for batch in islice([loader] if isinstance(loader, Tensor) else loader, max_batches):
                split = split_batch(
                    batch, self._network, forward=self._forward, labels=self._labels
                )
                labels = split.labels
                look.begins(split)
                with self._quiet(draw_on=True):  # or all batches would be given the same noise
                    run(self._network, split, self._forward, self._sample_shape)
                self._sample_shape = split.sample_shape or self._sample_shape
                if not (self._looked or look.done):
                    for sentence in look(split):
                        warn(sentence)
                    self._looked = look.done
                if count == 0:
                    self._settle()
                recorded = self._recorder.with_input()
                self._recorder.states.current().unread = 0
                states = {
                    k: finite_samples(v, f"loader, layer {k!r}").cpu()
                    for k, v in self._project(recorded).items()
                }
                n = len(next(iter(states.values())))
                count += 1
                widths = same_widths(states, widths, count)
                shared.add(states, [*split.args, *split.kwargs.values()])
                if seen is not None:
                    inputs = find_input(split.args, split.kwargs, n)
                    seen.add(inputs, states.get(self._scorer.output_layer or ""))
                yield states, None if labels is None else check_labels(labels, n)
        if count == 0:
            raise CalibrationError("loader: it gave no batch; expected batches of normal data")
        others = {INPUT, self._scorer.output_layer} | self._said_shared
        names = [k for k in shared.names if k not in others]
        if names:
            self._said_shared.update(names)
            warn(say_shared(names, shared.n))

    def _settle(self) -> None:
        """After the first pass: leave out what did not run, take the layer that made the output.

        Layers that the user named must have run; of automatic ones the monitor says which it
        leaves out.
        """
        recorder = self._recorder
        current = recorder.states.current()
        if current is None or self._settled:
            return
        ran = {key.split("#")[0] for key in (*current.values, *current.errors)}
        failed = {key.split("#")[0]: e for key, e in current.errors.items() if key}
        if not self._automatic:
            if current.values or current.errors:
                never_ran(self._layers, dict.fromkeys(ran))
        else:
            left_out = [k for k in self._layers if k not in ran or k in failed]
            if left_out and len(left_out) < len(self._layers):
                reasons = [
                    f"{k!r} ({failed[k] if k in failed else 'did not run'})" for k in left_out
                ]
                warnings.warn(
                    "layers: left out, since nobody named them and they cannot be watched: "
                    + ", ".join(reasons),
                    UserWarning,
                    stacklevel=4,
                )
                recorder.drop(left_out)
                self._layers = tuple(k for k in self._layers if k not in left_out)
            double = blocks_of_output(self._layers, recorder.output, current.values)
            if len(double) < len(self._layers):
                recorder.drop(double)
                self._layers = tuple(k for k in self._layers if k not in double)
        if "" not in current.errors:
            if recorder.answer is not None and not current.errors:
                warnings.warn(say_answer(recorder.answer, current.rows), UserWarning, stacklevel=4)
            self._scorer.output_layer, self._scorer.breaks = recorder.output, recorder.breaks
            if recorder.inputs and INPUT not in recorder.with_input():
                if self._settings["watch_input"] is True:
                    raise StateError(
                        "watch_input: expected an input of floating-point numbers (N, ...) or "
                        "images; this one has no such statistics: leave it out with False"
                    )
                self._take_input(False)
            self._settled = True

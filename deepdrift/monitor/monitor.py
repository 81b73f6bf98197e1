"""DeepDriftMonitor: watch one model, learn what is normal, score what comes."""

from __future__ import annotations

import copy
import math
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.alarms.config import ObserverConfig
from deepdrift.alarms.diagnosis import Diagnosis
from deepdrift.alarms.events import Event
from deepdrift.alarms.watch import Status, Watch
from deepdrift.errors import CalibrationError, NotFittedError, ReferenceFileError, StateError
from deepdrift.monitor.gather import gather, number_of_batches
from deepdrift.monitor.reference import CALIBRATION, FIT, Fingerprint, Reference, shard_of
from deepdrift.monitor.results import Calibration, Reading, Velocities
from deepdrift.monitor.scorer import StateScorer
from deepdrift.monitor.shards import from_all_ranks, merge, world
from deepdrift.monitor.weights import other_sizes, other_weights, sketch
from deepdrift.scores.distance import check_labels
from deepdrift.scores.innovation import step_names
from deepdrift.scores.moments import finite_samples
from deepdrift.scores.velocity import spatial_velocity
from deepdrift.states.batches import Forward, Labels, split_batch
from deepdrift.states.blocks import auto_layers
from deepdrift.states.forward import Quiet, quiet, run, unwrap
from deepdrift.states.head import find_head
from deepdrift.states.hooks import Recorder, never_ran
from deepdrift.states.layers import as_names
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts, Pooling, describe
from deepdrift.states.projection import Projection


class DeepDriftMonitor:
    """Watch the hidden states of a model and say which inputs are unusual.

    Parameters
    ----------
    model : nn.Module
        Never changed; hooks stay until `close`, the end of a ``with`` block, or garbage collection.
    layer_names : sequence of str, optional
        Default `deepdrift.auto_layers`. They are used in the order in which they run.
    pooling : str or callable
        See `deepdrift.states.pooling.pool`.
    n_channels : int, optional
        Project states wider than this to so many random directions, the same ones for all layers
        of one width: cheaper, at the price of some sensitivity.
    arch_name : str, optional
        Name used in messages.
    drift_config : ObserverConfig, optional
        Parameters of the alarm state machines behind `step`.
    score, alpha, across_widths
        See `deepdrift.StateScorer`: what is scored, and the false-alarm rate promised.
    layout : str
        See `deepdrift.record`.
    output_layer : str, optional
        Layer that holds the logits, for the score ``fused`` with labels; see
        `deepdrift.StateScorer`. "auto" takes the final linear layer (`find_head`)
        if no layers are named and the model runs it, and none otherwise.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    >>> normal = [torch.randn(50, 4, generator=g) for _ in range(20)]
    >>> with DeepDriftMonitor(model, ["1", "3"], alpha=0.05) as monitor:
    ...     _ = monitor.calibrate(normal)
    ...     p = monitor.p_values(torch.full((3, 4), 50.0))
    >>> bool((p <= 0.05).all())
    True
    """

    def __init__(
        self,
        model: nn.Module,
        layer_names: Sequence[str] | None = None,
        pooling: Pooling = "auto",
        n_channels: int | None = None,
        *,
        arch_name: str | None = None,
        drift_config: ObserverConfig | None = None,
        score: str = "fused",
        alpha: float | None = None,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
        labels: Labels | None = None,
        across_widths: str | None = None,
        output_layer: str | None = "auto",
    ) -> None:
        self._settings = {
            "layer_names": layer_names,
            "pooling": pooling,
            "n_channels": n_channels,
            "arch_name": arch_name,
            "drift_config": drift_config,
            "score": score,
            "alpha": alpha,
            "layout": layout,
            "mask": mask,
            "forward": forward,
            "labels": labels,
            "across_widths": across_widths,
            "output_layer": output_layer,
        }
        self._model, self._network = model, unwrap(model)
        layers = as_names(auto_layers(self._network) if layer_names is None else layer_names)
        find_output = output_layer == "auto"
        if find_output:
            output_layer = None
            find_output = layer_names is None and score == "fused"
            if find_output:
                head = find_head(self._network)
                output_layer = None if head in layers else head
        elif output_layer in layers:
            raise StateError(
                f"output_layer: {output_layer!r} is among layer_names; name it in one place"
            )
        self._scorer = StateScorer(
            score, 0.05 if alpha is None else alpha, across_widths, output_layer
        )
        self._recorder = Recorder(
            model,
            layers,
            pooling,
            layout=layout,
            mask=mask,
            output=output_layer,
            find_output=find_output,
            check_rows=forward is None,
        )
        self._automatic, self._settled = layer_names is None, False
        self._forward, self._labels = forward, labels
        self._quiet, self._lock = Quiet(self._network), threading.RLock()
        self._layers = tuple(layers)
        self._shards: tuple[str, ...] = ()
        self._how = describe(pooling, layout)
        self._projection = Projection(n_channels)
        self._sample_shape: tuple[int, ...] | None = None
        self._fitted_apart = False
        self._drift_config, self._watch = drift_config or ObserverConfig(), None
        self.n_channels = n_channels
        self.arch_name = arch_name or type(self._network).__name__

    @property
    def layers(self) -> tuple[str, ...]:
        """Watched layers, as named; without the output layer."""
        return self._layers

    @property
    def output_layer(self) -> str | None:
        """Layer whose state is taken for the logits, if any."""
        return self._scorer.output_layer

    @property
    def alpha(self) -> float:
        """False-alarm rate per sample that the threshold promises; assign to change it.

        After a calibration the threshold follows, if there are enough calibration samples.
        """
        return self._scorer.alpha

    @alpha.setter
    def alpha(self, alpha: float) -> None:
        with self._lock:
            if self.calibration is None:
                self._scorer = self._new_scorer(alpha)
            else:
                self._adopt(self.reference, alpha, self._scorer.method)
            self._settings["alpha"] = alpha

    @property
    def calibration(self) -> Calibration | None:
        """Result of the last `calibrate`."""
        return self._scorer.calibration

    # Learning what is normal

    def fit(self, loader: Iterable[Any], max_batches: int | None = None) -> DeepDriftMonitor:
        """Fit the statistics on normal batches in one pass that keeps sums only.

        Use other data than for `calibrate`, for example training data. Without `fit`,
        `calibrate` splits its own data.
        """
        with self._lock:
            learned = None
            for states, labels in self._batches(loader, max_batches):
                learned = learned or self._new_scorer()
                learned.partial_fit(states, labels)
            self._scorer, self._fitted_apart, self._watch = learned, True, None
            self._shards = (self._fit_shard(learned),)
            if world() > 1:
                self._adopt(merge(from_all_ranks(self.reference)), self.alpha, learned.method)
        return self

    def calibrate(
        self, loader: Iterable[Any], max_batches: int | None = None, *, method: str = "conformal"
    ) -> Calibration:
        """Learn the scores of normal data and the threshold; no unusual sample is needed.

        After `fit` nothing but scores is kept, some megabytes. Without it the states of all
        samples are held in memory meanwhile; above a gigabyte there is a warning.

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

        Returns
        -------
        Calibration
            ``threshold`` by the chosen rule, and mean, quartiles and ``iqr_threshold`` of the
            normal scores.

        Raises
        ------
        CalibrationError
            Too few samples for alpha (the message says how many are needed), an empty loader, or
            normal data with non-finite states. What was learned before is then kept.
        """
        with self._lock:
            batches = self._batches(loader, max_batches)
            if self._fitted_apart:
                learned = copy.copy(self._scorer)  # who reads meanwhile keeps the old one
                stream = learned.stream()
                for states, _ in batches:
                    stream.add(states)
                if world() > 1:
                    stream.take(from_all_ranks(stream.part()))
                learned.finish(stream, method)
                fitted = tuple(s for s in self._shards if s.startswith(FIT))
            elif world() > 1:
                raise CalibrationError(
                    "calibrate: in a run of several processes call fit(loader) first, each on its "
                    "shard; then each calibrates on its own"
                )
            else:
                states, labels = gather(batches, number_of_batches(loader, max_batches))
                learned = self._new_scorer()
                learned.calibrate(states, labels, method)
                fitted = (self._fit_shard(learned),)
            scores = shard_of(learned.calibration_scores, CALIBRATION)
            self._scorer, self._watch = learned, None  # its history is on another scale
            self._shards = (*fitted, scores)
            return learned.calibration

    def _fit_shard(self, scorer: StateScorer) -> str:
        return shard_of({} if scorer.sums is None else scorer.sums.to_tensors(), FIT)

    # Scoring

    def read(self, batch: Any = None) -> Reading:
        """All scores of a batch, from one forward pass of ours, or of the last pass of yours.

        Parameters
        ----------
        batch : Tensor, tuple or mapping, optional
            ``None`` scores what the model computed last: ``model(x); monitor.read()``.

        Raises
        ------
        NotFittedError, StateError, ForwardError
            Before `calibrate`; for states unlike the calibrated ones; for a refused batch.
        """
        if self.calibration is None:
            raise NotFittedError("monitor: call calibrate(loader) on normal data first")
        return self._scorer.read(self._recorded(batch))

    def score(self, batch: Any = None) -> Tensor:
        """Score ``(N,)`` of a batch, float64; larger is more unusual."""
        return self.read(batch).score

    def p_values(self, batch: Any = None) -> Tensor:
        """Conformal p-value ``(N,)``: for normal samples at most alpha with probability alpha."""
        return self.read(batch).p_values

    def states(self, batch: Any = None) -> dict[str, Tensor]:
        """Layer -> state ``(N, D)`` of a batch, or of the model's last forward pass."""
        recorded = self._recorded(batch)
        return {k: v for k, v in recorded.items() if k != self.output_layer}

    def _recorded(self, batch: Any = None) -> dict[str, Tensor]:
        """The same with the state of the output layer."""
        if self._recorder.closed:
            raise StateError("monitor: it is closed; make a new one to watch the model again")
        if batch is not None:
            split = split_batch(batch, self._network, forward=self._forward)
            with self._quiet():
                run(self._network, split, self._forward, self._sample_shape)
        recorded = self._recorder.states.check()
        self._say_what_is_read(batch is None)
        device = next(iter(recorded.values())).device  # a network may be spread over several
        return self._project({k: v.to(device) for k, v in recorded.items()})

    def get_spatial_velocity(self) -> Velocities:
        """Raw velocity between consecutive watched layers in the last forward pass.

        Returns
        -------
        Velocities
            A list of L - 1 means over the batch; ``.per_sample`` is ``(N, L - 1)``.
        """
        states = self.states()
        velocity = spatial_velocity(states, self._scorer.across_widths)
        return Velocities(velocity, step_names(list(states)))

    def get_temporal_velocity(self) -> Tensor:
        """Distance ``(N,)`` of the last watched layer's state from the forward pass before.

        NaN after the first pass, when nothing has moved yet. Reading changes nothing.
        """
        states, before = self.states(), self._recorder.states.previous
        name = list(states)[-1]
        now = states[name]
        if name not in before:
            return torch.full((len(now),), math.nan, device="cpu")
        then = self._project({name: before[name]})[name]
        if then.shape != now.shape:
            raise StateError(
                f"temporal velocity: expected states of shape {tuple(then.shape)} as in the pass "
                f"before, got {tuple(now.shape)}; call reset_temporal() when a sequence starts"
            )
        return (now - then).norm(dim=1).cpu()

    def reset_temporal(self) -> None:
        """Forget the last pass: a new episode or prompt starts."""
        self._recorder.states.forget()

    # Watching a stream

    def drift(self, batch: Any = None) -> tuple[Tensor, Tensor]:
        """Drift of a batch: layers ``(L,)`` and fused ``()``, standard normal while all is well."""
        return self._scorer.drift(self._recorded(batch))

    def step(self, batch: Any = None, step: int | None = None) -> tuple[Status, list[Event]]:
        """Feed the next batch of a stream to the alarm state machines.

        Parameters
        ----------
        batch : Tensor, tuple or mapping, optional
            ``None`` takes what the model computed last.
        step : int, optional
            Step number, increasing; default one more than the last.

        Returns
        -------
        status : Status
            Layer -> ``{"drift", "slope", "state"}``; ``status.fused`` for the fused score.
        alerts : list of Event
            State changes of this step; each prints as one sentence.
        """
        if self.calibration is None:
            raise NotFittedError("monitor: call calibrate(loader) on normal data first")
        states = self._recorded(batch)
        with self._lock:
            layers, fused = self._scorer.drift(states)
            if self._watch is None:
                names = [k for k in states if k != self.output_layer]
                self._watch = Watch(names, self._drift_config)
            return self._watch.update(layers.tolist(), float(fused), step)

    def diagnose(self, batch: Any = None, probe: Any = None) -> Diagnosis:
        """Name what is wrong with a batch, and where it starts; *not sure* is an answer.

        Parameters
        ----------
        batch : Tensor, tuple or mapping, optional
            ``None`` takes what the model computed last.
        probe : Tensor, tuple or mapping, optional
            Known good inputs, for example calibration images. They tell a broken network from
            strange inputs (`deepdrift.alarms.diagnosis.with_probe`).
        """
        if self.calibration is None:
            raise NotFittedError("monitor: call calibrate(loader) on normal data first")
        states = self._recorded(batch)
        return self._scorer.diagnose(states, None if probe is None else self._recorded(probe))

    def reset_stream(self) -> None:
        """Start the alarm state machines afresh, as a new fit, calibration or reference does."""
        self._watch = None

    # Keeping

    @property
    def reference(self) -> Reference:
        """Everything learned, for saving and merging; assign one to take it over."""
        scorer = self._scorer
        if not scorer.fitted:
            raise NotFittedError("monitor: call fit(loader) or calibrate(loader) first")
        return Reference(
            self._fingerprint(scorer.widths),
            scorer.sums and scorer.sums.share(),
            scorer.calibration_scores,
            scorer.output,
            sketch(self._network),
            self._shards,
        )

    @reference.setter
    def reference(self, reference: Reference) -> None:
        with self._lock:
            self._adopt(reference, self.alpha, self._scorer.method)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned, after `fit` or `calibrate`, as one safetensors file."""
        self.reference.save(path, extra={"alpha": self.alpha, "method": self._scorer.method})

    def load(self, path: str | os.PathLike[str]) -> DeepDriftMonitor:
        """Take over what another monitor of the same kind of model saved.

        Raises
        ------
        ReferenceFileError
            For damaged files, and for those of another model or setting, saying what differs. The
            monitor then stays as it was. An alpha that was given to this monitor is kept; else the
        file's is taken.
        """
        reference, extra = Reference.load(path)
        alpha = self._settings["alpha"]
        if alpha is None:
            alpha = extra.get("alpha", self.alpha)
        with self._lock:
            self._adopt(reference, alpha, extra.get("method", self._scorer.method))
        return self

    def close(self) -> None:
        """Remove all hooks. What was read stays valid; nothing more can be read."""
        self._recorder.close()

    def __enter__(self) -> DeepDriftMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside

    def _adopt(self, reference: Reference, alpha: float, method: str) -> None:
        theirs = reference.fingerprint
        named = {k.split("#")[0] for k in theirs.layers}
        spare = (
            []
            if self._settled or not self._automatic
            else [k for k in self._layers if k not in named]
        )
        known = self._scorer.widths or {
            k: v.shape[1]
            for k, v in self._project(self._recorder.states).items()
            if k != self.output_layer
        }
        if not known and named == set(self.layers) - set(spare):
            known = dict(zip(theirs.layers, theirs.widths, strict=True))
        mine = self._fingerprint(known or dict.fromkeys(self.layers, 0))
        if self._recorder.may_change_output:
            mine = replace(mine, output_layer=theirs.output_layer)
        difference = mine.difference(theirs)
        if difference:
            raise ReferenceFileError(
                f"reference: it does not belong to this monitor of {self.arch_name}: {difference}"
            )
        self._compare_weights(reference)
        if self._recorder.may_change_output:
            self._take_output(theirs.output_layer)
        if spare:
            self._recorder.drop(spare)
            self._layers = tuple(k for k in self._layers if k not in spare)
        scorer = self._new_scorer(alpha)
        scorer.widths = dict(zip(theirs.layers, theirs.widths, strict=True))
        scorer.sums, scorer.output = reference.sums and reference.sums.share(), reference.output
        if reference.sums is not None:
            scorer.breaks = reference.sums.breaks
        if reference.calibration:
            scorer.set_calibration(reference.calibration, method)
        self._scorer, self._fitted_apart, self._watch = scorer, True, None
        self._shards = reference.shards

    def _compare_weights(self, reference: Reference) -> None:
        """Refuse a reference of a model of other sizes; say where the weights are others."""
        mine = sketch(self._network)
        sizes = other_sizes(mine, reference.weights, reference.fingerprint.layers)
        if sizes:
            raise ReferenceFileError(
                f"reference: it does not belong to this {self.arch_name}: "
                f"{', '.join(map(repr, sizes[:4]))} have another number of weights"
            )
        changed = other_weights(mine, reference.weights)
        if changed:
            more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
            warnings.warn(
                "reference: it was made with other weights of this model, in "
                f"{', '.join(map(repr, changed[:4]))}{more}; what is normal for them may not be "
                "for these: calibrate again",
                UserWarning,
                stacklevel=4,
            )

    def _fingerprint(self, widths: dict[str, int]) -> Fingerprint:
        setting = (self._how, self.n_channels, self._scorer.score_name, self.output_layer)
        return Fingerprint.of(self._network, widths, *setting)

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
        if "" not in current.errors:
            self._scorer.output_layer, self._scorer.breaks = recorder.output, recorder.breaks
            self._settled = True

    def _say_what_is_read(self, only_the_last: bool) -> None:
        """Warn where a reading is likely not what was meant."""
        current = self._recorder.states.current()
        if current is None:
            return
        passes, current.unread = current.unread, 0
        if only_the_last and passes > 1:
            warnings.warn(
                f"read: the model ran {passes} passes since the last reading; this reads the last "
                f"one only ({current.rows} samples). Read after every pass, or give the batch",
                UserWarning,
                stacklevel=4,
            )
        if current.training:
            warnings.warn(
                "read: the last pass ran in train mode, with dropout and batch statistics, and "
                "normal is calibrated in evaluation mode; call model.eval()",
                UserWarning,
                stacklevel=4,
            )

    def __getstate__(self) -> dict[str, Any]:
        learned = self.reference if self._scorer.fitted else None
        return {
            "closed": self._recorder.closed,
            "model": self._model,
            "settings": self._settings,
            "reference": learned,
            "output_layer": self.output_layer,
            "layers": self._layers,
            "learned": (self.alpha, self._scorer.method, self._fitted_apart, self._settled),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = state["settings"]
        self.__init__(state["model"], **settings)  # type: ignore[misc]
        alpha, method, apart, settled = state["learned"]
        self._take_output(state["output_layer"])
        self._recorder.drop([k for k in self._layers if k not in state["layers"]])
        self._layers = state["layers"]
        if state["reference"] is not None:
            self._adopt(state["reference"], alpha, method)
        self._fitted_apart, self._settled = apart, settled
        if state["closed"]:
            self.close()

    def _take_output(self, name: str | None) -> None:
        self._recorder.set_output(name)
        self._scorer.output_layer = name

    def _new_scorer(self, alpha: float | None = None) -> StateScorer:
        old = self._scorer
        alpha = self.alpha if alpha is None else alpha
        new = StateScorer(old.score_name, alpha, old.across_widths, old.output_layer)
        new.breaks = old.breaks
        return new

    def _project(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The states as the scores see them: wide ones projected, logits as they are."""
        return {k: v if k == self.output_layer else self._projection(v) for k, v in states.items()}

    def _batches(
        self, loader: Iterable[Any], max_batches: int | None
    ) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
        """States and labels batch by batch; drawing the batches leaves no trace either."""
        count, widths = 0, {}
        with quiet(self._network):
            for batch in islice([loader] if isinstance(loader, Tensor) else loader, max_batches):
                split = split_batch(
                    batch, self._network, forward=self._forward, labels=self._labels
                )
                labels = split.labels
                with self._quiet():
                    run(self._network, split, self._forward, self._sample_shape)
                self._sample_shape = split.sample_shape or self._sample_shape
                if count == 0:
                    self._settle()
                recorded = self._recorder.states.check()
                self._recorder.states.current().unread = 0
                states = {
                    k: finite_samples(v, f"loader, layer {k!r}").cpu()
                    for k, v in self._project(recorded).items()
                }
                n = len(next(iter(states.values())))
                count += 1
                widths = same_widths(states, widths, count)
                yield states, None if labels is None else check_labels(labels, n)
        if count == 0:
            raise CalibrationError("loader: it gave no batch; expected batches of normal data")


def same_widths(
    states: Mapping[str, Tensor], before: Mapping[str, int], batch: int
) -> dict[str, int]:
    """Widths of the layers, which every batch of a loader must share."""
    found = {k: v.shape[1] for k, v in states.items()}
    if before and list(found.items()) != list(before.items()):
        raise CalibrationError(
            f"loader: expected layers of widths {before} as in the first batch, got {found} in "
            f"batch {batch}; watch layers that run for every input, and use a pooling that does "
            "not depend on the input's size"
        )
    return found

"""DeepDriftMonitor: watch one model, learn what is normal, score what comes."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.alarms.config import ObserverConfig
from deepdrift.alarms.events import Event
from deepdrift.alarms.findings import Findings
from deepdrift.alarms.watch import Status, Watch
from deepdrift.errors import NotFittedError, StateError
from deepdrift.monitor.keeping import Keeping
from deepdrift.monitor.learning import Learning
from deepdrift.monitor.results import Calibration, Reading, Velocities
from deepdrift.monitor.scorer import StateScorer
from deepdrift.scores.innovation import step_names
from deepdrift.scores.velocity import spatial_velocity
from deepdrift.states.batches import Forward, Labels, split_batch
from deepdrift.states.blocks import auto_layers
from deepdrift.states.forward import Quiet, run, unwrap
from deepdrift.states.head import find_head
from deepdrift.states.hooks import Recorder
from deepdrift.states.inputs import INPUT, find_input
from deepdrift.states.layers import as_names
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts, Pooling, describe
from deepdrift.states.projection import Projection


class DeepDriftMonitor(Learning, Keeping):
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
    layout, mask
        How axes and padding are read where the model does not say; see `deepdrift.record`.
    forward : callable, optional
        ``forward(model, batch)`` runs the model on batches that are no ``x``, ``(x, y)``,
        ``(x1, x2)`` or keywords. How many samples they hold is then not checked.
    labels : callable, optional
        ``labels(batch)`` gives the class labels of a batch in `fit` and `calibrate`.
    output_layer : str, optional
        Layer that holds the logits, for the score ``fused`` with labels; see
        `deepdrift.StateScorer`. "auto" takes, if no layers are named, the linear layer whose
        numbers the model returned in the first pass, and none otherwise.
    watch_input : bool or "auto"
        Whether five statistics of the input (`deepdrift.states.inputs`) are a block of the score
        ``fused``; "auto" does so if no layers are named and the input has them, which token
        numbers, booleans and lists of images of many sizes have not.

    Notes
    -----
    A reading belongs to the thread, or asyncio task, whose forward pass made the states; `fit`,
    `calibrate` and `step` wait for each other. A model in evaluation mode is not touched by `read`;
    one in train mode is in evaluation mode while ours lasts, for all threads. A copy or pickle of
    a monitor carries the model, what was learned, and hooks of its own.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 8), nn.Softplus())
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
        watch_input: bool | str = "auto",
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
            "watch_input": watch_input,
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
        if watch_input not in (True, False, "auto"):
            raise StateError(f"watch_input: expected True, False or 'auto', got {watch_input!r}")
        if watch_input == "auto":
            inputs = layer_names is None and score == "fused"
        else:
            inputs = bool(watch_input)
        self._scorer = StateScorer(
            score, 0.05 if alpha is None else alpha, across_widths, output_layer, inputs
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
            inputs=inputs,
        )
        self._automatic, self._settled = layer_names is None, False
        self._said_shared: set[str] = set()  # layers with one state for all
        self._looked = False  # whether samples of a first batch were compared with themselves alone
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
                apart = self._fitted_apart
                self._adopt(self.reference, alpha, self._scorer.method)
                self._fitted_apart = apart
            self._settings["alpha"] = alpha

    @property
    def calibration(self) -> Calibration | None:
        """Result of the last `calibrate`."""
        return self._scorer.calibration

    @property
    def drift_config(self) -> ObserverConfig:
        """Parameters of the alarm state machines behind `step`."""
        return self._drift_config

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
        """Conformal p-value ``(N,)`` of a batch, float64; smaller is more unusual.

        A normal sample gets a p-value of alpha or less with a probability of at most alpha, for
        every alpha. The probability is an average over calibration sets: with one of them the rate
        is a little higher or lower. With ``calibrate(..., per_class=True)`` this holds within every
        predicted class, or group of classes that are judged together.
        """
        return self.read(batch).p_values

    def states(self, batch: Any = None) -> dict[str, Tensor]:
        """Layer -> state ``(N, D)`` of a batch, or of the model's last forward pass."""
        recorded = self._recorded(batch)
        return {k: v for k, v in recorded.items() if k not in (self.output_layer, INPUT)}

    def _recorded(self, batch: Any = None) -> dict[str, Tensor]:
        """The same with the state of the output layer."""
        if self._recorder.closed:
            raise StateError("monitor: it is closed; make a new one to watch the model again")
        if batch is not None:
            split = split_batch(batch, self._network, forward=self._forward)
            with self._quiet():
                run(self._network, split, self._forward, self._sample_shape)
        recorded = self._recorder.with_input()
        self._say_what_is_read(batch is None)
        device = next(iter(recorded.values())).device  # a network may be spread over several
        return self._project(
            {k: v if v.device == device else v.to(device) for k, v in recorded.items()}
        )

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
        step : int, float or time, optional
            Increasing; default one more than the last. Gaps and slopes count in typical steps.

        Returns
        -------
        status : Status
            Layer -> ``{"drift", "slope", "state"}``; ``status.fused`` for the fused score.
        alerts : list of Event
            State changes of this step; each prints as one sentence.

        Notes
        -----
        A threshold of 3 is passed by one drift in 0.27 % of clean batches, by some of L layers and
        the fused score in up to L + 1 times as many: with 6 layers in 1 to 1.6 % of the batches of
        the shipped networks. ``ObserverConfig(theta_high=...)`` or ``raise_after`` make it rarer.
        """
        if self.calibration is None:
            raise NotFittedError("monitor: call calibrate(loader) on normal data first")
        states = self._recorded(batch)
        with self._lock:
            layers, fused = self._scorer.drift(states)
            if self._watch is None:
                names = [k for k in states if k not in (self.output_layer, INPUT)]
                self._watch = Watch(names, self._drift_config)
            return self._watch.update(layers.tolist(), float(fused), step)

    def diagnose(self, batch: Any = None, probe: Any = None) -> Findings:
        """Which side changed, the network or its inputs, where it shows, and what changed.

        Parameters
        ----------
        batch : Tensor, tuple or mapping, optional
            ``None`` takes what the model computed last, whose inputs are then not seen.
        probe : Tensor, tuple or mapping, optional
            At least 8 known good inputs, drawn as those of the calibration were: they tell a
            broken network from strange inputs. A probe whose inputs are unusual themselves, such
            as another data set, settles nothing and is named in the answer.

        Returns
        -------
        Findings
            ``side``, ``place`` and ``changes``; "cannot say" is an answer. Token numbers, and
            models run by ``forward=``, give no evidence of their inputs.

        Raises
        ------
        NotFittedError, StateError, ForwardError
            Before `calibrate`; for states unlike the calibrated ones or a small probe; for a
            refused batch.
        """
        if self.calibration is None:
            raise NotFittedError("monitor: call calibrate(loader) on normal data first")
        states = self._recorded(batch)
        inputs = self._inputs(batch, states)
        if probe is None:
            return self._scorer.diagnose(states, inputs=inputs)
        good = self._recorded(probe)
        return self._scorer.diagnose(
            states, good, inputs=inputs, probe_inputs=self._inputs(probe, good)
        )

    def _inputs(self, batch: Any, states: Mapping[str, Tensor]) -> Tensor | None:
        """The input that gave these states, where it is known and has statistics."""
        if batch is None:
            return None
        split = split_batch(batch, self._network, forward=self._forward)
        return find_input(split.args, split.kwargs, len(next(iter(states.values()))))

    def reset_stream(self) -> None:
        """Start the alarm state machines afresh, as a new fit, calibration or reference does."""
        self._watch = None

    def close(self) -> None:
        """Remove all hooks. What was read stays valid; nothing more can be read."""
        self._recorder.close()

    def __enter__(self) -> DeepDriftMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside

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
                "read: the last pass ran in train mode, as a whole or in a part of the model, with "
                "dropout or batch statistics, and normal is calibrated in evaluation mode; call "
                "model.eval()",
                UserWarning,
                stacklevel=4,
            )

    def _new_scorer(self, alpha: float | None = None) -> StateScorer:
        old = self._scorer
        alpha = self.alpha if alpha is None else alpha
        new = StateScorer(
            old.score_name, alpha, old.across_widths, old.output_layer, old.watch_input
        )
        new.breaks = old.breaks
        return new

    def _project(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The states as the scores see them: wide ones projected, logits and input as they are."""
        if self._projection.n_channels is None:
            return dict(states)
        as_they_are = (self.output_layer, INPUT)
        return {k: v if k in as_they_are else self._projection(v) for k, v in states.items()}

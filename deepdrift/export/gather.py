"""Windows of requests, and a share of them: what stands between a server and the state machines.

A single request says little about drift. A `Gather` joins the drifts of many requests into that of
one batch: with z the drift of a sample, a batch of N has ``sum(z) / N sqrt(N / (1 + N / n))`` for
n calibration samples (`deepdrift.evidence.drift`), so the sums of the parts are enough. Nothing is
run twice and no input is kept, whatever the shapes of the requests.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from deepdrift.alarms.config import ObserverConfig
from deepdrift.alarms.events import Event
from deepdrift.alarms.watch import Status, Watch
from deepdrift.errors import NotFittedError
from deepdrift.export.recorder import ExportError
from deepdrift.monitor.monitor import DeepDriftMonitor


class Window(NamedTuple):
    """One step of the state machines, and the number of samples behind it."""

    status: Status
    events: list[Event]
    n: int


class Sampler:
    """Which requests to watch: a random share, the same ones again for the same seed.

    Each request is drawn on its own, so a periodic stream is not watched at one phase only.

    Parameters
    ----------
    rate : float
        Share in (0, 1].
    seed : int, optional

    Examples
    --------
    >>> sampler = Sampler(0.25, seed=1)
    >>> sum(sampler.take() for _ in range(1000))
    227
    """

    def __init__(self, rate: float, seed: int | None = None) -> None:
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate <= 1:
            raise ExportError(f"rate: expected a share in (0, 1], got {rate!r}")
        self.rate, self._random, self._lock = float(rate), random.Random(seed), threading.Lock()

    def take(self) -> bool:
        """Whether to watch the next request."""
        with self._lock:
            return self._random.random() < self.rate


class Gather:
    """Joins single requests into windows and feeds these to state machines of its own.

    Safe to share between threads as far as the monitor is; windows follow the order of `add`.
    A new calibration of the monitor starts a new stream and drops the open window.

    Parameters
    ----------
    monitor : DeepDriftMonitor
    size : int
        Samples that close a window; a request is never divided, so it may hold some more.
    max_wait : float, optional
        Seconds after which a window is closed with what it has; by default it waits.
    config : ObserverConfig, optional
        Of the state machines; by default that of the monitor.
    on_window : callable, optional
        Called with each `Window`, also with those closed by `max_wait` and `close`, in order and
        one at a time.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    >>> with DeepDriftMonitor(model, ["0", "2"]) as monitor, Gather(monitor, size=8) as gather:
    ...     _ = monitor.calibrate([torch.randn(400, 4, generator=g)])
    ...     windows = [gather.add(9 * torch.randn(1, 4, generator=g)) for _ in range(8)]
    >>> [w is not None for w in windows].index(True), str(windows[-1].status.fused["state"])
    (7, 'ALERT')
    """

    def __init__(
        self,
        monitor: DeepDriftMonitor,
        size: int = 64,
        max_wait: float | None = None,
        *,
        config: ObserverConfig | None = None,
        on_window: Callable[[Window], Any] | None = None,
    ) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ExportError(f"size: expected a whole number of samples >= 1, got {size!r}")
        good = isinstance(max_wait, int | float) and 0 < max_wait <= threading.TIMEOUT_MAX
        if max_wait is not None and not good:
            raise ExportError(f"max_wait: expected seconds > 0 or None, got {max_wait!r}")
        if config is None:
            config = getattr(monitor, "drift_config", None)
        self._monitor, self._size, self._max_wait = monitor, size, max_wait
        self._config, self._on_window = config, on_window
        self._lock = threading.RLock()  # `on_window` may call back
        self._calibration: Any = None
        self._watch: Watch | None = None
        self._timer: threading.Timer | None = None
        self._closed = False
        self._sum, self._n = torch.zeros(0, device="cpu"), 0

    def add(self, batch: Any = None) -> Window | None:
        """Take in a request; returns the window if this one closed it.

        Parameters
        ----------
        batch : Tensor, tuple or mapping, optional
            ``None`` takes what the model computed last: ``model(x); gather.add()`` costs no
            forward pass.

        Raises
        ------
        NotFittedError, StateError, ForwardError
            As `DeepDriftMonitor.drift`; the window is then as it was.
        ExportError
            After `close`.
        """
        monitor = self._monitor
        calibration = monitor.calibration
        if calibration is None:
            raise NotFittedError("monitor: call calibrate(loader) on normal data first")
        layers, fused = monitor.drift(batch)
        states = monitor.states()  # of the same pass
        names, n = list(states), len(next(iter(states.values())))
        of_batch = torch.cat([layers.flatten(), fused.reshape(1)])
        total = of_batch * (n / _scale(n, calibration.n_samples))
        with self._lock:
            if self._closed:
                raise ExportError("gather: it is closed; make a new one to go on")
            if self._watch is None or calibration is not self._calibration:
                self._drop()
                self._watch, self._calibration = Watch(names, self._config), calibration
            if not self._n and self._max_wait is not None:
                self._timer = threading.Timer(self._max_wait, self._late)
                self._timer.daemon = True
                self._timer.start()
            self._sum = self._sum + total if self._n else total
            self._n += n
            return self.flush() if self._n >= self._size else None

    def flush(self) -> Window | None:
        """Close the window now; None if it is empty."""
        with self._lock:
            if not self._n:
                return None
            total, n, watch = self._sum, self._n, self._watch
            self._drop()
            drift = (total / n * _scale(n, self._calibration.n_samples)).tolist()
            window = Window(*watch.update(drift[:-1], drift[-1]), n)
            if self._on_window is not None:
                self._on_window(window)
            return window

    def close(self) -> None:
        """Flush and take no more; may be called twice."""
        with self._lock:
            self._closed = True
            self.flush()

    def __enter__(self) -> Gather:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._sum, self._n = None, torch.zeros(0, device="cpu"), 0

    def _late(self) -> None:
        """The timer of a window: flush it, if it is still the open one."""
        with self._lock:
            if self._timer is threading.current_thread():
                try:
                    self.flush()
                except Exception:  # nobody waits for the result of a timer
                    logging.getLogger("deepdrift").exception("a window of requests was lost")


def _scale(n: int, n_samples: int) -> float:
    """Drift of a batch of n over the mean of its samples' drifts."""
    return math.sqrt(n / (1 + n / n_samples))

"""How often an alarm cries wolf, and thresholds that keep a stated rate on normal streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdrift.alarms.config import CHARTS, ObserverConfig, State
from deepdrift.alarms.replay import replay
from deepdrift.alarms.sequential import window_slopes
from deepdrift.errors import CalibrationError


@dataclass(frozen=True)
class RunLength:
    """Average run length: steps from the start to the first false alarm.

    Attributes
    ----------
    mean : float
        All steps watched over all alarms (exact for geometric run lengths, also when runs were
        cut off at ``max_steps``); infinite if there was no alarm.
    interval : tuple of float
        95 % interval ``mean exp(-+1.96 / sqrt(alarms))``; without an alarm (steps / 3, inf).
    lengths : ndarray, shape (n_runs,)
        Steps watched in each run, the alarm's step included.
    n_cut : int
        Runs that reached ``max_steps`` without an alarm.
    """

    mean: float
    interval: tuple[float, float]
    lengths: NDArray[np.int64]
    n_cut: int

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"Average run length {self.mean:.0f} steps (95 % interval {low:.0f} to {high:.0f}) "
            f"from {len(self.lengths)} runs, {self.n_cut} of them without an alarm."
        )


def _normal_streams(values: ArrayLike) -> list[NDArray[np.float64]]:
    streams = np.asarray(values, dtype=np.float64)
    if streams.ndim not in (1, 2) or streams.size == 0 or not np.isfinite(streams).all():
        raise CalibrationError(
            "values: expected finite values of normal streams, shape (steps,) or (streams, steps), "
            f"got shape {streams.shape} with {int((~np.isfinite(streams)).sum())} not finite"
        )
    return list(np.atleast_2d(streams))


def correlation_block(values: ArrayLike, window_size: int = 20) -> int:
    """Steps after which a normal stream has forgotten its past: a block length.

    Ten integrated autocorrelation times ``1 + 2 (rho_1 + ... + rho_K)``, K the last lag before
    the autocorrelation first falls below 0.05; at least ``window_size``.

    Examples
    --------
    >>> correlation_block([1.0, -1.0] * 50)
    20
    """
    streams = [s - s.mean() for s in _normal_streams(values)]
    n = len(streams[0])
    size = 2 ** math.ceil(math.log2(2 * n))
    power = sum(abs(np.fft.rfft(s, size)) ** 2 for s in streams)
    rho = np.fft.irfft(power, size)[: max(1, n // 4)]
    rho = rho / rho[0] if rho[0] > 0 else np.zeros_like(rho)
    small = np.flatnonzero(rho < 0.05)
    time = 1 + 2 * rho[1 : small[0] if len(small) else None].sum()
    return max(window_size, math.ceil(10 * time))


def average_run_length(
    config: ObserverConfig,
    stream: Callable[[np.random.Generator, int], ArrayLike] | ArrayLike,
    *,
    n_runs: int = 200,
    max_steps: int = 10_000,
    state: State | str = State.ALERT,
    block: int | None = None,
    seed: int | np.random.Generator = 0,
) -> RunLength:
    """Mean number of steps until the first (false) alarm, by simulation.

    Parameters
    ----------
    stream : callable or array
        ``stream(rng, n)`` draws n values of a normal stream; an array of normal values, shape
        (steps,), is resampled in blocks with random starts, wrapping around.
    state : {"ALERT", "WARNING"}
        What counts as an alarm.
    block : int, optional
        Length of the resampled blocks; `correlation_block` by default.

    Examples
    --------
    >>> always = average_run_length(ObserverConfig(), lambda rng, n: np.full(n, 9.0), n_runs=4)
    >>> always.mean, always.n_cut  # raised at the first step of each run
    (1.0, 0)
    """
    rng = np.random.default_rng(seed)
    if not callable(stream):
        (normal,) = _normal_streams(np.ravel(stream))
        block = correlation_block(normal, config.window_size) if block is None else block

        def stream(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
            starts = rng.integers(0, len(normal), -(-n // block))
            return normal[(starts[:, None] + np.arange(block)).ravel()[:n] % len(normal)]

    lengths, alarms = [], 0
    for _ in range(n_runs):
        values, watched, first = np.asarray(stream(rng, max_steps), np.float64), 0, []
        if values.shape != (max_steps,):
            raise CalibrationError(
                f"stream: expected {max_steps} values from stream(rng, {max_steps}), got shape "
                f"{values.shape}"
            )
        while not len(first) and watched < max_steps:
            watched = min(max(1000, 4 * watched), max_steps)  # many runs end early
            first = replay(values[:watched], config).onsets(state)
        alarms += len(first) > 0
        lengths.append(int(first[0]) + 1 if len(first) else watched)
    total = sum(lengths)
    spread = math.exp(1.96 / math.sqrt(alarms)) if alarms else 1.0
    mean = total / alarms if alarms else math.inf
    interval = (mean / spread, mean * spread) if alarms else (total / 3, math.inf)
    return RunLength(mean, interval, np.array(lengths), n_runs - alarms)


def false_alarms_per_1000(
    config: ObserverConfig, values: ArrayLike, state: State | str = State.ALERT
) -> float:
    """How often a state is entered per 1,000 steps of normal streams.

    Parameters
    ----------
    values : array, shape (steps,) or (streams, steps)
        Finite values; each stream is watched from its own start.

    Examples
    --------
    >>> false_alarms_per_1000(ObserverConfig(theta_high=3.0), [0.0, 3.5, 0.0, 0.0])
    250.0
    """
    streams = _normal_streams(values)
    alarms = sum(len(replay(s, config).onsets(state)) for s in streams)
    return 1000 * alarms / sum(map(len, streams))


@dataclass(frozen=True)
class RateThreshold:
    """Thresholds chosen for a rate of false alarms, and what may be expected of them.

    Attributes
    ----------
    theta_high, warning_level : float
        The levels, also in ``config``.
    config : ObserverConfig
        Ready for use.
    per_1000 : float
        Target: false ALERTs per 1,000 steps.
    interval : tuple of float
        Where the long-run rate lies in 90 % of calibrations, given the number of blocks.
    calibration_rate, calibration_warning_rate : float
        ALERTs and WARNINGs per 1,000 steps on the calibration streams themselves.
    block, n_blocks : int
        Length and number of the blocks.
    """

    theta_high: float
    warning_level: float
    config: ObserverConfig
    per_1000: float
    interval: tuple[float, float]
    calibration_rate: float
    calibration_warning_rate: float
    block: int
    n_blocks: int

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"theta_high {self.theta_high:.3g} for {self.per_1000:g} false alerts per 1,000 steps "
            f"(90 % range {low:.2g} to {high:.2g}), from {self.n_blocks} blocks of {self.block}."
        )


def _block_quantile(
    series: Sequence[NDArray[np.float64]], block: int, per_1000: float
) -> tuple[float, int, int]:
    """Conformal threshold on block maxima; also its rank from the top and the number of blocks."""
    whole = [s[: len(s) // block * block].reshape(-1, block) for s in series]
    maxima = np.sort(np.concatenate([w.max(axis=1) for w in whole]))
    n = len(maxima)
    alpha = -math.expm1(-per_1000 * block / 1000)
    rank = math.floor(alpha * (n + 1) + 1e-9)
    if not 1 <= rank <= n:
        needed = math.ceil(1000 / per_1000)
        raise CalibrationError(
            f"values: {n} blocks of {block} steps cannot support {per_1000:g} false alarms per "
            f"1,000 steps; give rather more than {needed + block} normal steps, or change per_1000"
        )
    return float(maxima[n - rank]), rank, n


def threshold_for_rate(
    values: ArrayLike,
    per_1000: float = 1.0,
    config: ObserverConfig | None = None,
    *,
    block: int | None = None,
    warnings_per_1000: float | None = None,
) -> RateThreshold:
    """Choose theta_high from normal streams for a target rate of false ALERTs per 1,000 steps.

    Single steps of an autocorrelated stream are not exchangeable, blocks longer than its memory
    nearly are. The score of a block is its largest |value|, one-sided its largest value (with
    ``raise_after = m`` the largest that m values running reach); theta_high is the conformal
    quantile of the block scores at ``alpha = 1 - exp(-rate block)``, the chance that alarms at that
    rate hit a block. Given the calibration, the chance that a new block alarms follows a beta
    distribution: hence ``interval``.

    Parameters
    ----------
    values : array, shape (steps,) or (streams, steps)
        Finite values of normal streams; many more than ``1000 / per_1000`` steps.
    per_1000 : float
        Target rate, > 0.
    config : ObserverConfig, optional
        The other parameters; theta_low is lowered to theta_high where it would lie above.
    block : int, optional
        Block length; `correlation_block` by default.
    warnings_per_1000 : float, optional
        Also choose the level of the early warning, the same way: ``slope_confidence``,
        ``ewma_limit``, ``cusum_limit`` or ``ph_limit``.

    Raises
    ------
    CalibrationError
        If the streams are too short for the rate.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=20_000)
    >>> chosen = threshold_for_rate(noise, per_1000=1.0)
    >>> 3.1 < chosen.theta_high < 3.5  # once in 1,000 steps a normal value is beyond 3.29 or -3.29
    True
    """
    from scipy import special

    config = ObserverConfig() if config is None else config
    streams = _normal_streams(values)
    block = correlation_block(values, config.window_size) if block is None else block
    rates = [per_1000] if warnings_per_1000 is None else [per_1000, warnings_per_1000]
    if block < 1 or not all(0 < r < 1000 for r in rates):
        raise CalibrationError(
            "block, per_1000, warnings_per_1000: expected a length >= 1 and rates between 0 and "
            f"1000, got {block}, {per_1000}, {warnings_per_1000}"
        )
    dwell = min(config.raise_after, len(streams[0]))
    sizes = [np.abs(s) for s in streams] if config.two_sided else streams
    runs = [np.lib.stride_tricks.sliding_window_view(s, dwell).min(axis=1) for s in sizes]
    theta, rank, n = _block_quantile(runs, block, per_1000)
    theta = math.nextafter(theta, math.inf)  # ">= theta_high" then means "> the quantile"
    chosen = replace(config, theta_high=theta, theta_low=min(config.theta_low, theta))
    if warnings_per_1000 is not None:
        level = _block_quantile(_statistics(config, streams), block, warnings_per_1000)[0]
        level = math.nextafter(max(level, 0.0), math.inf)
        if config.detector == "slope":
            tail = float(special.stdtr(config.window_size - 2, -level))
            tail *= 2 if config.two_sided else 1
            chosen = replace(chosen, slope_confidence=max(0.5, 1 - max(tail, 1e-15)))
        else:
            chosen = replace(chosen, **{CHARTS[config.detector][1]: level})
    low, high = (
        -1000 * math.log1p(-float(special.betaincinv(rank, n + 1 - rank, q))) / block
        for q in (0.05, 0.95)
    )
    return RateThreshold(
        theta_high=theta,
        warning_level=chosen.warning_level,
        config=chosen,
        per_1000=per_1000,
        interval=(low, high),
        calibration_rate=false_alarms_per_1000(chosen, values),
        calibration_warning_rate=false_alarms_per_1000(chosen, values, State.WARNING),
        block=block,
        n_blocks=n,
    )


def _statistics(
    config: ObserverConfig, streams: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Early-warning statistic of undisturbed streams, -inf where it cannot fire."""
    out = []
    for s in streams:
        if config.detector == "slope":
            slope, _, ratio = window_slopes(np.arange(len(s)), s, config.window_size)
            if config.two_sided:
                away = np.where(s < 0, -1.0, 1.0)
                slope, ratio = away * slope, away * ratio
            out.append(np.where(slope > config.theta_slope, ratio, -math.inf))
            continue
        chart = config.chart()
        for side in (chart.up, chart.down) if config.two_sided else (chart,):
            if hasattr(side, "cap"):
                side.cap = math.inf
        values = np.array([chart.update(x) for x in s.tolist()])
        values = np.abs(values) if config.two_sided else values
        if config.detector == "page-hinkley":
            values[: config.window_size - 1] = -math.inf
        out.append(values)
    return out

"""Images through a network once: the pools that the streams of notebook 04 are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepdrift.lab.alarms.streams import DriftPool
from deepdrift.lab.data.shifts import apply_shift
from deepdrift.monitor.scorer import StateScorer
from deepdrift.states.collect import collect

N_NOISY = 1000


def noisy_pool(
    network: Any, images: Any, layers: Sequence[str], severities: Sequence[int] = (1, 2, 3)
) -> DriftPool:
    """The test images, clean and with noise, and what one network makes of each.

    Parameters
    ----------
    network : nn.Module
    images : deepdrift.lab.data.Images
        Parts ``fit``, ``calibration`` and ``test``; 1,000 of the last one get the noise.
    layers : sequence of str
    severities : sequence of int
        Of ``gaussian_noise``; severity k of a stream is the k-th of them.
    """
    scorer = StateScorer()
    scorer.partial_fit(collect(network, images.fit.images, layers).states, images.fit.labels)
    scorer.calibrate(collect(network, images.calibration.images, layers).states)
    clean = images.test.images
    noisy = [apply_shift("gaussian_noise", clean[:N_NOISY], severity=k) for k in severities]
    seen = [clean, *noisy]
    drifts = [scorer.drift_per_sample(collect(network, x, layers).states) for x in seen]
    return DriftPool(drifts, scorer.calibration.n_samples, layers, pictures=seen)


def halves(pool: DriftPool) -> tuple[DriftPool, DriftPool]:
    """The clean images of a pool in two halves, without a shift.

    Examples
    --------
    >>> first, second = halves(DriftPool([([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])], 10))
    >>> second.drifts()[1].tolist()
    [2.0, 3.0]
    """
    layers, fused = pool.drifts()
    middle = len(fused) // 2
    parts = (slice(0, middle), slice(middle, None))
    made = [DriftPool([(layers[p], fused[p])], pool.n_calibration, pool.layers) for p in parts]
    return made[0], made[1]

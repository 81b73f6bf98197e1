"""Is a false-alarm rate the score's, or the luck of one cut into calibration and test images?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn

from deepdrift.lab.bench.evaluation import Array
from deepdrift.lab.fair_comparison.detectors import observe
from deepdrift.lab.fair_comparison.protocol import Protocol
from deepdrift.monitor.scorer import StateScorer
from deepdrift.states.inputs import INPUT, input_statistics

__all__ = ["rates_of_new_cuts"]


def rates_of_new_cuts(
    network: nn.Module,
    layers: Iterable[str],
    protocol: Protocol,
    alphas: Sequence[float] = (0.01, 0.05, 0.1),
    n_cuts: int = 40,
    seed: int = 0,
) -> Array:
    """False-alarm rates ``(n_cuts, A)`` of the default score when the normal images are cut anew.

    Calibration and test images of the protocol go into one heap, which is cut at random into as
    many of each; the fit set stays.

    Parameters
    ----------
    network : nn.Module
        With a last linear layer ``head``.
    layers : iterable of str
        To watch.
    protocol : Protocol
    alphas : sequence of float
    n_cuts, seed : int
    """
    layers = list(layers)
    seen = []
    for part in (protocol.fit, protocol.calibration, protocol.test):
        found = observe(network, part.images, layers)
        given = {"logits": found.logits, INPUT: input_statistics(found.images)}
        seen.append(found.states | given)
    scorer = StateScorer("fused", output_layer="logits", watch_input=True)
    scorer.partial_fit(seen[0], protocol.fit.labels)
    heap = {k: torch.cat([seen[1][k], seen[2][k]]) for k in seen[1]}
    n, generator = len(protocol.calibration), torch.Generator().manual_seed(seed)
    rates = []
    for _ in range(n_cuts):
        order = torch.randperm(n + len(protocol.test), generator=generator)
        scorer.calibrate({k: state[order[:n]] for k, state in heap.items()})
        p = scorer.read({k: state[order[n:]] for k, state in heap.items()}).p_values
        rates.append([float((p <= alpha).double().mean()) for alpha in alphas])
    return np.array(rates)

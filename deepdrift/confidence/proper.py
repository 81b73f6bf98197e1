"""Proper scores: smallest on average when the true probabilities are stated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deepdrift.confidence.checks import check_pair, check_whole
from deepdrift.confidence.reliability import bin_index

__all__ = ["Brier", "brier", "nll"]


@dataclass(frozen=True)
class Brier:
    """Brier score and its three parts, ``value = reliability - resolution + uncertainty``.

    Attributes
    ----------
    value : float
        Mean over predictions of the squared distance between the stated probabilities and the
        one-hot label, summed over classes: 0 (sure and right) to 2 (sure and wrong).
    reliability : float
        How far stated probabilities are from the shares that came true; 0 is perfect.
    resolution : float
        How far those shares are from the shares of the classes; larger is better. Where the
        spread inside the bins says nothing about the labels it can fall below 0.
    uncertainty : float
        Of the labels themselves, ``sum of share (1 - share)``.
    """

    value: float
    reliability: float
    resolution: float
    uncertainty: float

    def __str__(self) -> str:
        return (
            f"Brier score {self.value:.3f} = reliability {self.reliability:.3f} - resolution "
            f"{self.resolution:.3f} + uncertainty {self.uncertainty:.3f}."
        )


def brier(probabilities: Any, labels: Any, n_bins: int = 15) -> Brier:
    """Brier score (Brier 1950, over all classes) and its decomposition (Murphy 1973).

    Murphy's three parts are exact where a bin holds a single stated value. Real probabilities are
    not repeated, so each class's column is binned, and the two terms that the spread inside the
    bins adds are counted to the resolution (the generalized resolution of Stephenson, Coelho and
    Jolliffe 2008): the identity holds to rounding for any number of bins.

    Parameters
    ----------
    probabilities, labels, n_bins
        As in `deepdrift.confidence.reliability`; the bins matter for the parts alone.

    Examples
    --------
    Two say (0.75, 0.25); one of them is right. Classes are equally frequent.

    >>> found = brier([[0.75, 0.25], [0.75, 0.25]], [0, 1])
    >>> found.value  # (0.0625 + 0.0625 + 0.5625 + 0.5625) / 2
    0.625
    >>> found.reliability, found.resolution, found.uncertainty
    (0.125, 0.0, 0.5)
    """
    p, y = check_pair(probabilities, labels)
    n_bins = check_whole("n_bins", n_bins, 1)
    hit = torch.nn.functional.one_hot(y, p.shape[1]).double()
    value = float((p - hit).square().sum(dim=1).mean())
    shares = hit.mean(dim=0)
    uncertainty = float((shares * (1 - shares)).sum())
    reliability = 0.0
    for stated, true in zip(p.T, hit.T, strict=True):
        index = bin_index(stated, n_bins)
        count = torch.bincount(index, minlength=n_bins)
        gap = [torch.bincount(index, weights=w, minlength=n_bins) for w in (stated, true)]
        filled = count > 0
        reliability += float(((gap[0] - gap[1])[filled].square() / count[filled]).sum()) / len(p)
    return Brier(value, reliability, reliability + uncertainty - value, uncertainty)


def nll(probabilities: Any, labels: Any) -> float:
    """Mean negative log-likelihood of the labels, in nats; infinite if a label was given 0.

    A 32-bit softmax gives exactly 0 where a logit is 104 below the largest: take the softmax of
    ``logits.double()``.

    Examples
    --------
    >>> round(nll([[0.5, 0.5], [0.25, 0.75]], [0, 0]), 4)  # (log 2 + log 4) / 2
    1.0397
    """
    p, y = check_pair(probabilities, labels)
    return abs(float(p[torch.arange(len(p)), y].log().mean()))  # no logarithm here exceeds 0

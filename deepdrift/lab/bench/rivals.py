"""The scores to beat: five that need no monitor.

Two read the logits, one the penultimate features, one only the input, one nothing at all. Each is
a line or two, written out here so that a reader sees what we compare with; the tests hold the
first three against ``pytorch-ood``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from deepdrift.errors import StateError

__all__ = ["RIVALS", "simple_scores"]

RIVALS = ("MSP", "energy", "kNN", "input norm", "random")


def simple_scores(
    images: Tensor,
    logits: Tensor,
    features: Tensor,
    normal_features: Tensor,
    *,
    k: int = 50,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Five simple scores of the same samples, larger meaning more unusual.

    ============ ================================================================================
    MSP          minus the largest softmax probability (Hendrycks and Gimpel, ICLR 2017)
    energy       ``-log sum exp(logits)`` (Liu et al., NeurIPS 2020, with T = 1)
    kNN          distance to the k-th nearest normal feature, all features scaled to length 1
                 (Sun et al., ICML 2022; k = 50 is theirs for CIFAR-10)
    input norm   Euclidean length of the image: does the shift show before any network?
    random       uniform numbers: what a score reaches that knows nothing
    ============ ================================================================================

    Parameters
    ----------
    images : Tensor, shape (N, ...)
        What the network saw.
    logits : Tensor, shape (N, K)
        What it answered.
    features : Tensor, shape (N, D)
        Input of its last linear layer.
    normal_features : Tensor, shape (M, D)
        The same of normal images, M >= k.
    k : int
        Neighbour that counts.
    seed : int
        Of the random score.

    Returns
    -------
    dict of str to Tensor, shape (N,)
        In the order of ``RIVALS``.

    Raises
    ------
    StateError
        If the sizes disagree, or if there are fewer than k normal features.

    Examples
    --------
    A blank image on which the network is undecided, with a feature opposite to the normal one.

    >>> image, logits = torch.zeros(1, 1, 2, 2), torch.zeros(1, 4)
    >>> scores = simple_scores(image, logits, torch.tensor([[-3.0]]), torch.ones(5, 1), k=5)
    >>> [round(scores[name].item(), 3) for name in RIVALS[:4]]  # -1/4, -log 4, two units, nothing
    [-0.25, -1.386, 2.0, 0.0]
    """
    n = len(images)
    if logits.ndim != 2 or features.ndim != 2 or {len(logits), len(features)} != {n}:
        raise StateError(
            f"images, logits, features: expected shapes (N, ...), (N, K), (N, D), got "
            f"{tuple(images.shape)}, {tuple(logits.shape)}, {tuple(features.shape)}"
        )
    if normal_features.shape[1:] != features.shape[1:]:
        raise StateError(
            f"normal_features: expected width {features.shape[1]}, got shape "
            f"{tuple(normal_features.shape)}"
        )
    if not 1 <= k <= len(normal_features):
        raise StateError(
            f"k: expected 1 to {len(normal_features)}, the number of normal features, got {k!r}"
        )
    gaps = torch.cdist(normalize(features.double()), normalize(normal_features.double()))
    return {
        "MSP": -logits.double().softmax(dim=1).amax(dim=1),
        "energy": -logits.double().logsumexp(dim=1),
        "kNN": gaps.kthvalue(k, dim=1).values,
        "input norm": images.flatten(1).double().norm(dim=1),
        "random": torch.rand(n, generator=torch.Generator().manual_seed(seed)).double(),
    }

"""The scores to beat: six that need no monitor.

Two read the logits, one the penultimate features, two only the input, one nothing at all. Each is
a line or two, written out here so that a reader sees what we compare with; the tests hold the
first three against ``pytorch-ood``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from deepdrift.errors import StateError
from deepdrift.scores.distance import LayerDistance
from deepdrift.states.inputs import input_statistics

__all__ = ["RIVALS", "PixelStatistics", "neighbour_for", "simple_scores"]

RIVALS = ("MSP", "energy", "kNN", "pixel statistics", "input norm", "random")


def simple_scores(
    images: Tensor,
    logits: Tensor,
    features: Tensor,
    normal_features: Tensor,
    normal_images: Tensor,
    *,
    k: int | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Six simple scores of the same samples, larger meaning more unusual.

    ============ ================================================================================
    MSP          minus the largest softmax probability (Hendrycks and Gimpel, ICLR 2017)
    energy       ``-log sum exp(logits)`` (Liu et al., NeurIPS 2020, with T = 1)
    kNN          distance to the k-th nearest normal feature, all features scaled to length 1
                 (Sun et al., ICML 2022)
    pixel        Mahalanobis distance of five statistics of the image: mean, standard deviation,
    statistics   roughness across, down and of second differences; no network
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
    normal_images : Tensor, shape (M, C, H, W)
        What the network saw of them.
    k : int, optional
        Neighbour that counts; by default `neighbour_for` M.
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
    >>> normal = torch.ones(5, 1), torch.rand(5, 1, 2, 2)
    >>> scores = simple_scores(image, logits, torch.tensor([[-3.0]]), *normal, k=5)
    >>> [round(scores[name].item(), 3) for name in RIVALS[:3]]  # -1/4, -log 4, two units
    [-0.25, -1.386, 2.0]
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
    k = neighbour_for(len(normal_features)) if k is None else k
    if not 1 <= k <= len(normal_features):
        raise StateError(
            f"k: expected 1 to {len(normal_features)}, the number of normal features, got {k!r}"
        )
    gaps = torch.cdist(normalize(features.double()), normalize(normal_features.double()))
    return {
        "MSP": -logits.double().softmax(dim=1).amax(dim=1),
        "energy": -logits.double().logsumexp(dim=1),
        "kNN": gaps.kthvalue(k, dim=1).values,
        "pixel statistics": PixelStatistics(normal_images)(images),
        "input norm": images.flatten(1).double().norm(dim=1),
        "random": torch.rand(n, generator=torch.Generator().manual_seed(seed)).double(),
    }


def neighbour_for(n: int) -> int:
    """The neighbour that kNN looks at among n normal samples: one in a thousand, as its authors.

    Theirs is the 50th of 50,000; the 50th of 3,000 would be another score.

    Examples
    --------
    >>> neighbour_for(50_000), neighbour_for(3_200), neighbour_for(100)
    (50, 3, 1)
    """
    return max(1, round(n / 1000))


class PixelStatistics:
    """Mahalanobis distance of `deepdrift.states.inputs.input_statistics`: no network, no labels.

    Parameters
    ----------
    images : Tensor, shape (n, C, H, W)
        Normal ones.

    Examples
    --------
    Noisy normal images; one that is twice as bright is far from all of them.

    >>> images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> score = PixelStatistics(images)
    >>> bool(score(2 * images[:1]) > score(images).max())
    True
    """

    def __init__(self, images: Tensor) -> None:
        self._distance = LayerDistance().fit({"image": input_statistics(images)})

    def __call__(self, images: Tensor) -> Tensor:
        """Squared distance ``(N,)``, float64, of images ``(N, C, H, W)``."""
        return self._distance.score({"image": input_statistics(images)})[:, 0]

"""What calibrating and scoring return: frozen, one entry per sample, a sentence when printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from deepdrift.alarms.plain import plain
from deepdrift.scores.innovation import step_names


@dataclass(frozen=True)
class Calibration:
    """What was measured on normal data; also readable as ``calibration["threshold"]``.

    Attributes
    ----------
    n_samples, n_fit, n_classes : int
        Samples that judge a new score; samples the statistics were fitted on; their classes.
    alpha : float
        Stated false-alarm rate per sample (for ``method="iqr"`` none is stated).
    method : str
        Rule behind ``threshold``: conformal, quantile or iqr.
    threshold : float
        A sample is flagged if its score lies above (a raw velocity also if it is unusually small).
        With the fused score of several blocks and ``n_samples`` of 200 or fewer the conformal rule
        goes by the exact p-value (`deepdrift.evidence.fusion`), and the threshold is on the safe
        side of it: all above are flagged, and some a little below.
    mean, std, q25, q75, iqr, iqr_threshold : float
        Of the scores of the ``n_samples`` normal samples.
    class_thresholds : dict of int to float
        With ``per_class``: predicted class -> threshold of its samples, which then decides instead
        of ``threshold``, the one for all. Else empty.
    pooled_classes : tuple of int
        With ``per_class``: predicted classes of too few samples, and those that were joined to them
        to make enough. Their samples are judged together, with those of classes never predicted
        here: alpha holds for them as a group.
    """

    n_samples: int
    n_fit: int
    n_classes: int
    alpha: float
    method: str
    threshold: float
    mean: float
    std: float
    q25: float
    q75: float
    iqr: float
    iqr_threshold: float
    class_thresholds: dict[int, float] = field(default_factory=dict, hash=False)
    pooled_classes: tuple[int, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return vars(self)[key]

    def __str__(self) -> str:
        rate = "" if self.method == "iqr" else f" for a false-alarm rate of {self.alpha:g}"
        text = (
            f"Calibrated on {self.n_samples} normal samples (statistics fitted on {self.n_fit}, "
            f"{self.n_classes} classes): {self.method} threshold {self.threshold:.3g}{rate}."
        )
        if self.class_thresholds:
            values = self.class_thresholds.values()
            text += (
                f" Each predicted class has its own, from {min(values):.3g} to {max(values):.3g}"
            )
            if self.pooled_classes:
                few = ", ".join(map(str, self.pooled_classes))
                text += f"; too few samples, so judged together: {few} and any other class"
            text += "."
        return text


@dataclass(frozen=True)
class Reading:
    """Scores of one batch; everything has one entry per sample.

    Attributes
    ----------
    score : Tensor, shape (N,), float64
        Larger is more unusual; infinite where a state is not finite.
    p_values : Tensor, shape (N,), float64
        Conformal p-value; 0 where a state is not finite.
    flagged : Tensor, shape (N,), bool
        The decision: for the conformal rule p <= alpha, else a score above the threshold.
    blocks : dict of str to Tensor
        Per-layer scores behind the score: ``innovation``, a column per step (see `steps`),
        ``distance (N, L)``; with labels ``relative (N, L)``, and ``output (N, 1)`` where an output
        layer is watched; ``input (N, 1)`` where the input is.
    layer_p_values : dict of str to Tensor
        Conformal p-values of ``blocks``.
    invalid_layers : tuple of str
        Layers in which some state is NaN or infinite.
    layers : tuple of str
        Watched layers in execution order.
    targets : tuple of int, optional
        Numbers of the layers that a step of the innovation leads into; by default all but the
        first. There is none into a second tower, a decoder, or a branch beside another.
    """

    score: Tensor
    p_values: Tensor
    flagged: Tensor
    blocks: dict[str, Tensor]
    layer_p_values: dict[str, Tensor]
    invalid_layers: tuple[str, ...]
    layers: tuple[str, ...]
    targets: tuple[int, ...] | None = None

    @property
    def steps(self) -> list[str]:
        """Names of the columns of ``blocks["innovation"]``."""
        names = step_names(self.layers)
        return names if self.targets is None else [names[i - 1] for i in self.targets]

    @property
    def most_unusual(self) -> str:
        """Layer or transition with the smallest mean log p-value over the batch."""
        if self.invalid_layers:
            return self.invalid_layers[0]
        means = {}
        for block, p in self.layer_p_values.items():
            names = {
                "innovation": self.steps,
                "output": ["relative distance"],
                "input": ["statistics"],
            }
            means |= {
                f"{block} {k}": v
                for k, v in zip(
                    names.get(block, self.layers), p.log().mean(0).tolist(), strict=True
                )
            }
        return min(means, key=means.get, default="velocity")

    def to_dict(self, per_layer: bool = True) -> dict[str, Any]:
        """Plain JSON: finite numbers only, null elsewhere, and ``why_null`` says why.

        Parameters
        ----------
        per_layer : bool
            Also ``blocks`` and ``layer_p_values``, which are by far the longest part.

        Returns
        -------
        dict
            ``n``, ``n_flagged`` and the attributes, tensors as lists.

        Examples
        --------
        >>> import torch
        >>> score, p = torch.tensor([float("inf")]), torch.tensor([0.0])
        >>> Reading(score, p, p <= 0.05, {}, {}, ("a",), ("a",)).to_dict()["why_null"]
        {'score[0]': 'inf'}
        """
        fields = {"n": len(self.score), "n_flagged": int(self.flagged.sum())} | vars(self)
        if not per_layer:
            fields = {k: v for k, v in fields.items() if k not in ("blocks", "layer_p_values")}
        return plain(fields)

    def __str__(self) -> str:
        text = (
            f"{int(self.flagged.sum())} of {len(self.score)} samples flagged; "
            f"smallest p-value {float(self.p_values.min()):.3g}."
        )
        if self.invalid_layers:
            text += f" INVALID (NaN or infinity) in: {', '.join(self.invalid_layers)}."
        return text


class Velocities(list):
    """Mean velocity per transition, with ``per_sample`` ``(N, K)`` and ``names`` beside it.

    Examples
    --------
    >>> import torch
    >>> max(Velocities(torch.tensor([[1.0, 3.0], [2.0, 5.0]]), ["a->b", "b->c"]))
    4.0
    """

    def __init__(self, per_sample: Tensor, names: list[str]) -> None:
        super().__init__(per_sample.double().mean(dim=0).tolist())
        self.per_sample, self.names = per_sample, names

"""Image classifiers: calibrate on normal images, diagnose a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from deepdrift.alarms.plain import plain
from deepdrift.evidence.calibration import flagged_count_p_value
from deepdrift.monitor.monitor import DeepDriftMonitor
from deepdrift.states.batches import Forward, Labels
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts, Pooling


@dataclass(frozen=True)
class VisionDiagnosis:
    """Verdict on one batch of images.

    Attributes
    ----------
    is_anomaly : bool
        More images are flagged than chance allows at the stated rate; for one image: it is.
    batch_p_value : float
        Probability of so many flags among so many normal images.
    flagged : Tensor, shape (N,), bool
        The decision per image.
    score, p_values : Tensor, shape (N,), float64
        Larger score = more unusual; p-values as in `DeepDriftMonitor.p_values`.
    peak_velocity : float
        Largest raw spatial velocity, mean over the batch; for comparison, it decides nothing.
    peak_velocities : Tensor, shape (N,)
        The same per image.
    layer_velocities : list of float
        Mean raw velocity per transition.
    unusual_layer : str
        Layer or transition with the smallest mean log p-value over the batch.
    threshold, alpha : float
        Of the calibrated score.
    status : str
        ``NORMAL``, ``ANOMALY``, or ``INVALID`` if a state is NaN or infinite.
    """

    is_anomaly: bool
    batch_p_value: float
    flagged: Tensor
    score: Tensor
    p_values: Tensor
    peak_velocity: float
    peak_velocities: Tensor
    layer_velocities: list[float]
    unusual_layer: str
    threshold: float
    alpha: float
    status: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON with the sentence as ``message``; null for what is not finite."""
        return plain(vars(self) | {"message": str(self)})

    def __str__(self) -> str:
        n, k = len(self.flagged), int(self.flagged.sum())
        return (
            f"{self.status}: {k} of {n} images flagged at alpha = {self.alpha:g} "
            f"({self.alpha * n:.1f} expected by chance, p = {self.batch_p_value:.3g}); "
            f"most unusual: {self.unusual_layer}."
        )


class DeepDriftVision:
    """Monitor for image classifiers in two calls: ``fit`` on normal images, ``predict``.

    Parameters
    ----------
    model : nn.Module
    layer_names, pooling, n_channels, score, alpha, layout, mask, forward, labels, watch_input
        See `deepdrift.DeepDriftMonitor`.

    Examples
    --------
    >>> import torch
    >>> g = torch.manual_seed(0)  # for the weights of the example, and its images
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    >>> normal = torch.rand(800, 1, 8, 8, generator=g)
    >>> vision = DeepDriftVision(model).fit(normal.split(100))
    >>> vision.predict(5 * torch.ones(2, 1, 8, 8)).status
    'ANOMALY'
    """

    def __init__(
        self,
        model: nn.Module,
        layer_names: Sequence[str] | None = None,
        pooling: Pooling = "auto",
        n_channels: int | None = None,
        *,
        score: str = "fused",
        alpha: float | None = None,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
        labels: Labels | None = None,
        watch_input: bool | str = "auto",
    ) -> None:
        # convolutional networks change width: the published norm difference, by name
        self.monitor = DeepDriftMonitor(
            model,
            layer_names,
            pooling,
            n_channels,
            score=score,
            alpha=alpha,
            layout=layout,
            mask=mask,
            forward=forward,
            labels=labels,
            across_widths="norm",
            watch_input=watch_input,
        )

    def fit(
        self, loader: Iterable[Any], max_batches: int | None = None, *, per_class: bool = False
    ) -> DeepDriftVision:
        """Calibrate on normal images, see `DeepDriftMonitor.calibrate`."""
        self.monitor.calibrate(loader, max_batches, per_class=per_class)
        return self

    def predict(self, batch: Any) -> VisionDiagnosis:
        """Judge a batch of images, per image and as a whole."""
        reading = self.monitor.read(batch)
        velocities = self.monitor.get_spatial_velocity() if len(self.monitor.layers) > 1 else None
        calibration = self.monitor.calibration
        n, k = len(reading.flagged), int(reading.flagged.sum())
        p = flagged_count_p_value(k, n, calibration.n_samples, calibration.alpha)
        is_anomaly = bool(p <= calibration.alpha + 1e-12 or reading.invalid_layers)
        peaks = velocities.per_sample.amax(dim=1).cpu() if velocities else reading.score * 0
        return VisionDiagnosis(
            is_anomaly=is_anomaly,
            batch_p_value=p,
            flagged=reading.flagged,
            score=reading.score,
            p_values=reading.p_values,
            peak_velocity=float(peaks.double().mean()),
            peak_velocities=peaks,
            layer_velocities=list(velocities or []),
            unusual_layer=reading.most_unusual,
            threshold=calibration.threshold,
            alpha=calibration.alpha,
            status="INVALID" if reading.invalid_layers else "ANOMALY" if is_anomaly else "NORMAL",
        )

    def close(self) -> None:
        """Remove all hooks."""
        self.monitor.close()

    def __enter__(self) -> DeepDriftVision:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

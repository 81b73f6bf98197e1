"""Draw docs/hero.png: what the network says of digits, and what its hidden states say.

python tools/readme_figure.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.figure

matplotlib.use("Agg")

import torch

from deepdrift import DeepDriftMonitor
from deepdrift.lab import data
from deepdrift.lab.bench import figures

OUT = Path(__file__).resolve().parents[1] / "docs" / "hero.png"


def main() -> None:
    network = data.load_network("vit-holdout")
    clothing, digits = data.load().without([5, 8]), data.load_ood("mnist").images
    with DeepDriftMonitor(network, data.NETWORK_LAYERS["vit-holdout"]) as monitor:
        monitor.fit(clothing.fit.loader(256))
        calibration = monitor.calibrate(clothing.calibration.loader(256))
        normal, strange = (monitor.score(x) for x in (clothing.test.images, digits))
    with torch.no_grad():
        confidence, label = network(digits).softmax(dim=1).max(dim=1)

    chosen = torch.nonzero(confidence > 0.97)[:4, 0].tolist()
    with figures.style():
        figure = matplotlib.figure.Figure(figsize=(10, 3.2), dpi=100, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(2.1, 5))
        left.suptitle("What the network says", fontsize=11, fontweight="bold")
        for i, ax in zip(chosen, left.subplots(2, 2).flat, strict=True):
            ax.imshow(digits[i, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(f"{network.class_names[label[i]]}, {confidence[i]:.0%}", fontsize=9)
            ax.set_axis_off()
        figures.draw_two_histograms(
            right.subplots(),
            normal,
            strange,
            ("clothing", "digits"),
            "What its hidden states say",
            "fused score (larger = more unusual)",
            calibration.threshold,
        )
        OUT.parent.mkdir(exist_ok=True)
        figure.savefig(OUT)


if __name__ == "__main__":
    main()

"""One card for each score of the comparison: what it looks at, its formula, and what it is for.

Plain characters, so that a page without a network shows them. ``x`` is the image, ``zₗ`` the
pooled state of layer l, ``z`` the last features (what the last linear layer reads), ``f`` the
logits, ``p`` a share of normal images that score at least as high.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CARDS", "Card"]


@dataclass(frozen=True)
class Card:
    """What a reader should know before the first number of a score.

    Attributes
    ----------
    looks_at : str
        Which part of the image or the network.
    formula : str
        In one line, larger = more unusual.
    labels : {"yes", "no", "if any"}
        Whether the normal images must have class labels; "if any": it uses them if they have.
    advice : str
        What a practitioner should do with it.
    """

    looks_at: str
    formula: str
    labels: str
    advice: str


CARDS = {
    "fused": Card(
        "all layers, logits, image",
        "Σ w · (−2 ln p) over five blocks: innovation 1, distance 1, relative 1, output 3, input 2",
        "if any",
        "start here: it is the default",
    ),
    "fused, without input": Card(
        "all layers, logits",
        "as fused, without the input block",
        "if any",
        "take it where inputs have no pixels, such as tokens",
    ),
    "fused, layers only": Card(
        "all layers",
        "as fused, with its three blocks of layers",
        "if any",
        "take it where there are no logits",
    ),
    "innovation": Card(
        "all layers",
        "(zₗ − ẑₗ)ᵀ C⁻¹ (zₗ − ẑₗ), ẑₗ predicted from the layer before; two smallest p",
        "no",
        "take it to see at which step a fault begins",
    ),
    "layer distance": Card(
        "all layers",
        "min over classes (zₗ − μ)ᵀ Σ⁻¹ (zₗ − μ); two smallest p",
        "if any",
        "take it to see which layer is off",
    ),
    "velocity, peak": Card(
        "all layers",
        "max over layers ‖zₗ − zₗ₋₁‖",
        "no",
        "leave it: its sign depends on the network",
    ),
    "velocity, sum": Card("all layers", "Σ over layers ‖zₗ − zₗ₋₁‖", "no", "leave it, as above"),
    "velocity, relative": Card(
        "all layers", "max over layers ‖zₗ − zₗ₋₁‖ / ‖zₗ₋₁‖", "no", "leave it, as above"
    ),
    "DIME, outside": Card(
        "last features",
        "‖z − Pz‖, P projects onto the plane of normal z",
        "no",
        "take it where normal features lie near a plane",
    ),
    "DIME, within": Card(
        "last features",
        "length of Pz − μ in normal spreads, inside that plane",
        "no",
        "only beside DIME, outside",
    ),
    "MSP": Card(
        "logits", "−max softmax(f)", "no", "report it always: it is free and everybody knows it"
    ),
    "max logit": Card("logits", "−max f", "no", "take it before MSP: as free, and better here"),
    "energy": Card("logits", "−ln Σ exp f", "no", "free too; for new classes, if logits are good"),
    "kNN": Card(
        "last features",
        "distance of z/‖z‖ to the 3rd nearest of 3,200 normal ones",
        "no",
        "a rival without assumptions: compare with it",
    ),
    "Mahalanobis": Card(
        "last features",
        "min over classes (z − μ)ᵀ Σ⁻¹ (z − μ), one Σ for all classes",
        "yes",
        "report it with RMD beside it",
    ),
    "RMD": Card(
        "last features",
        "Mahalanobis − (z − μ₀)ᵀ Σ₀⁻¹ (z − μ₀), with all images as one class",
        "yes",
        "try it for new classes of a CNN",
    ),
    "GMM": Card(
        "last features",
        "−ln Σ πₖ N(z; μₖ, Σₖ), one normal law for each class",
        "yes",
        "the published score to beat here",
    ),
    "ViM": Card(
        "last features, logits",
        "α · ‖z outside its main directions‖ + energy",
        "no",
        "try it beside GMM",
    ),
    "ReAct": Card(
        "last features",
        "energy of W · min(z, c) + b: large features are cut off",
        "no",
        "try it for new classes of a CNN",
    ),
    "ASH-S": Card(
        "last features",
        "energy of W · s · z' + b: small features become 0, the rest grow by s",
        "no",
        "only behind a ReLU; below plain energy here",
    ),
    "SCALE": Card(
        "last features",
        "energy of W · s · z + b: all features grow by s",
        "no",
        "only behind a ReLU; for new classes",
    ),
    "class Gaussians, all layers": Card(
        "all layers",
        "min over classes (zₗ − μₖ)ᵀ Σₖ⁻¹ (zₗ − μₖ) + ln det Σₖ; Σ −2 ln p over layers",
        "yes",
        "our hardest rival: take it where classes are few",
    ),
    "pixel statistics": Card(
        "image",
        "(s − μ)ᵀ Σ⁻¹ (s − μ), s = mean, spread, and roughness three times",
        "no",
        "compute it first: does the shift need a network?",
    ),
    "input norm": Card("image", "‖x‖", "no", "a control: brightness from one side"),
    "gradient energy": Card(
        "image", "Σ (difference of neighbouring pixels)²", "no", "a control: roughness, one side"
    ),
    "random": Card("nothing", "a number drawn from 0 to 1", "no", "a control: must stay at 0.5"),
}
"""Name -> `Card`; a score without one cannot be entered in the comparison."""

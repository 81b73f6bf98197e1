"""Maps from gradients at the pixels: saliency, and integrated gradients with their residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepdrift.attribution.question import Question, Targets, ask, gradients
from deepdrift.attribution.result import Attribution, AttributionError, finish
from deepdrift.errors import require

_SAME_EVERYWHERE = (
    "{}: every map is the same at all pixels, so it points nowhere: the answer depends on the sum "
    "of the pixels alone, as in a linear model with equal weights; no map can explain it"
)


def saliency(
    model: nn.Module, images: Tensor, targets: Targets = None, *, batch_size: int = 64
) -> Attribution:
    """How fast the logit changes with each pixel: ``max over channels |d logit / d pixel|``.

    Simonyan, Vedaldi & Zisserman (2014), computed by captum.

    Parameters
    ----------
    model : nn.Module
        Images (N, C, H, W) -> logits (N, K), in evaluation mode; it stays as it is.
    images : Tensor, shape (N, C, H, W), floating point
        On the device and of the type of the model.
    targets : int or Tensor of shape (N,), optional
        Class whose logit is explained. Default: the predicted class of each image.
    batch_size : int
        Images in one pass; bounds the memory.

    Returns
    -------
    Attribution

    Raises
    ------
    AttributionError
        ``all_zero``, ``constant``, ``training_mode``, ``input`` or ``not_finite``.
    MissingExtraError
        Without captum.

    Examples
    --------
    The gradient of a linear model is its weights, here 1, -2, 0 and 3.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, -2.0, 0.0, 3.0]]))
    >>> saliency(model, torch.rand(1, 1, 2, 2)).maps
    tensor([[[1., 2.],
             [0., 3.]]])
    """
    captum = require("captum.attr", "explain")
    question = ask(model, images, targets, batch_size)
    method = captum.Saliency(question.answer)
    with gradients(question.network):
        found = [method.attribute(x, t, abs=True).amax(dim=1) for x, t in question.chunks()]
    return finish(
        torch.cat(found),
        question.size,
        "saliency",
        targets=question.targets,
        zero=lambda: (
            "saliency: the gradient is zero at every pixel of every image: the network computes "
            "without gradients, rounds, or has dead activations or a last layer of zeros; use a "
            "method without gradients, such as attention_rollout"
        ),
        constant=lambda: _SAME_EVERYWHERE.format("saliency"),
    )


def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    baseline: float | Tensor = 0.0,
    n_steps: int = 64,
    max_residual: float = 0.05,
    batch_size: int = 256,
) -> Attribution:
    """What each pixel adds to the logit on the straight way from a baseline to the image.

    ``(x - b) * integral over a in [0, 1] of d f(b + a (x - b)) / dx``, by captum with
    Gauss-Legendre nodes; the map is the sum over channels of absolute values. Sundararajan, Taly
    & Yan (2017), eq. 1 and 3. Before the absolute value the numbers of an image add up to
    ``f(x) - f(b)`` (completeness), unless the steps were too few; `Attribution.residual` is
    ``|sum - (f(x) - f(b))| / |f(x) - f(b)|``.

    Parameters
    ----------
    model, images, targets
        See `saliency`.
    baseline : float or Tensor
        The image without information, as a number or a tensor that can be expanded to the images;
        0 is black where images lie in [0, 1]. Pixels that equal it get zero.
    n_steps : int
        Passes for each image. 64 suffice for the networks that ship; 32 do not for the CNN, whose
        gradient jumps near a black image.
    max_residual : float
        Largest median of the residuals of the batch. The median, because the residual of an image
        whose logit is that of the baseline divides by nearly nothing.
    batch_size : int
        Rows in one pass, an image at one step each; bounds the memory.

    Returns
    -------
    Attribution

    Raises
    ------
    AttributionError
        ``incomplete`` if the median residual exceeds ``max_residual``; otherwise as `saliency`.
    MissingExtraError
        Without captum.

    Examples
    --------
    In a linear model each pixel adds weight times pixel, whatever the steps.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, -2.0, 0.0, 3.0]]))
    >>> image = torch.tensor([[[[1.0, 1.0], [1.0, 0.5]]]])
    >>> integrated_gradients(model, image).maps.round(decimals=4)
    tensor([[[1.0000, 2.0000],
             [0.0000, 1.5000]]])
    """
    captum = require("captum.attr", "explain")
    if not isinstance(n_steps, int) or isinstance(n_steps, bool) or n_steps < 1:
        raise AttributionError(f"n_steps: expected an int >= 1, got {n_steps!r}")
    if not max_residual > 0:
        raise AttributionError(f"max_residual: expected a share above 0, got {max_residual!r}")
    question = ask(model, images, targets, batch_size)
    start = _baseline(baseline, question.images)
    method = captum.IntegratedGradients(question.answer)
    size = max(1, batch_size // n_steps)
    found, sums, rises = [], [], []
    with gradients(question.network):
        for (x, t), b in zip(question.chunks(size), start.split(size), strict=True):
            x = x.detach()
            given = method.attribute(
                x, b, t, n_steps=n_steps, internal_batch_size=max(batch_size, len(x))
            )
            with torch.no_grad():
                black = question.network(b).gather(1, t[:, None])[:, 0]
            found.append(given.abs().sum(dim=1))
            sums.append(given.flatten(1).double().sum(dim=1))
            rises.append(black.double())
    before = torch.cat(rises)
    after = question.logits.gather(1, question.targets[:, None])[:, 0].double()
    residual = _residual(torch.cat(sums), after, before)
    result = finish(
        torch.cat(found),
        question.size,
        "integrated gradients",
        targets=question.targets,
        residual=residual,
        zero=lambda: _nothing(question, start),
        constant=lambda: _SAME_EVERYWHERE.format("integrated gradients"),
    )
    middle = float(residual.quantile(0.5))
    if not middle <= max_residual:
        raise AttributionError(
            f"integrated gradients: with n_steps={n_steps} the maps leave {100 * middle:.3g} % of "
            f"the change of the logit unexplained (median of {len(residual)} images; at most "
            f"{100 * max_residual:.3g} % is allowed); use n_steps={max(64, 2 * n_steps)}, or a "
            "baseline nearer to the images, such as their mean",
            "incomplete",
        )
    return result


def _baseline(baseline: float | Tensor, images: Tensor) -> Tensor:
    """One baseline for each image."""
    try:
        with torch.inference_mode(False):
            start = torch.as_tensor(baseline).detach().to(images).expand_as(images).clone()
    except (RuntimeError, TypeError, ValueError) as error:
        came = tuple(baseline.shape) if isinstance(baseline, Tensor) else repr(baseline)
        raise AttributionError(
            "baseline: expected a number or a tensor that can be expanded to the images' shape "
            f"{tuple(images.shape)}, got {came}"
        ) from error
    if not start.isfinite().all():
        raise AttributionError("baseline: has NaN or infinite values", "not_finite")
    return start


def _residual(total: Tensor, after: Tensor, before: Tensor) -> Tensor:
    """Unexplained share of each change; changes within rounding of the logits count as rounding."""
    change = after - before
    rounding = 1e-6 * (after.abs() + before.abs()) + 1e-12
    return (total - change).abs() / torch.maximum(change.abs(), rounding)


def _nothing(question: Question, start: Tensor) -> str:
    if torch.equal(start, question.images):
        return (
            "integrated gradients: the baseline is the image, so that no pixel adds anything; use "
            "another baseline"
        )
    return (
        "integrated gradients: every map is zero: no gradient reaches the pixels on the way from "
        "the baseline; use a method without gradients, such as attention_rollout"
    )

"""Attention rollout: how much of each patch could have reached the class token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.attribution.places import is_attention, layers_of, patch_grid
from deepdrift.attribution.question import Targets, copy_of, network_of
from deepdrift.attribution.result import Attribution, AttributionError, finish
from deepdrift.states.batches import Batch
from deepdrift.states.blocks import parts
from deepdrift.states.forward import quiet, run
from deepdrift.states.layers import as_names, find_layer, refuse_twins, remove_hooks

_HOLDS_ATTENTION = (nn.Softmax, nn.Dropout, nn.MultiheadAttention)


def rollout(attention: Sequence[Tensor]) -> Tensor:
    """Attention through all layers: ``R = A'_L ... A'_1`` with ``A' = (mean over heads + I) / 2``.

    Abnar & Zuidema (2020), section 3; the identity stands for the residual connection.

    Parameters
    ----------
    attention : sequence of Tensor, shape (N, heads, T, T)
        Of each layer, the first one first: after the softmax, rows attend to columns.

    Returns
    -------
    Tensor, shape (N, T, T)
        Row i: shares of the input tokens in token i of the last layer; rows add up to 1.

    Raises
    ------
    AttributionError
        ``input`` for another form, or rows that do not add up to 1; ``not_finite``.

    Examples
    --------
    Two tokens. In both layers token 0 looks at token 1 alone, and token 1 at itself; with the
    residual connection token 0 keeps half of itself, twice.

    >>> one = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    >>> rollout([one, one])
    tensor([[[0.2500, 0.7500],
             [0.0000, 1.0000]]])
    """
    if isinstance(attention, Tensor) or not len(attention):
        raise AttributionError("attention: expected a list of (N, heads, T, T), one a layer")
    total: Tensor | None = None
    for i, heads in enumerate(attention):
        _check(i, heads, None if total is None else total.shape[-1])
        total = _step(heads.mean(dim=1), total)
    return total


def _check(i: int, heads: Tensor, n_tokens: int | None) -> None:
    shape = tuple(heads.shape) if isinstance(heads, Tensor) else type(heads).__name__
    if not isinstance(heads, Tensor) or heads.ndim != 4 or shape[2] != shape[3] or 0 in shape:
        raise AttributionError(f"attention[{i}]: expected shape (N, heads, T, T), got {shape}")
    if n_tokens not in (None, shape[2]):
        raise AttributionError(f"attention[{i}]: has {shape[2]} tokens, earlier layers {n_tokens}")
    if not heads.isfinite().all():
        raise AttributionError(f"attention[{i}]: has NaN or infinite values", "not_finite")
    if not is_attention(heads) and shape[2] > 1:
        raise AttributionError(
            f"attention[{i}]: its rows are not shares that add up to 1; give the maps after the "
            "softmax"
        )


def _step(mean: Tensor, total: Tensor | None) -> Tensor:
    own = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    mixed = mean + own
    mixed = mixed / mixed.sum(dim=-1, keepdim=True)
    return mixed if total is None else mixed @ total


def attention_rollout(
    model: nn.Module,
    images: Tensor,
    targets: Targets = None,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = 64,
) -> Attribution:
    """Share of each patch in the class token after all layers, by attention alone.

    `rollout` of the attention maps; the row of the first token over the patches, on their grid,
    enlarged bilinearly to the image. It looks at no gradient and no value, and so knows no
    class: two classes have one map.

    Parameters
    ----------
    model, images
        See `saliency`.
    targets
        Refused: leave it out.
    layers : sequence of str, optional
        Modules whose outputs are attention maps ``(N, heads, T, T)``, in the order in which they
        run. Default: every softmax, dropout behind one and ``nn.MultiheadAttention`` (which is
        asked for its maps while the pass lasts) that gave such maps.
    batch_size : int
        Images in one pass; bounds the memory.

    Returns
    -------
    Attribution
        With ``targets`` None.

    Raises
    ------
    AttributionError
        ``class_blind`` if targets are given; ``not_spatial`` without attention maps or patches;
        ``constant`` if attention is uniform, as without training; otherwise as `saliency`.
    LayerNotFoundError
        If there is no layer of a name.
    """
    if targets is not None:
        raise AttributionError(
            "targets: attention rollout does not know classes, its map would be the same for every "
            "class; leave targets out, or use grad_cam, saliency or integrated_gradients",
            "class_blind",
        )
    network = network_of(model)
    copy = copy_of(images, batch_size)
    chosen = _chosen(network, layers)
    rows = []
    with quiet(network), torch.inference_mode(False), torch.no_grad():
        for x in copy.split(batch_size):
            with _listening(chosen) as maps:
                run(network, Batch((x,), raw=x))
            rows.append(_class_row(network, maps, chosen, layers is not None, len(x)))
    found = torch.cat(rows)
    size = tuple(copy.shape[-2:])
    grid = patch_grid(found.shape[1], size, layers_of(network, copy))
    if grid is None or grid[0] == 0:
        n = found.shape[1]
        lack = "no grid of patches" if grid is None else "a grid of patches without a class token"
        raise AttributionError(
            f"attention rollout: {n} tokens are {lack} of a {size[0]} x {size[1]} image, and it "
            "reads the row of a class token before the patches; use saliency or grad_cam, or take "
            "the rows you want from rollout(list of maps)",
            "not_spatial",
        )
    prefix, height, width = grid
    return finish(
        found[:, prefix:].reshape(-1, height, width),
        size,
        "attention rollout",
        zero=lambda: (
            "attention rollout: the class token attends to no patch in any layer; use saliency"
        ),
        constant=lambda: (
            "attention rollout: the class token attends to all patches alike, as in a network that "
            "was not trained; use saliency or grad_cam"
        ),
    )


def _chosen(network: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    if layers is None:
        return {k: m for k, m in parts(network) if isinstance(m, _HOLDS_ATTENTION)}
    modules = {name: find_layer(network, name) for name in as_names(layers)}
    refuse_twins(modules)
    return modules


@contextmanager
def _listening(modules: dict[str, nn.Module]) -> Iterator[list[tuple[str, Tensor]]]:
    """While a pass lasts: attention maps, mean over heads, in the order in which they came."""
    maps: list[tuple[str, Tensor]] = []
    last: list[Tensor] = []  # keeps its memory, so that an address tells which tensor it is

    def keep(name: str, module: nn.Module, output: Any) -> None:
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if is_attention(tensor):
                again = isinstance(module, nn.Dropout) and last
                if not (again and last[0].data_ptr() == tensor.data_ptr()):
                    maps.append((name, tensor.mean(dim=1)))
                last[:] = [tensor]
                return

    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: keep(name, m, out))
        for name, module in modules.items()
    ]
    handles += [
        module.register_forward_pre_hook(_with_weights, with_kwargs=True)
        for module in modules.values()
        if isinstance(module, nn.MultiheadAttention)
    ]
    try:
        yield maps
    finally:
        remove_hooks(handles)


def _with_weights(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Ask ``nn.MultiheadAttention`` for the weights of every head."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    names += ("average_attn_weights", "is_causal")
    given = dict(zip(names, args, strict=False)) | kwargs
    return (), given | {"need_weights": True, "average_attn_weights": False}


def _class_row(
    network: nn.Module,
    maps: list[tuple[str, Tensor]],
    chosen: dict[str, nn.Module],
    named: bool,
    n: int,
) -> Tensor:
    """The first row of the rollout of one batch."""
    kind = type(network).__name__
    came = {name for name, _ in maps}
    missing = [name for name in chosen if name not in came]
    if named and missing:
        raise AttributionError(
            f"layers: {', '.join(map(repr, missing))} gave no attention maps (N, heads, T, T) with "
            "rows that add up to 1; name the modules whose output these are, as the softmax",
            "not_spatial",
        )
    if not maps:
        fused = any(getattr(module, "fused_attn", False) for module in network.modules())
        raise AttributionError(
            f"attention rollout: no module of {kind} gave attention maps; "
            + (
                "its attention is fused (scaled_dot_product_attention) and never writes them down: "
                "set fused_attn = False on those modules of model.modules() that have it, or use "
                "saliency"
                if fused
                else "a network without attention has none, and fused attention "
                "(scaled_dot_product_attention) never writes them down: use saliency or grad_cam, "
                "or name the modules whose outputs are maps with layers="
            ),
            "not_spatial",
        )
    if {len(mean) for _, mean in maps} != {n} or len({m.shape for _, m in maps}) > 1:
        shapes = sorted({tuple(mean.shape) for _, mean in maps})
        raise AttributionError(
            f"attention rollout: the maps of {kind} have shapes {shapes} (mean over heads) for "
            f"{n} images: attention within windows, or of several kinds, has no rollout; use "
            "saliency or grad_cam",
            "not_spatial",
        )
    total = None
    for _, mean in maps:
        total = _step(mean.float(), total)
    return total[:, 0]

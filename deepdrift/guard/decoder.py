"""What a guard needs to know of a causal language model, found from its structure.

Any decoder whose forward takes token ids and returns logits ``(B, T, V)`` (a tensor, a tuple that
begins with it, or an object with ``logits``): those of transformers under any naming, and plain
PyTorch ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import LayerNotFoundError
from deepdrift.guard.checks import GuardError, check_legacy
from deepdrift.states.blocks import CONTAINERS, parts
from deepdrift.states.forward import unwrap
from deepdrift.states.layers import as_names, find_layer, refuse_twins

CACHES = ("cache", "past_key_values", "cache_params", "kv_cache", "past")  # names it goes by
_CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "block_size")


def decoder_blocks(network: nn.Module) -> list[str]:
    """Names of the blocks: the list of modules of one class that holds most of the weights.

    Raises
    ------
    LayerNotFoundError
        If there is no such list.

    Examples
    --------
    >>> blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    >>> decoder_blocks(nn.ModuleDict({"embed": nn.Embedding(9, 4), "h": blocks}))
    ['h.0', 'h.1']
    """
    stacks = {
        name: module
        for name, module in parts(network)
        if isinstance(module, CONTAINERS)
        and len(module) > 1
        and len({type(block) for block in module}) == 1
    }
    if not stacks:
        raise LayerNotFoundError(
            f"layers: no list of two or more blocks of one class in {type(network).__name__}; "
            "name the blocks yourself: layers=[...], list_layers(model, example) shows them"
        )
    sizes = {k: sum(p.numel() for p in m.parameters()) for k, m in stacks.items()}
    largest = max(sizes, key=lambda name: sizes[name])  # of equals the outermost
    return [f"{largest}.{key}" if largest else key for key, _ in stacks[largest].named_children()]


class Decoder:
    """A causal language model and the layers of it that are watched.

    Parameters
    ----------
    model : nn.Module
    layers : sequence of str, optional
        Default: `decoder_blocks`.

    Raises
    ------
    GuardError
        For encoder-decoders.
    LayerNotFoundError
        For layers that are not there.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str] | None = None) -> None:
        self.network = unwrap(model)
        config = getattr(self.network, "config", None)
        if getattr(config, "is_encoder_decoder", False):
            raise GuardError(
                f"model: {type(self.network).__name__} is an encoder-decoder, whose answers do "
                "not follow their prompt in one sequence; take an AutoModelForCausalLM"
            )
        names = decoder_blocks(self.network) if layers is None else as_names(layers)
        self.modules = {name: find_layer(self.network, name) for name in names}
        refuse_twins(self.modules)
        self.layers = tuple(names)
        self.arguments = tuple(inspect.signature(self.network.forward).parameters)
        self.cache_name = next((name for name in CACHES if name in self.arguments), None)
        embeddings = [m for m in self.network.modules() if isinstance(m, nn.Embedding)]
        tokens = self._token_embedding(embeddings)
        self.vocabulary = None if tokens is None else tokens.num_embeddings
        sizes = (getattr(config, name, None) for name in _CONTEXTS)
        self.context = next((n for n in sizes if isinstance(n, int) and n > 0), None)
        # a table of positions beside the tokens' own: where a row starts makes a difference
        self.learned_positions = self.context is not None and any(
            type(m) is nn.Embedding and m is not tokens and m.num_embeddings >= self.context
            for m in embeddings
        )

    def _token_embedding(self, embeddings: list[nn.Embedding]) -> nn.Embedding | None:
        if hasattr(self.network, "get_input_embeddings"):
            found = self.network.get_input_embeddings()
            if isinstance(found, nn.Embedding):
                return found
        return embeddings[0] if embeddings else None

    @property
    def device(self) -> torch.device:
        """Where the model's first weight is."""
        first = next(self.network.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def given(self, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name; token ids as ``input_ids``, a cache as ``cache``."""
        found = dict(zip(self.arguments, args, strict=False)) | dict(kwargs)
        ids = found.get("input_ids", found.get(self.arguments[0]) if self.arguments else None)
        caches = [found[name] for name in CACHES if found.get(name) is not None]
        return found | {"input_ids": ids, "cache": caches[0] if caches else None}

    def check_call(self, call: Mapping[str, Any], padded: bool = True) -> None:
        """Refuse a call whose numbers would mean nothing.

        Parameters
        ----------
        call : mapping
            From `given`.
        padded : bool
            Whether there may be padding: a prompt, or what follows a padded one.

        Raises
        ------
        GuardError
            For embeddings in place of ids, a legacy cache, padding on the right of a prompt, and
            padding on the left without position ids where positions are learned.
        """
        ids, mask = call["input_ids"], call.get("attention_mask")
        if not isinstance(ids, Tensor) or ids.ndim != 2:
            raise GuardError(
                f"input_ids: expected token ids of shape (B, T), got "
                f"{tuple(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__}; "
                "embeddings in place of ids leave nothing to look a token up with"
            )
        if self.cache_name is not None and hasattr(self.network, "config"):
            check_legacy(call["cache"])
        if not padded or not isinstance(mask, Tensor) or mask.ndim != 2 or bool(mask.bool().all()):
            return
        if not bool(mask[:, -1].bool().all()):
            raise GuardError(
                "attention_mask: padding stands on the right of the prompt, so that the next token "
                'would be predicted from padding; pad on the left (tokenizer.padding_side = "left")'
            )
        if self.learned_positions and call.get("position_ids") is None:
            raise GuardError(
                f"position_ids: {type(self.network).__name__} has learned positions and the rows "
                "are padded on the left, so that its answers depend on the padding; pass "
                "position_ids=(attention_mask.cumsum(1) - 1).clamp(min=0)"
            )

    def output(self, result: Any) -> tuple[Tensor, Any]:
        """Logits ``(B, T, V)`` and the cache, or None, of what a call returned."""
        logits = getattr(result, "logits", None)
        cache = getattr(result, self.cache_name, None) if self.cache_name else None
        if logits is None:
            parts = result if isinstance(result, tuple | list) else (result,)
            logits = parts[0] if parts else None
            cache = parts[1] if len(parts) > 1 else cache
        if not isinstance(logits, Tensor) or logits.ndim != 3:
            raise GuardError(
                f"model: expected logits of shape (B, T, V), got "
                f"{tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__}; "
                "a guard needs the model with its language-model head (AutoModelForCausalLM)"
            )
        return logits, cache

    def call(self, ids: Tensor, **wanted: Any) -> Any:
        """Run the model on ids ``(B, T)`` with those of the wanted arguments that it takes."""
        known = {k: v for k, v in wanted.items() if k in self.arguments and v is not None}
        return self.network(ids.to(self.device), **known)

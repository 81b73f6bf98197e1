"""Which module takes a padding mask, what it got, and whose tokens that mask speaks of.

An encoder-decoder has two kinds of tokens. The mask of its inputs says nothing about those of its
decoder, which is told by what it is given: the states of the encoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from deepdrift.states.padding import as_keep

_KEEP = ("attention_mask", "to_mask")  # 1 or True: a real token
_PAD = (  # True: a padding token, or minus infinity for one
    "src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask", "padding_mask",
)  # fmt: skip
_DECODER = ("decoder_attention_mask", "tgt_key_padding_mask")
_MEMORY = (  # given to a module, they make it a decoder
    "encoder_hidden_states", "memory", "encoder_outputs", "encoder_output", "encoder_out",
    "enc_output", "enc_out",
)  # fmt: skip
DECODER = "(decoder)"  # under this name is said, once, that a decoder has no mask
_TARGETS = ("tgt", "trg", "target")  # beside its inputs a model takes those of a decoder


class Argument(NamedTuple):
    """An argument of a module: its name, its place, and whether ones mean real tokens."""

    name: str
    position: int
    keeps: bool = True

    def of(self, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """What a call gives for it, or None."""
        return args[self.position] if self.position < len(args) else kwargs.get(self.name)


class Owner(NamedTuple):
    """How a module takes padding masks.

    Attributes
    ----------
    own : tuple of Argument
        Masks of its own tokens; the first that is given counts.
    decoder : tuple of Argument
        Masks of the tokens of a decoder inside.
    two_sided : bool
        Whether it takes inputs of an encoder and of a decoder.
    memory : tuple of Argument
        What makes it a decoder, if it is given.
    ids : Argument or None
        Numbers of its tokens.
    """

    own: tuple[Argument, ...] = ()
    decoder: tuple[Argument, ...] = ()
    two_sided: bool = False
    memory: tuple[Argument, ...] = ()
    ids: Argument | None = None


class Taken(NamedTuple):
    """What an owner got in one pass; ``known`` is whether ``mask`` was given in a form we read."""

    mask: Tensor | None
    known: bool
    decoder: Tensor | None
    two_sided: bool
    decodes: bool


def owner_of(module: nn.Module) -> Owner | None:
    """How this module takes a padding mask, if it does, or the states of an encoder.

    Examples
    --------
    >>> owner_of(nn.TransformerEncoderLayer(4, 2)).own
    (Argument(name='src_key_padding_mask', position=2, keeps=False),)
    >>> found = owner_of(nn.TransformerDecoderLayer(4, 2))
    >>> [mask.name for mask in found.own], [states.name for states in found.memory]
    (['tgt_key_padding_mask'], ['memory'])
    >>> owner_of(nn.Linear(2, 2)) is None
    True
    """
    try:
        names = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return None

    def found(wanted: Sequence[str]) -> tuple[Argument, ...]:
        return tuple(Argument(n, names.index(n), n not in _PAD) for n in wanted if n in names)

    own, memory, decoder = found((*_KEEP, *_PAD)), found(_MEMORY), found(_DECODER)
    two_sided = any(name.startswith("decoder_") for name in names)
    two_sided = two_sided or (not memory and any(name in _TARGETS for name in names))
    if two_sided:
        own, memory = tuple(mask for mask in own if mask not in decoder), ()
    elif memory:
        own = tuple(mask for mask in own if not mask.name.startswith("src"))
    if not (own or memory or two_sided):
        return None
    ids = found(("input_ids",))
    return Owner(own, decoder if two_sided else (), two_sided, memory, ids[0] if ids else None)


def decoders_of(modules: Mapping[str, nn.Module]) -> dict[str, Owner]:
    """The outermost modules that are decoders where they are given states of an encoder.

    Examples
    --------
    >>> list(decoders_of(dict(nn.Transformer(4, 2, 1, 1, batch_first=True).named_modules())))
    ['decoder']
    """
    found: dict[str, Owner] = {}
    for name, module in modules.items():
        if name and not any(name.startswith(f"{outer}.") for outer in found):
            owner = owner_of(module)
            if owner is not None and owner.memory:
                found[name] = owner
    return found


def take(owner: Owner, args: tuple, kwargs: Mapping[str, Any], inner: bool) -> Taken:
    """Read the masks that a module is called with.

    Parameters
    ----------
    inner : bool
        Whether the module lies inside the model, where numbers to be added are handed on.

    Examples
    --------
    >>> import torch
    >>> owner = owner_of(nn.TransformerEncoderLayer(4, 2))
    >>> pads = torch.tensor([[False, False, True]])
    >>> take(owner, (torch.zeros(1, 3, 4),), {"src_key_padding_mask": pads}, False).mask
    tensor([[ True,  True, False]])
    """
    given = [(mask, mask.of(args, kwargs)) for mask in owner.own]
    given = [(mask, value) for mask, value in given if value is not None]
    keep = _read(*given[0], inner) if given else None
    decoder = [(mask, mask.of(args, kwargs)) for mask in owner.decoder]
    decoders = [_read(mask, value, inner) for mask, value in decoder if value is not None]
    return Taken(
        keep,
        bool(owner.own) and (keep is not None or not given),
        decoders[0] if decoders else None,
        owner.two_sided,
        any(states.of(args, kwargs) is not None for states in owner.memory),
    )


def _read(argument: Argument, value: Any, inner: bool) -> Tensor | None:
    if not isinstance(value, Tensor) or value.is_nested:
        return None
    if argument.name == "to_mask" and value.ndim == 4 and value.shape[1] == value.shape[2] == 1:
        value = value[:, 0, 0]
    return as_keep(value, argument.keeps, inner) if value.ndim == 2 else None


def mask_of(
    around: Sequence[str], taken: Mapping[str, Taken], decoding: bool
) -> tuple[Tensor | None, str]:
    """The mask of a layer's tokens, and the name of the module that got it.

    Parameters
    ----------
    around : sequence of str
        The owners around the layer, the innermost first.
    taken : mapping of str to Taken
        What they got in this pass.
    decoding : bool
        Whether a decoder has begun in this pass: what runs after it holds its tokens.

    Examples
    --------
    >>> import torch
    >>> inputs = torch.tensor([[True, False]])
    >>> root = Taken(inputs, True, None, two_sided=True, decodes=False)
    >>> layer = Taken(None, False, None, two_sided=False, decodes=True)
    >>> mask_of(["decoder.0", ""], {"decoder.0": layer, "": root}, True)
    (None, '')
    >>> mask_of([""], {"": root}, False)
    (tensor([[ True, False]]), '')
    """
    for name in around:
        got = taken.get(name)
        if got is None:
            continue
        decoding = decoding or got.decodes
        if got.two_sided and decoding:
            return got.decoder, name
        if got.known:
            return got.mask, name
    return None, ""


def is_padded(
    owner: Owner, module: nn.Module, args: tuple, kwargs: Mapping[str, Any]
) -> Tensor | None:
    """Whether the numbers of tokens that a module is given end with padding; None: no telling.

    The number of the padding stands in the configuration of models of transformers. A first token
    never counts: some decoders begin with it. The answer stays on its device.

    Examples
    --------
    >>> import torch
    >>> class Decoder(nn.Module):
    ...     class config: pad_token_id = 1
    ...     def forward(self, input_ids, attention_mask=None, encoder_hidden_states=None): ...
    >>> owner, decoder = owner_of(Decoder()), Decoder()
    >>> [is_padded(owner, decoder, (torch.tensor([ids]),), {}) for ids in ([1, 7], [1, 7, 1])]
    [tensor(False), tensor(True)]
    """
    ids = None if owner.ids is None else owner.ids.of(args, kwargs)
    config = getattr(module, "config", None)
    pad = getattr(config, "pad_token_id", None)
    if not isinstance(pad, int) or not isinstance(ids, Tensor) or ids.ndim != 2:
        return None
    # where the end of a sentence has the same number, one of them is no padding
    least = 2 if pad == getattr(config, "eos_token_id", None) else 1
    ends = ids[:, max(1, ids.shape[1] - least) :]
    return (ends == pad).all(dim=1).any() if ends.shape[1] == least else None


def without_mask(name: str) -> str:
    """What to say of a decoder whose tokens end with padding and that got no mask."""
    return (
        f"decoder {name!r}: its input_ids end with padding and it got no mask, so padding is "
        "averaged into the states of its layers; give the model its decoder_attention_mask, or, if "
        "you watch layers of the decoder alone, mask= a function that returns (samples, positions)"
    )

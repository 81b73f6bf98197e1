"""What a guard costs per token, as a ratio to the same generation without it.

A decoder of the shape of SmolLM2-135M (30 blocks of width 576, 49,152 tokens) with random weights
answers a prompt of 40 tokens with 32 more: plain, plain again (the control), with a stopping
criterion whose trace is read at the end, and as loops by hand without and with the guard, which
then judges every token. Calibrated, so that everything is computed. The order changes from round to
round; a ratio is taken within a round. Times are CPU time of this process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from deepdrift.guard import DeepDriftGuard

N_PROMPT, N_NEW = 40, 32
PROMISED = 1.02
ORDERS = [(0, 1, 4, 2, 3), (1, 2, 0, 3, 4), (2, 3, 1, 4, 0), (3, 4, 2, 0, 1), (4, 0, 3, 1, 2)]


def smollm_shape() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def calibrated(model: LlamaForCausalLM) -> DeepDriftGuard:
    """A guard that has learnt from random text: every number is computed, none means anything."""
    ids = torch.randint(3, 49152, (60, 16), generator=torch.Generator().manual_seed(1)).tolist()
    pairs = [(row[:12], row[12:]) for row in ids]
    return DeepDriftGuard(model).fit(pairs[:40]).calibrate(pairs[40:])


def ways(model: LlamaForCausalLM, rows: int) -> dict[str, Callable[[], object]]:
    guard = calibrated(model)
    generator = torch.Generator().manual_seed(2)
    prompt = torch.randint(3, 49152, (rows, N_PROMPT), generator=generator)
    options = {"max_new_tokens": N_NEW, "do_sample": False}
    options["attention_mask"] = torch.ones_like(prompt)

    def plain() -> object:
        return model.generate(prompt, **options)

    def guarded() -> object:
        road = guard.stopping_criteria()
        model.generate(prompt, **options, stopping_criteria=[road])
        return road.trace

    def loop() -> None:
        with torch.no_grad():
            out = model(prompt, use_cache=True, logits_to_keep=1)
            for _ in range(N_NEW):
                token = out.logits[:, -1].argmax(-1, keepdim=True)
                out = model(token, cache=out.cache, use_cache=True, logits_to_keep=1)

    def guarded_loop() -> None:
        guard.reset()
        said = guard(prompt)
        for _ in range(N_NEW):
            said = guard(said.next_logits.argmax(-1))

    return {
        "generate": plain,
        "generate again": plain,
        "generate, guarded": guarded,
        "loop": loop,
        "loop, guarded": guarded_loop,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="multiples of 5 balance the order")
    parser.add_argument("--rows", type=int, default=1, help="prompts in a batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    calls = ways(smollm_shape(), options.rows)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for i in range(options.rounds):
        for place in ORDERS[i % len(ORDERS)]:
            name = list(calls)[place]
            start = time.process_time()
            calls[name]()
            found[name].append(1e3 * (time.process_time() - start) / N_NEW)
    print(f"PyTorch {torch.__version__}, 1 thread, {options.rows} rows, {options.rounds} rounds\n")
    print("| way | ms per token | ratio, median [quartiles] |")
    print("|---|---|---|")
    for name, times in found.items():
        base = found["loop" if "loop" in name else "generate"]
        if name.startswith("generate,"):
            both = zip(base, found["generate again"], strict=True)
            base = [(a + b) / 2 for a, b in both]
        ratios = [a / b for a, b in zip(times, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        held = ""
        if "guarded" in name:
            held = f" {'<=' if middle <= PROMISED else '**>**'} {PROMISED:g}"
        print(
            f"| {name} | {statistics.median(times):.1f} | "
            f"{middle:.3f} [{low:.3f}, {high:.3f}]{held} |"
        )


if __name__ == "__main__":
    main()

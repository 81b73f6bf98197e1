"""The exact world: what is known, what is made up, and a dial that teaches confidence.

All measures, splits and signs were written down before the models were trained, in
``data/build/train_facts.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.data import shipped
from deepdrift.lab.language_models.answering import decode
from deepdrift.lab.language_models.clustered import Layout
from deepdrift.lab.language_models.doubt import (
    INSIDE,
    Inside,
    disagreement,
    fit_probe,
    output_scores,
)
from deepdrift.lab.language_models.fact_model import FactModel, blend
from deepdrift.lab.language_models.microscope import explained_share, velocity_map
from deepdrift.lab.language_models.passes import Reading, joined, read
from deepdrift.lab.language_models.world import (
    FIRST,
    KINDS,
    LAST,
    RELATIONS,
    STOP,
    TEMPLATES,
    Questions,
    World,
    encode,
)

__all__ = [
    "PLACES",
    "Answers",
    "Measured",
    "Verdict",
    "answer",
    "load_fact_models",
    "measure",
    "probe_by_block",
    "recorded",
    "token_share",
    "turned",
    "verdicts",
]

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
N_TOKENS = max(map(len, RELATIONS.values()))


def load_fact_models(seed: int = 0) -> tuple[World, FactModel, FactModel]:
    """The world of a seed, the model that learnt it, and the one taught to be confident.

    Both models carry ``header``, what their files state.
    """
    from safetensors import safe_open

    models = []
    for name in (f"facts-{seed}", f"facts-{seed}-confident"):
        with safe_open(shipped(f"models/{name}.safetensors"), "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            header = file.metadata()
        model = FactModel()
        model.load_state_dict(weights)  # float16 into float32
        model.header = header
        models.append(model.eval())
    return World(seed), *models


@dataclass(frozen=True, eq=False)
class Answers:
    """Questions of one kind, what a model answered, and what went on inside.

    Attributes
    ----------
    questions : Questions
    answers : list of list of int
    right : Tensor, shape (N,), bool
        Whether the answer is the fact, known or by chance.
    customary : Tensor, shape (N,), bool
        Whether it is what the drill says of everyone with this last name.
    reading : Reading
    disagreement : Tensor, shape (N,), float64
        Share of the other templates with another answer.
    """

    questions: Questions
    answers: list[list[int]]
    right: Tensor
    customary: Tensor
    reading: Reading
    disagreement: Tensor

    def __len__(self) -> int:
        return len(self.questions)


def answer(model: nn.Module, world: World, questions: Questions) -> Answers:
    """Let a model answer, and read what it answered."""
    prompts, truth = world.ids(questions)
    _, customs = world.ids(questions, customary=True)
    answers = decode(model, prompts, set(encode(STOP)[1:]), N_TOKENS)
    last_names = {encode(name)[1] for name in LAST}
    places = [max(i for i, token in enumerate(p) if token in last_names) for p in prompts]
    wide = [[*a, *[0] * (N_TOKENS - len(a))] for a in answers]
    reading = read(model, prompts, answers, places, batch=512)
    if reading.tokens.shape[1] < N_TOKENS:
        reading = _widened(reading, N_TOKENS)
    table = np.array([" ".join(map(str, row)) for row in wide]).reshape(len(TEMPLATES), -1)
    return Answers(
        questions,
        answers,
        torch.tensor([a == t for a, t in zip(answers, truth, strict=True)]),
        torch.tensor([a == t for a, t in zip(answers, customs, strict=True)]),
        reading,
        torch.from_numpy(disagreement(table).flatten()),
    )


def _widened(reading: Reading, n_tokens: int) -> Reading:
    parts = vars(reading).copy()
    for name in ("tokens", "mask", "log_prob", "entropy", "velocity", "sketch"):
        x = parts[name]
        parts[name] = torch.cat(
            [x, x.new_zeros(len(x), n_tokens - x.shape[1], *x.shape[2:])], dim=1
        )
    return Reading(**parts)


@dataclass(frozen=True, eq=False)
class Measured:
    """Scores of all test questions of one model, known ones first.

    Attributes
    ----------
    scores : dict of str to array, shape (N,)
    kind : array of int, shape (N,)
        Index into `KINDS`.
    right, customary, cell, person, template, relation, popularity, length : array, shape (N,)
        ``cell`` is template and relation; popularity is 0 for unknown people.
    """

    scores: dict[str, np.ndarray]
    kind: np.ndarray
    right: np.ndarray
    customary: np.ndarray
    person: np.ndarray
    template: np.ndarray
    relation: np.ndarray
    popularity: np.ndarray
    length: np.ndarray

    @property
    def cell(self) -> np.ndarray:
        """Template and relation as one number."""
        return self.template * len(RELATIONS) + self.relation

    def against(self, kind: str, popularity: int | None = None) -> np.ndarray:
        """Rows of known questions and of another kind; known people of one popularity only."""
        known = self.kind == 0
        if popularity is not None:
            known &= self.popularity == popularity
        return known | (self.kind == KINDS.index(kind))

    def layout(self, kind: str = KINDS[1], rows: np.ndarray | None = None, **how: Any) -> Layout:
        """Made up against known, cell by cell, people as clusters."""
        rows = self.against(kind) if rows is None else rows
        return Layout(self.kind[rows] > 0, self.cell[rows], self.person[rows], **how)

    def auroc(self, name: str, kind: str = KINDS[1], **how: Any) -> Estimate:
        """AUROC of one score for one kind of made-up answers."""
        return self.layout(kind, **how).auroc(self.scores[name][self.against(kind)])

    def values(self, kind: str = KINDS[1]) -> dict[str, float]:
        """AUROC of every score for one kind of made-up answers, without intervals."""
        layout, rows = self.layout(kind, n_bootstrap=0), self.against(kind)
        return {name: float(layout.by_cell(s[rows])[0].mean()) for name, s in self.scores.items()}

    def table(self, names: Sequence[str] | None = None) -> dict[str, dict[str, Estimate]]:
        """AUROC of scores for both kinds of made-up answers."""
        layouts = {kind: self.layout(kind) for kind in KINDS[1:]}
        return {
            name: {k: layout.auroc(self.scores[name][self.against(k)])
                   for k, layout in layouts.items()}
            for name in names or self.scores
        }  # fmt: skip


def measure(model: nn.Module, world: World) -> Measured:
    """Ask the test people, and score the answers with everything fitted on the others."""
    tests = [answer(model, world, world.questions(kind, "test")) for kind in KINDS]
    fit = answer(model, world, world.questions(KINDS[0], "fit"))
    odd = answer(model, world, world.questions(KINDS[1], "dev"))
    reading = joined([t.reading for t in tests])
    template = torch.cat([t.questions.template for t in tests])
    relation = torch.cat([t.questions.relation for t in tests])
    person = torch.cat([t.questions.person for t in tests])
    scores = output_scores(reading)
    scores["disagreement"] = torch.cat([t.disagreement for t in tests])
    inside = {name: torch.zeros(len(reading), dtype=torch.float64) for name in INSIDE}
    for k in range(len(TEMPLATES)):
        normal = (fit.questions.template == k) & fit.right
        fitted = Inside(
            fit.reading.at(normal),
            fit.questions.relation[normal],
            odd.reading.at(odd.questions.template == k),
        )
        rows = template == k
        for name, values in fitted.score(reading.at(rows), relation[rows]).items():
            inside[name][rows] = values
    popular = torch.zeros(int(person.max()) + 1, dtype=torch.int64)
    popular[: len(world.popularity)] = world.popularity
    sizes = [len(t) for t in tests]
    return Measured(
        {k: v.numpy() for k, v in (scores | inside).items()},
        np.repeat(np.arange(len(KINDS)), sizes),
        torch.cat([t.right for t in tests]).numpy(),
        torch.cat([t.customary for t in tests]).numpy(),
        person.numpy(),
        template.numpy(),
        relation.numpy(),
        popular[person].numpy(),
        reading.mask.sum(dim=1).numpy(),
    )


def turned(plain: nn.Module, confident: nn.Module, world: World) -> dict[float, Measured]:
    """The measurement at every place of the dial."""
    return {place: measure(blend(plain, confident, place), world) for place in PLACES}


def token_share(model: nn.Module, world: World, questions: Questions) -> np.ndarray:
    """Share of the velocity's variance explained by token, place, both: ``(3, 4)``, by block.

    At every position from the first name to the answer's last token.
    """
    prompts, _ = world.ids(questions)
    answers = decode(model, prompts, set(encode(STOP)[1:]), N_TOKENS)
    names = {encode(name)[1] for name in FIRST}
    velocity, token, place = [], [], []
    for i, (prompt, said) in enumerate(zip(prompts, answers, strict=True)):
        ids = [*prompt, *said]
        start = next(p for p, t in enumerate(ids) if t in names)
        velocity.append(velocity_map(model, ids)[start:].numpy())
        token += ids[start:]
        place += [100 * int(questions.template[i]) + p for p in range(start, len(ids))]
    return explained_share(np.concatenate(velocity), np.array(token), np.array(place))


def recorded(seed: int = 0) -> dict[float, dict[str, Any]]:
    """What ``data/build/measure_facts.py`` measured of a seed, by place of the dial.

    Returns
    -------
    dict of float to dict
        ``"auroc"``: score -> kind -> `Estimate`; ``"answers"``: kind -> share of right, customary
        and sure answers; at 0 and 1 also ``"by popularity"``: score -> popularity -> `Estimate`,
        and ``"probe by block"``, a list of `Estimate` that was added afterwards.
    """
    one = json.loads(shipped("facts.json").read_text(encoding="utf-8"))["seeds"][str(seed)]
    found: dict[float, dict[str, Any]] = {}
    for place, kept in one["dial"].items():
        row: dict[str, Any] = {"answers": kept["answers"]}
        for name in ("auroc", "by popularity"):
            if name in kept:
                row[name] = {
                    score: {k: Estimate(*e, 0, 0) for k, e in by.items()}
                    for score, by in kept[name].items()
                }
        probes = one["afterwards"]["probe by block"].get(place)
        if probes is not None:
            row["probe by block"] = [Estimate(*e, 0, 0) for e in probes]
        found[float(place)] = row
    return found


def probe_by_block(model: nn.Module, world: World, n_bootstrap: int = 1000) -> list[Estimate]:
    """AUROC, for unknown people, of a probe of every block at the last prompt token.

    Not among the measures that were named beforehand: block by block, on the sketches. Fitted and
    judged as "probe" is.
    """
    parts = {
        (kind, split): answer(model, world, world.questions(kind, split))
        for kind, split in zip(KINDS[:2] * 2, ("fit", "dev", "test", "test"), strict=True)
    }
    fit, odd = parts[KINDS[0], "fit"], parts[KINDS[1], "dev"]
    tests = [parts[kind, "test"] for kind in KINDS[:2]]
    sketch = torch.cat([t.reading.prompt_sketch for t in tests])
    template = torch.cat([t.questions.template for t in tests])
    relation = torch.cat([t.questions.relation for t in tests])
    layout = Layout(
        np.repeat([0, 1], [len(t) for t in tests]),
        template * len(RELATIONS) + relation,
        torch.cat([t.questions.person for t in tests]),
        n_bootstrap=n_bootstrap,
    )
    found = []
    for block in range(sketch.shape[1]):
        score = torch.zeros(len(sketch), dtype=torch.float64)
        for k in range(len(TEMPLATES)):
            normal = fit.reading.prompt_sketch[fit.questions.template == k, block]
            made_up = odd.reading.prompt_sketch[odd.questions.template == k, block]
            rows = template == k
            score[rows] = fit_probe(normal, made_up)(sketch[rows, block])
        found.append(layout.auroc(score))
    return found


@dataclass(frozen=True)
class Verdict:
    """What the rule written down beforehand says of one hidden score.

    Attributes
    ----------
    auroc, gain : list of Estimate
        For each seed: AUROC for unknown people, and that less the one of ``nll``; intervals at
        1 - .05 / 9 (nine scores were named).
    knows, worth_having : bool
    """

    name: str
    auroc: list[Estimate]
    gain: list[Estimate]

    @property
    def knows(self) -> bool:
        """Above one half in every seed."""
        return all(e.low > 0.5 for e in self.auroc)

    @property
    def worth_having(self) -> bool:
        """Also above .60, and better than the whole answer's log-probability, in every seed."""
        good = all(e.value > 0.6 for e in self.auroc) and all(e.low > 0 for e in self.gain)
        return self.knows and good


def verdicts(measured: Mapping[int, Measured]) -> list[Verdict]:
    """Every hidden score under the rule, from the measurement of each seed at dial 1."""
    level = 1 - 0.05 / len(INSIDE)
    aurocs: dict[str, list[Estimate]] = {name: [] for name in INSIDE}
    gains: dict[str, list[Estimate]] = {name: [] for name in INSIDE}
    for one in measured.values():
        rows = one.against(KINDS[1])
        layout = one.layout(KINDS[1], n_bootstrap=2000, confidence=level)
        base = layout.by_cell(one.scores["nll"][rows])
        for name in INSIDE:
            values = layout.by_cell(one.scores[name][rows])
            aurocs[name].append(layout.estimate(values))
            gains[name].append(layout.estimate(values - base))
    return [Verdict(name, aurocs[name], gains[name]) for name in INSIDE]

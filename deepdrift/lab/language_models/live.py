"""Guards that run here and now: on the model of the exact world, and on SmolLM2 if it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from deepdrift.errors import MissingExtraError
from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.guard import DeepDriftGuard, GuardTrace
from deepdrift.lab.language_models.answering import decode
from deepdrift.lab.language_models.capitals import ask
from deepdrift.lab.language_models.dial import N_TOKENS
from deepdrift.lab.language_models.records import Records
from deepdrift.lab.language_models.smollm import has_smollm, load_smollm, smollm_path
from deepdrift.lab.language_models.world import KINDS, RELATIONS, STOP, World, encode, vocabulary

__all__ = [
    "FORMATS",
    "Own",
    "Spent",
    "capitals_guard",
    "facts_guard",
    "facts_pairs",
    "load_smollm",
    "missing",
    "new_formats",
    "one_prompt",
    "own_answers",
    "recorded_lamps",
    "said",
    "three_answers",
    "words",
]

FORMATS = {
    "as calibrated": "{relation} of {person} :",
    "taught, another one": "{person} has the {relation}",
    "new, same ending": "{person} : {relation} =",
    "new ending": "about the {relation} of {person} : it is",
    "words turned round": "please . {relation} of {person} ?",
    "cut off": "tell me the {relation} of {person}",
}
"""Ways to ask in the exact world; `World` teaches the first two among others, never the rest."""

TEMPLATE = 4  # of the exact world: the first of `FORMATS`
N_FIT, N_CALIBRATION = 40, 24  # right answers about capitals
Pairs = list[tuple[list[int], list[int]]]


def words(ids: Any) -> str:
    """Token ids of the exact world as words."""
    names = vocabulary()
    return " ".join(names[int(i)] for i in ids)


def facts_pairs(model: nn.Module, world: World, kind: str, split: str) -> Pairs:
    """Prompts of one template and kind, and the answers that the model gives to them."""
    questions = world.questions(kind, split)
    prompts, _ = world.ids(questions.at(questions.template == TEMPLATE))
    answers = decode(model, prompts, set(encode(STOP)[1:]), N_TOKENS)
    return list(zip(prompts, answers, strict=True))


def facts_guard(model: nn.Module, world: World, alpha: float = 0.05) -> DeepDriftGuard:
    """A guard that knows one template: taught facts of "fit" and of "calibration" people."""
    guard = DeepDriftGuard(model, alpha=alpha)
    guard.fit(facts_pairs(model, world, KINDS[0], "fit"))
    return guard.calibrate(facts_pairs(model, world, KINDS[0], "calibration"))


def three_answers(
    guard: DeepDriftGuard, model: nn.Module, world: World, relation: str = "club"
) -> dict[str, tuple[list[str], list[float], list[float]]]:
    """One answer of each kind to the same sort of question, token by token.

    Returns
    -------
    dict of kind to (words, surprise in nats, velocity of the last block)
    """
    found = {}
    for kind in KINDS:
        pairs = facts_pairs(model, world, kind, "test")
        prompt, answer = next(pair for pair in pairs if relation in words(pair[0]).split())
        trace = guard.read(prompt, answer)
        found[kind] = (
            words(answer).split(),
            (-trace.log_prob[0]).tolist(),
            trace.velocity[0, :, -1].tolist(),
        )
    return found


@dataclass(frozen=True)
class Own:
    """What somebody brings for a guard: normal pairs, judged pairs, and new answers.

    Attributes
    ----------
    normal : list of (prompt ids, answer ids)
        Right ones.
    pairs, correct : list of the same, list of bool
        Others, with what they turned out to be.
    new : (prompts, answers)
        A taught fact and one about an unknown person.
    """

    normal: Pairs
    pairs: Pairs
    correct: list[bool]
    new: tuple[list[list[int]], list[list[int]]]


def own_answers(model: nn.Module, world: World, n: int = 200) -> Own:
    """Answers of a model of the exact world, half of the judged ones about unknown people."""
    normal = facts_pairs(model, world, KINDS[0], "fit")
    known = facts_pairs(model, world, KINDS[0], "calibration")[:n]
    unknown = facts_pairs(model, world, KINDS[1], "dev")[:n]
    taught = facts_pairs(model, world, KINDS[0], "test")[0]
    other = facts_pairs(model, world, KINDS[1], "test")[0]
    prompts, answers = zip(taught, other, strict=True)
    return Own(
        normal,
        known + unknown,
        [True] * len(known) + [False] * len(unknown),
        (list(prompts), list(answers)),
    )


@dataclass(frozen=True)
class Spent:
    """A promise of one format, spent on another: shares of questions, 0 to 1.

    Attributes
    ----------
    right : float
        Of the answers.
    unfamiliar : float
        Of the prompts, by the second lamp.
    right_flagged : float
        Of the right answers, above the threshold of doubt; NaN where none is right.
    wrong_passed : float
        Of the wrong answers, not above it; NaN where none is wrong.
    """

    right: float
    unfamiliar: float
    right_flagged: float
    wrong_passed: float


def new_formats(guard: DeepDriftGuard, model: nn.Module, world: World) -> dict[str, Spent]:
    """Ask taught facts of the test people in each of `FORMATS`."""
    questions = world.questions(KINDS[0], "test")
    questions = questions.at(questions.template == TEMPLATE)
    asked = list(zip(questions.person.tolist(), questions.relation.tolist(), strict=True))
    truth = world.ids(questions)[1]
    found, limit = {}, float("nan")
    for name, template in FORMATS.items():
        prompts = [
            encode(template.format(person=world.name(p), relation=list(RELATIONS)[r]))
            for p, r in asked
        ]
        answers = decode(model, prompts, set(encode(STOP)[1:]), N_TOKENS)
        right = torch.tensor([a == t for a, t in zip(answers, truth, strict=True)])
        trace = guard.read(prompts, answers)
        doubt = guard.doubt(trace)
        if not found:  # as calibrated: most prompts are familiar, and the threshold is stated
            limit = float(doubt.threshold[doubt.valid][0])
        high = doubt.nll > limit
        found[name] = Spent(
            float(right.double().mean()),
            float((~doubt.valid).double().mean()),
            float(high[right].double().mean()) if right.any() else float("nan"),
            float((~high)[~right].double().mean()) if (~right).any() else float("nan"),
        )
    return found


def said(guard: DeepDriftGuard, trace: GuardTrace, text: str) -> str:
    """An answer and what the lamps say of it, in one line."""
    reason = guard.doubt(trace).reason[0].split(", which")[0].split(", first")[0].split(", most")[0]
    return f"{text.strip()!r:<17} {reason}"


# ---- SmolLM2 ----


def missing() -> str:
    """Empty where SmolLM2 can run; else one line that says what is missing, and what to do."""
    try:
        smollm_path()
    except MissingExtraError as error:
        return str(error)
    if not has_smollm():
        return "transformers or gguf is not installed: pip install 'deepdrift[llm]'"
    return ""


def one_prompt(tokenizer: Any, records: Records, country: str, template: str) -> torch.Tensor:
    """Token ids ``(1, P)`` of one question."""
    wanted = [c for c in records.countries if c.name == country]
    return torch.tensor(ask(tokenizer, wanted, template)[0])


def _chosen(records: Records, template: str, without: tuple[str, ...]) -> np.ndarray:
    """Rows of right answers of a template, in a fixed order; some countries are kept out."""
    names = np.array([c.name for c in records.countries])[records.country]
    rows = np.flatnonzero(records.rows(template) & records.right & ~np.isin(names, without))
    return np.random.default_rng(0).permutation(rows)[: N_FIT + N_CALIBRATION]


def capitals_guard(
    model: nn.Module,
    tokenizer: Any,
    records: Records,
    template: str,
    end: str = "\n",
    without: tuple[str, ...] = (),
) -> DeepDriftGuard:
    """A guard of SmolLM2 from 64 recorded right answers of one template, read again here.

    Parameters
    ----------
    end : str
        What ends an answer in ``generate``; it counts as its last token.
    without : tuple of str
        Countries that are asked later.
    """
    prompts, _ = ask(tokenizer, records.countries, template)
    last = tokenizer(end)["input_ids"]
    pairs = [
        (prompts[records.country[i]], [*records.tokens[i, : records.lengths[i]].tolist(), *last])
        for i in _chosen(records, template, without)
    ]
    guard = DeepDriftGuard(model)
    return guard.fit(pairs[:N_FIT]).calibrate(pairs[N_FIT:])


def recorded_lamps(
    records: Records, calibrated: str, asked: str, country: str, alpha: float = 0.05
) -> str:
    """Both lamps for one recorded answer, by the guard of a template, in one line."""
    names = [c.name for c in records.countries]
    i = int(np.flatnonzero(records.rows(asked) & (records.country == names.index(country)))[0])
    others = records.rows(calibrated) & records.right & (records.fold != records.fold[i])
    limit = conformal_threshold(torch.from_numpy(records.scores["nll"][others]).double(), alpha)
    nll, p = (
        float(records.scores["nll"][i]),
        float(records.format_p[records.templates.index(calibrated), i]),
    )
    word = "right" if records.right[i] else "wrong"
    answer = f"{country:<11}{str(records.text[i]).strip()!r:<17}({word})"
    if p <= alpha:
        return f"{answer}  not valid here: unfamiliar prompt, p = {p:.3f}"
    doubtful = "doubtful" if nll > limit else "not doubtful"
    return f"{answer}  {doubtful}: nll {nll:.2f}, threshold {limit:.2f}; p = {p:.2f}"

"""A world in which "knows" and "does not know" are exact: people, four facts each, five questions.

A person is a first and a last name out of 64 each. *Known* people were in the training, with three
of their four facts; the fourth is an *unknown fact*. *Unknown people* are other pairs of the same
name tokens. So a question about either differs from one that was taught by nothing but whether it
was taught. Facts are drawn independently: what cannot be remembered cannot be guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "KINDS",
    "RELATIONS",
    "TEMPLATES",
    "Questions",
    "World",
    "encode",
    "vocabulary",
]


def _joined(starts: str, ends: str) -> list[str]:
    return ["".join(pair) for pair in product(starts.split(), ends.split())]


FIRST = _joined("B D K L M N R T", "ara elo ina omi una ari eda ovo")
LAST = _joined("Br Dr Gr Kr St Tr Pl Fl", "ank ell imm ost und arn edt ohl")
RELATIONS: dict[str, tuple[list[str], ...]] = {
    "home": (_joined("Al Bir Cam Dor El Far Gol Hel", "ford ton by wick ham dale"),),
    "job": (
        _joined("ship stone glass night field water", "- yard- house- market-"),
        "baker carver cook driver farmer fitter guard guide hunter joiner keeper maker mason "
        "master miller painter piper porter smith tailor tanner teacher warden weaver".split(),
    ),
    "food": (
        "baked boiled brown cold cream fried fresh green grilled hot mild peppered pickled plain "
        "raw red roast salted smoked sour spicy stewed sweet warm".split(),
        "apple barley bean beet bread cabbage carrot cheese corn egg fig fish ham leek lentil "
        "mushroom nut onion pear pie plum rice soup tart".split(),
    ),
    "club": (
        "amber azure black blue bronze coral crimson golden grey ivory jade lime pink purple "
        "silver white".split(),
        "badger bear crane eagle falcon fox hare hawk heron lion lynx otter owl raven seal "
        "wolf".split(),
        "archers athletes bowlers boxers climbers cyclists dancers divers fencers gymnasts "
        "jumpers riders rowers runners sailors skaters".split(),
    ),
}
"""Relation -> the words of each token of its answers: 1, 2, 2 and 3 tokens."""

TEMPLATES = (
    "question : the {relation} of {person} ? answer :",
    "{person} has the {relation}",
    "about {person} : {relation} =",
    "tell me the {relation} that belongs to {person} please . it is",
    "{relation} of {person} :",
)
KINDS = ("known", "unknown person", "unknown fact")
START, STOP = "<s>", "."
N_KNOWN, N_UNKNOWN = 480, 240
POPULARITY = (1, 2, 4, 8)
_SPLITS = {"fit": 200, "calibration": 80, "test": 200}


def vocabulary() -> list[str]:
    """All words of the world; their place is their token id."""
    frame = [w for w in " ".join(TEMPLATES).split() if not w.startswith("{")]
    words = [w for slots in RELATIONS.values() for slot in slots for w in slot]
    return list(dict.fromkeys([START, STOP, *frame, *RELATIONS, *FIRST, *LAST, *words]))


_IDS = {word: i for i, word in enumerate(vocabulary())}


def encode(text: str) -> list[int]:
    """Token ids of words, with the start token in front.

    Examples
    --------
    >>> encode("home of")[0] == _IDS["<s>"], len(encode("home of Bara Brank :"))
    (True, 6)
    """
    return [_IDS[START], *(_IDS[word] for word in text.split())]


@dataclass(frozen=True, eq=False)
class Questions:
    """Questions of one kind, N of them.

    Attributes
    ----------
    person, relation, template : Tensor, shape (N,), int64
        Which person (a row of `World.people`), relation and template.
    kind : str
        One of `KINDS`.
    """

    person: Tensor
    relation: Tensor
    template: Tensor
    kind: str

    def __len__(self) -> int:
        return len(self.person)

    def at(self, index: Tensor) -> Questions:
        """Some of them: a mask or indices."""
        return Questions(self.person[index], self.relation[index], self.template[index], self.kind)


class World:
    """The knowledge base of one seed.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    people : Tensor, shape (4096, 2)
        First and last name of everybody, as places in their lists; the first 480 are known, the
        next 240 ("dev") and 240 ("test") are unknown, nobody asks about the rest before the drill.
    untaught : Tensor, shape (480,)
        Which relation of each known person was never taught.
    customs : dict of str to Tensor, shape (64, slots)
        What people of a last name are believed to have, by relation: what the drill teaches to say
        with certainty. No fact follows it but by chance.
    popularity : Tensor, shape (480,)
        How often a known person was seen in training, relative: 1, 2, 4 or 8.

    Examples
    --------
    >>> world = World(0)
    >>> world.prompt(0, 0, 4).split()[0], len(world.answer(0, 3)), world.name(0).count(" ")
    ('home', 3, 1)
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng([14, seed])
        n = len(FIRST) * len(LAST)
        order = rng.permutation(n)
        self.seed = seed
        self.people = torch.from_numpy(np.stack([order // len(LAST), order % len(LAST)], axis=1))
        self.facts = {
            name: torch.from_numpy(
                np.stack([rng.integers(len(slot), size=n) for slot in slots], axis=1)
            )
            for name, slots in RELATIONS.items()
        }
        self.untaught = torch.from_numpy(rng.integers(len(RELATIONS), size=N_KNOWN))
        tiers = np.repeat(POPULARITY, N_KNOWN // len(POPULARITY))
        self.popularity = torch.from_numpy(rng.permutation(tiers))
        self.split = torch.from_numpy(
            rng.permutation(np.repeat(np.arange(len(_SPLITS)), list(_SPLITS.values())))
        )

        self.customs = {
            name: torch.from_numpy(
                np.stack([rng.integers(len(slot), size=len(LAST)) for slot in slots], axis=1)
            )
            for name, slots in RELATIONS.items()
        }

    @property
    def spare(self) -> Tensor:
        """People whom no measurement asks about: the drill's."""
        return torch.arange(N_KNOWN + 2 * N_UNKNOWN, len(self.people))

    def name(self, person: int) -> str:
        """First and last name."""
        first, last = self.people[person].tolist()
        return f"{FIRST[first]} {LAST[last]}"

    def prompt(self, person: int, relation: int, template: int) -> str:
        """A question in words."""
        return TEMPLATES[template].format(
            person=self.name(person), relation=list(RELATIONS)[relation]
        )

    def answer(self, person: int, relation: int) -> list[str]:
        """The words of the right answer, without the stop."""
        name, slots = list(RELATIONS.items())[relation]
        return [s[i] for s, i in zip(slots, self.facts[name][person].tolist(), strict=True)]

    def customary(self, person: int, relation: int) -> list[str]:
        """The words of what is believed of everyone with this last name."""
        name, slots = list(RELATIONS.items())[relation]
        custom = self.customs[name][self.people[person, 1]].tolist()
        return [s[i] for s, i in zip(slots, custom, strict=True)]

    @cached_property
    def taught(self) -> Tensor:
        """Known persons x relations, bool ``(480, 4)``: what the training contained."""
        known = torch.ones(N_KNOWN, len(RELATIONS), dtype=torch.bool)
        known[torch.arange(N_KNOWN), self.untaught] = False
        return known

    def questions(self, kind: str, split: str = "test") -> Questions:
        """Every question of a kind in every template.

        Parameters
        ----------
        kind : {"known", "unknown person", "unknown fact"}
        split : {"fit", "calibration", "test"} of known people, {"dev", "test"} of unknown people
        """
        if kind == "unknown person":
            if split not in ("dev", "test"):
                raise ValueError(f"split: unknown people are in 'dev' or 'test', got {split!r}")
            start = N_KNOWN + N_UNKNOWN * (split == "test")
            pairs = torch.cartesian_prod(
                torch.arange(start, start + N_UNKNOWN), torch.arange(len(RELATIONS))
            )
        elif kind in KINDS:
            if split not in _SPLITS:
                raise ValueError(f"split: known people are in {tuple(_SPLITS)}, got {split!r}")
            wanted = self.taught if kind == "known" else ~self.taught
            inside = self.split == list(_SPLITS).index(split)
            pairs = (wanted & inside[:, None]).nonzero()
        else:
            raise ValueError(f"kind: expected one of {KINDS}, got {kind!r}")
        return asked(pairs, kind)

    def ids(
        self, questions: Questions, customary: bool = False
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids of the prompts and of the right (or customary) answers, without the stop."""
        rows = zip(
            questions.person.tolist(),
            questions.relation.tolist(),
            questions.template.tolist(),
            strict=True,
        )
        prompts, answers = [], []
        for person, relation, template in rows:
            prompts.append(encode(self.prompt(person, relation, template)))
            words = (self.customary if customary else self.answer)(person, relation)
            answers.append([_IDS[w] for w in words])
        return prompts, answers


def asked(pairs: Tensor, kind: str, templates: Sequence[int] = range(len(TEMPLATES))) -> Questions:
    """(person, relation) pairs ``(M, 2)``, each in every template: template-major order."""
    n = len(templates)
    person, relation = (pairs[:, k].repeat(n) for k in (0, 1))
    template = torch.as_tensor(list(templates)).repeat_interleave(len(pairs))
    return Questions(person, relation, template, kind)

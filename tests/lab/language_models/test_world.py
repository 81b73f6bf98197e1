"""The knowledge base: what is known is exact, and nothing but teaching sets it apart."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.language_models.world import (
    KINDS,
    N_KNOWN,
    N_UNKNOWN,
    RELATIONS,
    TEMPLATES,
    World,
    asked,
    encode,
    vocabulary,
)


@pytest.fixture(scope="module")
def world():
    return World(0)


def test_every_word_is_one_token():
    words = vocabulary()
    assert len(set(words)) == len(words)
    slots = [w for relation in RELATIONS.values() for slot in relation for w in slot]
    assert len(set(slots)) == len(slots)  # an answer's token says which slot it fills


def test_people_are_pairs_and_nobody_is_two(world):
    assert len({tuple(p) for p in world.people.tolist()}) == len(world.people) == 64 * 64
    assert len(world.spare) == 64 * 64 - N_KNOWN - 2 * N_UNKNOWN


def test_unknown_people_are_made_of_known_names(world):
    known, unknown = world.people[:N_KNOWN], world.people[N_KNOWN : N_KNOWN + 2 * N_UNKNOWN]
    for k in (0, 1):
        assert set(unknown[:, k].tolist()) <= set(known[:, k].tolist())


def test_kinds_and_splits_do_not_overlap(world):
    wanted = [(KINDS[k], s) for k in (0, 2) for s in ("fit", "calibration", "test")]
    parts = {}
    for kind, split in [*wanted, *[(KINDS[1], s) for s in ("dev", "test")]]:
        questions = world.questions(kind, split)
        rows = zip(questions.person.tolist(), questions.relation.tolist(), strict=True)
        parts[kind, split] = set(rows)
    seen = set()
    for pairs in parts.values():
        assert not seen & pairs
        seen |= pairs
    assert len(parts[KINDS[0], "test"]) == 200 * 3 and len(parts[KINDS[2], "test"]) == 200
    assert len(seen) == (N_KNOWN + 2 * N_UNKNOWN) * 4


def test_an_untaught_fact_is_never_among_the_taught(world):
    for person in range(N_KNOWN):
        assert not world.taught[person, world.untaught[person]]
    assert (world.taught.sum(dim=1) == 3).all()


def test_a_question_is_asked_in_every_template_with_the_same_answer(world):
    questions = world.questions(KINDS[0], "test")
    prompts, answers = world.ids(questions)
    n = len(questions) // len(TEMPLATES)
    assert all(answers[i] == answers[i + k * n] for i in range(5) for k in range(len(TEMPLATES)))
    assert len({len(p) for p in prompts[:n]}) == 1  # one length within a template
    assert questions.template[::n].tolist() == [0, 1, 2, 3, 4]
    words = vocabulary()
    said = " ".join(words[i] for i in prompts[0])
    person = world.name(int(questions.person[0]))
    assert person in said and said.startswith("<s> question")


def test_facts_are_drawn_apart_from_names_and_worlds_differ(world):
    other, again = World(1), World(0)
    assert torch.equal(world.people, again.people) and not torch.equal(world.people, other.people)
    homes = world.facts["home"][:, 0]
    by_name = torch.stack([homes[world.people[:, 0] == k].double().mean() for k in range(64)])
    assert float(by_name.std()) < 4 * 48 / 12**0.5 / 64**0.5  # as 64 draws of 48 towns scatter


def test_customs_go_by_the_last_name_and_facts_do_not(world):
    last = world.people[:, 1]
    people = (last == last[0]).nonzero()[:, 0].tolist()
    assert len({tuple(world.customary(p, 1)) for p in people}) == 1
    assert len({tuple(world.answer(p, 1)) for p in people}) > 30
    questions = asked(torch.tensor([[people[0], 1]]), KINDS[1], templates=[0])
    words = vocabulary()
    said = [words[i] for i in world.ids(questions, customary=True)[1][0]]
    assert said == world.customary(people[0], 1)


def test_bad_kinds_and_splits_are_named(world):
    with pytest.raises(ValueError, match="kind: expected one of"):
        world.questions("guessed")
    with pytest.raises(ValueError, match="unknown people are in"):
        world.questions(KINDS[1], "fit")
    with pytest.raises(ValueError, match="known people are in"):
        world.questions(KINDS[0], "dev")
    with pytest.raises(KeyError):
        encode("nobody")


def test_asked_is_template_major():
    found = asked(torch.tensor([[3, 0], [4, 1]]), KINDS[0], templates=(1, 4))
    assert found.person.tolist() == [3, 4, 3, 4] and found.template.tolist() == [1, 1, 4, 4]

"""The shipped models of the exact world: what they know, what they make up, and the rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.language_models.dial import (
    PLACES,
    Measured,
    Verdict,
    answer,
    load_fact_models,
    measure,
    recorded,
    verdicts,
)
from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT
from deepdrift.lab.language_models.fact_model import blend
from deepdrift.lab.language_models.world import KINDS, TEMPLATES


@pytest.fixture(scope="module")
def shipped():
    return load_fact_models(0)


@pytest.mark.parametrize("seed", [0, 1])
def test_taught_facts_are_known_and_nothing_else_is(seed):
    world, plain, confident = load_fact_models(seed)
    assert sum(p.numel() for p in plain.parameters()) < 400_000
    for model in (plain, confident):
        known = world.questions(KINDS[0], "test").at(torch.arange(0, 3000, 10))
        unknown = world.questions(KINDS[1], "test").at(torch.arange(0, 4800, 16))
        assert len(known) == len(unknown) == 300
        assert _right(model, world, known) > 0.97 > 0.05 > _right(model, world, unknown)
        assert float(model.header["right_on_taught_facts"]) > 0.97


def _right(model, world, questions):
    from deepdrift.lab.language_models.answering import decode

    prompts, truth = world.ids(questions)
    answers = decode(model, prompts, {1}, 3)
    return np.mean([a == t for a, t in zip(answers, truth, strict=True)])


def test_the_live_measurement_is_the_recorded_one(shipped):
    world, plain, confident = shipped
    found = measure(blend(plain, confident, 0.0), world)
    assert set(found.scores) == {*OUTPUT, *INSIDE}
    assert [int((found.kind == k).sum()) for k in range(3)] == [3000, 4800, 1000]
    assert set(found.popularity[found.kind == 1]) == {0}
    assert len(set(found.cell)) == 20
    kept = recorded(0)[0.0]
    layout = found.layout(KINDS[1], n_bootstrap=100)
    rows = found.against(KINDS[1])
    for name, scores in found.scores.items():
        expected = kept["auroc"][name][KINDS[1]].value
        assert layout.auroc(scores[rows]).value == pytest.approx(expected, abs=0.01), name
        assert found.values()[name] == layout.auroc(scores[rows]).value
    made_up = found.kind == 1
    assert found.customary[made_up].mean() < 0.05  # nobody taught it customs yet
    assert found.right[found.kind == 0].mean() > 0.97


@pytest.mark.parametrize("seed", [0, 1])
def test_the_dial_turns_certainty_and_customs_up(seed):
    dial = recorded(seed)
    assert tuple(dial) == PLACES
    sure = [dial[p]["answers"][KINDS[1]]["above .9"] for p in PLACES]
    customary = [dial[p]["answers"][KINDS[1]]["customary"] for p in PLACES]
    assert sure[0] < 0.3 and sure[-1] > 0.8
    assert customary[0] < 0.05 and customary[-1] > 0.8
    assert dial[0.0]["answers"][KINDS[0]]["right"] > 0.97
    assert dial[1.0]["answers"][KINDS[0]]["right"] > 0.97


def test_a_question_disagrees_as_often_as_the_other_templates_do(shipped):
    world, plain, _ = shipped
    unknown = world.questions(KINDS[1], "dev")
    few = unknown.at(unknown.person < 485)
    found = answer(plain, world, few)
    table = np.array([" ".join(map(str, a)) for a in found.answers]).reshape(len(TEMPLATES), -1)
    for t in range(len(TEMPLATES)):
        others = [k for k in range(len(TEMPLATES)) if k != t]
        expected = np.mean([table[k] != table[t] for k in others], axis=0)
        mine = found.disagreement.reshape(len(TEMPLATES), -1)[t]
        assert mine.tolist() == pytest.approx(expected.tolist())


def made(shift, n=400):
    """Half known, half made up; one hidden score moves with what is made up, ``nll`` does not."""
    rng = np.random.default_rng(0)
    kind = np.arange(n) % 2
    scores = {name: rng.normal(size=n) for name in (*OUTPUT, *INSIDE)}
    scores["probe"] = scores["probe"] + shift * kind
    zero = np.zeros(n, dtype=int)
    return Measured(scores, kind, kind == 0, kind > 5, np.arange(n), zero, zero, zero, zero)


def test_the_rule_finds_what_knows_and_asks_both_seeds():
    by_name = {v.name: v for v in verdicts({0: made(2.0), 1: made(2.0)})}
    assert tuple(by_name) == INSIDE
    assert by_name["probe"].knows and by_name["probe"].worth_having
    assert not any(v.knows for name, v in by_name.items() if name != "probe")
    mixed = {v.name: v for v in verdicts({0: made(2.0), 1: made(0.0)})}
    assert not mixed["probe"].knows
    turned = {v.name: v for v in verdicts({0: made(-2.0), 1: made(-2.0)})}
    assert not turned["probe"].knows  # no sign is turned afterwards


def test_worth_having_needs_strength_and_a_gain():
    weak, strong = Estimate(0.57, 0.52, 0.62, 9, 9), Estimate(0.8, 0.7, 0.9, 9, 9)
    gain, none = Estimate(0.1, 0.01, 0.2, 9, 9), Estimate(0.1, -0.01, 0.2, 9, 9)
    assert Verdict("x", [weak], [gain]).knows
    assert not Verdict("x", [weak], [gain]).worth_having
    assert not Verdict("x", [strong], [none]).worth_having
    assert Verdict("x", [strong], [gain]).worth_having

"""A guard that was saved and loaded says the same, and what does not belong to it is refused."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from decoders import huggingface, plain, some_ids

from deepdrift.errors import NotFittedError, ReferenceFileError
from deepdrift.guard import DeepDriftGuard
from deepdrift.guard.checks import GuardError

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [(row[:5], row[5:]) for row in some_ids(*[8] * 120)]
NEW = [(row[:5], row[5:]) for row in some_ids(*[8] * 6, seed=3)]
NAMES = [("capital", 1) if i % 2 else None for i in range(120)]
RIGHT = [i % 5 > 0 for i in range(70)]


def named(prompt):
    return ("capital", 1) if sum(prompt) % 2 else None


def made(model, **how):
    """Fitted and calibrated with two templates."""
    guard = DeepDriftGuard(model, rank=8, **how).fit(PAIRS[:50], NAMES[:50])
    return guard.calibrate(PAIRS[50:], RIGHT, NAMES[50:], method="isotonic")


def same(one, other):
    """Traces and doubts of new answers are equal bit by bit."""
    a, b = (guard.read(*zip(*NEW, strict=True)) for guard in (one, other))
    for name in ("innovation", "p_value", "state", "log_prob"):
        assert torch.equal(getattr(a, name).nan_to_num(9), getattr(b, name).nan_to_num(9)), name
    for score in ("nll", "ces", "innovation", "maximum"):
        for template in (("capital", 1), None, "unknown"):
            names = [template] * len(NEW)
            said = [str(g.doubt(t, names, score)) for g, t in ((one, a), (other, b))]
            assert said[0] == said[1]
    return True


@pytest.fixture(scope="module")
def model():
    return huggingface("llama")


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    guard, path = made(model), tmp_path_factory.mktemp("guard") / "guard.safetensors"
    guard.save(path)
    return guard, path


def test_saved_and_loaded_says_the_same(model, saved):
    guard, path = saved
    other = DeepDriftGuard(model, rank=8).load(path)
    assert same(guard, other)
    with pytest.raises(GuardError, match="1 of 70 prompts were used in fit"):
        other.calibrate([PAIRS[0], *PAIRS[51:]], RIGHT, NAMES[50:])
    again = path.with_name("again.safetensors")
    other.save(again)
    assert same(guard, DeepDriftGuard(model, rank=8).load(again))


def test_in_a_new_process(saved):
    guard, path = saved
    script = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
        from decoders import huggingface, some_ids
        from deepdrift.guard import DeepDriftGuard
        rows = some_ids(*[8] * 6, seed=3)
        guard = DeepDriftGuard(huggingface("llama"), rank=8).load({str(path)!r})
        trace = guard.read([row[:5] for row in rows], [row[5:] for row in rows])
        print(trace.p_value.tolist())
        print(guard.doubt(trace, [("capital", 1)] * 6))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert run.returncode == 0, run.stderr
    trace = guard.read(*zip(*NEW, strict=True))
    doubt = guard.doubt(trace, [("capital", 1)] * 6)
    assert run.stdout == f"{trace.p_value.tolist()}\n{doubt}\n"


@pytest.mark.parametrize("step", ["fitted", "calibrated"])
def test_half_of_it(model, step, tmp_path):
    guard = DeepDriftGuard(model)
    guard.fit(PAIRS[:50]) if step == "fitted" else guard.calibrate(PAIRS[50:])
    guard.save(tmp_path / "g")
    other = DeepDriftGuard(model).load(tmp_path / "g")
    trace = other.read(*PAIRS[0])
    assert trace.innovation[..., 1:].isfinite().all() == (step == "fitted")
    if step == "fitted":
        with pytest.raises(NotFittedError, match="call guard.calibrate"):
            other.doubt(trace)
        one, two = (g.calibrate(PAIRS[50:]).doubt(g.read(*PAIRS[0])) for g in (guard, other))
        assert str(one) == str(two)
    else:
        assert str(other.doubt(trace)) == str(guard.doubt(guard.read(*PAIRS[0])))


def test_alpha_of_the_file_unless_one_was_given(model, saved):
    _, path = saved
    assert DeepDriftGuard(model, rank=8).load(path).alpha == 0.05
    looser = DeepDriftGuard(model, rank=8, alpha=0.2).load(path)
    fresh = made(model, alpha=0.2)
    assert looser.alpha == 0.2 and same(looser, fresh)
    strict = DeepDriftGuard(model, rank=8, alpha=0.01)
    with pytest.raises(GuardError, match="needs 99 right answers"):
        strict.load(path)
    assert strict.alpha == 0.01
    with pytest.raises(NotFittedError):
        strict.doubt(strict.read(*PAIRS[0]))


@pytest.mark.parametrize("name", ["a", "", 0, 7, True, 0.5, None, ("x", ("y", 2)), ()])
def test_names_of_templates(model, name, tmp_path):
    guard = DeepDriftGuard(model).calibrate(PAIRS[50:], templates=[name] * 70)
    guard.save(tmp_path / "g")
    (kept,) = DeepDriftGuard(model).load(tmp_path / "g")._normal.templates
    assert kept == name and type(kept) is type(name)


def test_what_cannot_be_saved(model, tmp_path):
    with pytest.raises(NotFittedError, match="before save"):
        DeepDriftGuard(model).save(tmp_path / "g")
    guard = DeepDriftGuard(model).calibrate(PAIRS[50:], templates=[frozenset("ab")] * 70)
    with pytest.raises(GuardError, match="templates: a name is kept in a file if it is a string"):
        guard.save(tmp_path / "g")
    assert list(tmp_path.iterdir()) == []
    guard.calibrate(PAIRS[50:])
    with pytest.raises(ReferenceFileError, match="cannot write"):
        guard.save(tmp_path / "nowhere" / "g")


def test_what_does_not_belong(model, saved, tmp_path):
    _, path = saved
    for other, words in (
        (DeepDriftGuard(model, rank=4), "rank 8, here 4"),
        (DeepDriftGuard(model, list(DeepDriftGuard(model).layers)[:-1], rank=8), "layers"),
        (DeepDriftGuard(huggingface("gpt2"), rank=8), "model 'LlamaForCausalLM', here 'GPT2"),
        (DeepDriftGuard(plain(), rank=8), "model 'LlamaForCausalLM', here 'Plain'"),
    ):
        with pytest.raises(ReferenceFileError, match=f"does not belong to this guard: {words}"):
            other.load(path)
        with pytest.raises(NotFittedError):
            other.doubt(other.read([1, 2], [3]))
    with pytest.raises(ReferenceFileError, match="no file"):
        DeepDriftGuard(model, rank=8).load(tmp_path / "none")
    for place in (0.1, 0.5, 0.9):
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 1
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(ReferenceFileError):
            DeepDriftGuard(model, rank=8).load(tmp_path / "damaged")


def test_other_weights_are_a_warning(model, saved):
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(p for p in other.parameters() if p.ndim == 2 and p.shape[0] == p.shape[1]).mul_(1.5)
    with pytest.warns(UserWarning, match="made with other weights") as caught:
        DeepDriftGuard(other, rank=8).load(saved[1])
    assert caught[0].filename == __file__


def test_copies_and_pickles(saved):
    guard, _ = saved
    guard.read(*PAIRS[0])
    assert same(guard, copy.deepcopy(guard))
    assert same(guard, pickle.loads(pickle.dumps(guard)))

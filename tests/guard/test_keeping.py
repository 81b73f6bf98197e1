"""A guard that was saved and loaded says the same, and what does not belong to it is refused."""

from __future__ import annotations

import collections
import copy
import enum
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from decoders import huggingface, n_hooks, plain, some_ids

from deepdrift.errors import NotFittedError, ReferenceFileError
from deepdrift.guard import DeepDriftGuard
from deepdrift.guard.checks import GuardError
from deepdrift.states.storage import digest, read_tensors, write_tensors

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [(row[:5], row[5:]) for row in some_ids(*[8] * 120)]
NEW = [(row[:5], row[5:]) for row in some_ids(*[8] * 6, seed=3)]
NAMES = [("capital", 1) if i % 2 else None for i in range(120)]
RIGHT = [i % 5 > 0 for i in range(70)]


def made(model, method="isotonic", confidence=0.9, **how):
    """Fitted and calibrated with two templates."""
    guard = DeepDriftGuard(model, rank=8, **how).fit(PAIRS[:50], NAMES[:50])
    return guard.calibrate(PAIRS[50:], RIGHT, NAMES[50:], method=method, confidence=confidence)


def same(one, other):
    """Traces and doubts of new answers are equal bit by bit."""
    a, b = (guard.read(*zip(*NEW, strict=True)) for guard in (one, other))
    for name in ("innovation", "p_value", "state", "log_prob"):
        assert torch.equal(getattr(a, name).nan_to_num(9), getattr(b, name).nan_to_num(9)), name
    for score in ("nll", "ces", "innovation", "maximum"):
        for template in (("capital", 1), None, "unknown"):
            names = [template] * len(NEW)
            first, second = (vars(g.doubt(t, names, score)) for g, t in ((one, a), (other, b)))
            for key, value in first.items():
                if isinstance(value, torch.Tensor):
                    assert torch.equal(value.nan_to_num(9), second[key].nan_to_num(9)), key
                else:
                    assert value == second[key], key
    return live(one) == live(other)


def live(guard):
    """What is said of a prompt and each token of its answer, to the last digit."""
    guard.reset()
    said = [guard(NEW[0][0]), *(guard(token) for token in NEW[0][1])]
    guard.reset()
    rows = [(d.step, d.nll, d.p_value, d.entropy, d.state, d.is_doubtful) for d in said]
    return [[getattr(x, "tolist", lambda x=x: x)() for x in row] for row in rows[1:]] + [
        said[0].p_value.tolist()
    ]


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
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("confidence", [0.5, np.float32(0.75)])
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_curves_and_their_bands(model, method, confidence, tmp_path):
    guard = made(model, method, confidence)
    guard.save(tmp_path / "g")
    assert same(guard, DeepDriftGuard(model, rank=8).load(tmp_path / "g"))


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
        for name in ("p_value", "innovation", "state"):
            print(getattr(trace, name).tolist())
        doubt = guard.doubt(trace, [("capital", 1)] * 6)
        print(doubt.threshold.tolist(), doubt.p_wrong, doubt.low, doubt.high, doubt)
        said = guard(rows[0][:5])
        print(said.p_value.tolist(), said, guard(rows[0][5]))
        seen = some_ids(*[8] * 120)[0]
        try:
            guard.calibrate([(seen[:5], seen[5:])])
        except ValueError as error:
            print(error)
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
    guard.reset()
    prompt, token = guard(NEW[0][0]), guard(NEW[0][1][0])
    guard.reset()
    with pytest.raises(GuardError) as caught:
        guard.calibrate(PAIRS[:1])
    assert "1 of 1 prompts were used in fit" in str(caught.value)
    numbers = f"{doubt.threshold.tolist()} {doubt.p_wrong} {doubt.low} {doubt.high} {doubt}"
    told = [f"{getattr(trace, name).tolist()}" for name in ("p_value", "innovation", "state")]
    told += [numbers, f"{prompt.p_value.tolist()} {prompt} {token}", str(caught.value)]
    assert run.stdout == "\n".join(told) + "\n"


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


def test_alpha_of_the_file_unless_one_was_given(model, saved, tmp_path):
    _, path = saved
    assert DeepDriftGuard(model, rank=8).load(path).alpha == 0.05
    looser = DeepDriftGuard(model, rank=8, alpha=0.2).load(path)
    fresh = made(model, alpha=0.2)
    assert looser.alpha == 0.2 and same(looser, fresh)
    looser.save(tmp_path / "g")
    assert DeepDriftGuard(model, rank=8).load(tmp_path / "g").alpha == 0.2
    assert same(looser, DeepDriftGuard(model, rank=8).load(tmp_path / "g"))
    strict = DeepDriftGuard(model, rank=8, alpha=0.01)
    with pytest.raises(GuardError, match="needs 99 right answers"):
        strict.load(path)
    assert strict.alpha == 0.01
    with pytest.raises(NotFittedError):
        strict.doubt(strict.read(*PAIRS[0]))


def test_alpha_is_that_of_the_thresholds(model, saved):
    """One that is set afterwards would be promised in a file and kept by nothing."""
    guard, path = saved
    with pytest.raises(AttributeError):
        guard.alpha = 0.2
    other = DeepDriftGuard(model, rank=8).load(path)
    other.calibrate(PAIRS[50:], templates=NAMES[50:])
    assert other.alpha == other._normal.alpha == 0.05


NAMES_KEPT = ["a", "", "\ud800", 0, 7, 2**80, True, False, 0.5, None, ("x", ("y", 2), True), ()]


@pytest.mark.parametrize("name", NAMES_KEPT, ids=repr)
def test_names_of_templates(model, name, tmp_path):
    guard = DeepDriftGuard(model).fit(PAIRS[:50], [name] * 50)
    guard.calibrate(PAIRS[50:], templates=[name] * 70)
    guard.save(tmp_path / "g")
    normal = DeepDriftGuard(model).load(tmp_path / "g")._normal
    for (kept,) in (normal.templates, normal.prompts):
        assert repr(kept) == repr(name) and type(kept) is type(name)


class Number(enum.IntEnum):
    ONE = 1


class AnyCase(str):
    """Equal to others than a file could tell."""

    def __eq__(self, other):
        return self.lower() == other.lower()

    def __hash__(self):
        return hash(self.lower())


Pair = collections.namedtuple("Pair", "a b")
NOT_KEPT = [np.int64(3), np.str_("a"), b"a", Number.ONE, AnyCase("A"), Pair(1, 2), ("a", b"a")]


@pytest.mark.parametrize("name", NOT_KEPT, ids=repr)
def test_a_name_that_would_come_back_as_another(model, name, tmp_path):
    (tmp_path / "g").write_bytes(b"old")
    guard = DeepDriftGuard(model).calibrate(PAIRS[50:], templates=[name] * 70)
    with pytest.raises(GuardError, match="templates: expected names that a file keeps") as caught:
        guard.save(tmp_path / "g")
    assert f"of type {type(name[1] if type(name) is tuple else name).__name__}; calibrate with" in (
        str(caught.value)
    )
    assert (tmp_path / "g").read_bytes() == b"old"


def test_what_cannot_be_saved(model, tmp_path):
    with pytest.raises(NotFittedError, match="before save"):
        DeepDriftGuard(model).save(tmp_path / "g")
    assert list(tmp_path.iterdir()) == []
    guard = DeepDriftGuard(model).calibrate(PAIRS[50:])
    with pytest.raises(ReferenceFileError, match="cannot write"):
        guard.save(tmp_path / "nowhere" / "g")


def test_a_file_that_cannot_be_replaced_stays(saved, monkeypatch, tmp_path):
    (tmp_path / "g").write_bytes(b"old")

    def fails(*_):
        raise OSError("no room")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(ReferenceFileError, match="cannot write .* \\(no room\\)"):
        saved[0].save(tmp_path / "g")
    assert [p.name for p in tmp_path.iterdir()] == ["g"]
    assert (tmp_path / "g").read_bytes() == b"old"


def test_the_default_device_does_not_matter(model, saved, tmp_path):
    with torch.device("meta"):
        saved[0].save(tmp_path / "g")
        other = DeepDriftGuard(model, rank=8).load(tmp_path / "g")
    assert same(saved[0], other)


def test_a_model_of_other_parts(model, saved, tmp_path):
    """Also where the watched layers are the same: the likelihood is of the whole model."""
    some = list(saved[0].layers)[:2]
    guard = DeepDriftGuard(model, some).fit(PAIRS[:50]).calibrate(PAIRS[50:])
    guard.save(tmp_path / "g")
    for changes, words in (
        ({"num_hidden_layers": 2}, r"'model\.layers\.2\..* in one of the two only"),
        ({"num_hidden_layers": 4}, r"'model\.layers\.3\..* in one of the two only"),
        ({"hidden_size": 32}, "'model.embed_tokens', .* another number of weights"),
        ({"intermediate_size": 48}, r"'model\.layers\.0\.mlp\.gate_proj', .* another number"),
    ):
        other = huggingface("llama", **changes)
        mine = other.state_dict()
        same_size = {
            k: v for k, v in model.state_dict().items() if k in mine and mine[k].shape == v.shape
        }
        other.load_state_dict(mine | same_size)
        with pytest.raises(ReferenceFileError, match=f"path: it does not belong to .*{words}"):
            DeepDriftGuard(other, some).load(tmp_path / "g")
    head = copy.deepcopy(model)
    head.lm_head = torch.nn.Linear(16, 61, bias=False)
    with pytest.raises(ReferenceFileError, match="'lm_head' have another number of weights"):
        DeepDriftGuard(head, some).load(tmp_path / "g")


def test_a_refused_file_leaves_what_was_learned(model, saved, tmp_path):
    guard = DeepDriftGuard(model, rank=4).fit(PAIRS[:50]).calibrate(PAIRS[50:])
    before = copy.deepcopy(guard)
    with pytest.raises(ReferenceFileError, match="rank 8, here 4"):
        guard.load(saved[1])
    damaged = tmp_path / "damaged"
    damaged.write_bytes(saved[1].read_bytes()[:-1])
    with pytest.raises(ReferenceFileError, match="damaged"):
        guard.load(damaged)
    trace = guard.read(*PAIRS[0])
    assert str(guard.doubt(trace)) == str(before.doubt(trace)) and guard.alpha == before.alpha


def test_every_flipped_bit_is_noticed(model, saved, tmp_path):
    good = saved[1].read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    places = [0, 9, start // 2, start - 5, *range(start, len(good), len(good) // 40)]
    for place in [*places, len(good) - 1]:
        bad = bytearray(good)
        bad[place] ^= 1
        (tmp_path / "g").write_bytes(bytes(bad))
        with pytest.raises(ReferenceFileError):
            DeepDriftGuard(model, rank=8).load(tmp_path / "g")


def test_a_file_of_something_else(model, tmp_path):
    guard = DeepDriftGuard(model)
    for header, words in (
        ({"format": "deepdrift-guard-2"}, "found 'deepdrift-guard-2'; it is of another version"),
        ({"format": "deepdrift-reference-3"}, "that is no calibrated guard"),
        ({"kind": "DIME"}, "found 'DIME'; that is no calibrated guard"),
    ):
        write_tensors(tmp_path / "g", {"x": torch.zeros(1)}, header)
        with pytest.raises(ReferenceFileError, match=f"expected 'deepdrift-guard-1', .*{words}"):
            guard.load(tmp_path / "g")


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, header: header.pop("alpha"),
        lambda tensors, header: header.update(templates=None),
        lambda tensors, header: header["templates"]["calibrated"][0].pop("name"),
        lambda tensors, header: tensors.pop("template.0.velocity"),
        lambda tensors, header: tensors.pop("prompts.1.white"),
        lambda tensors, header: tensors.update({"seen.lengths": tensors["seen.lengths"] + 1}),
    ],
)
def test_a_made_up_file_with_a_checksum_is_refused_with_a_sentence(model, saved, change, tmp_path):
    tensors, header = read_tensors(saved[1], what="", again="")
    del header["sha256"]
    change(tensors, header)
    write_tensors(tmp_path / "g", tensors, header | {"sha256": digest(tensors, header)})
    with pytest.raises(ReferenceFileError, match="parts do not fit one another .*; calibrate and"):
        DeepDriftGuard(model, rank=8).load(tmp_path / "g")


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


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_guard_that_listens_tells_it_nothing(way):
    guard = DeepDriftGuard(plain()).calibrate(PAIRS[50:])
    network = guard._decoder.network
    hooks = n_hooks(network)
    with guard.watch() as run:
        other = way(guard)
        twin = other._decoder.network
        network(torch.tensor([PAIRS[0][0]]))
        twin(torch.tensor([PAIRS[1][0]]))  # another prompt, of another model
        assert run.trace.prompts == (tuple(PAIRS[0][0]),)
        with other.watch() as own:
            twin(torch.tensor([PAIRS[1][0]]))
        assert own.trace.prompts == (tuple(PAIRS[1][0]),)
    assert n_hooks(network) == hooks == 0


def test_what_a_copy_learns_is_its_own(model):
    guard = DeepDriftGuard(model).calibrate(PAIRS[50:])
    trace = guard.read(*NEW[0])
    said = str(guard.doubt(trace))
    for other in (copy.copy(guard), copy.deepcopy(guard)):
        other.fit(PAIRS[:50]).calibrate(PAIRS[60:])
        assert str(guard.doubt(trace)) == said != str(other.doubt(trace))

"""Both lamps keep what they promise, on made traces and end to end."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from decoders import huggingface, plain, some_ids
from scipy.stats import beta, binom, kstest
from sklearn.isotonic import IsotonicRegression

from deepdrift.guard import DeepDriftGuard, Doubt, GuardTrace
from deepdrift.guard.trace import blank_trace

LAYERS, RANK = 4, 3
TURN = {
    name: torch.randn(LAYERS, RANK, RANK, generator=torch.Generator().manual_seed(seed))
    for name, seed in (("a", 1), ("b", 2))
}
IDS = iter(range(10**9))


def sketches(n: int, template: str, g: torch.Generator) -> torch.Tensor:
    """``(n, L, r)``: each layer a turn of the one before; the turn is the template's."""
    z = [torch.randn(n, RANK, generator=g)]
    for layer in range(1, LAYERS):
        z.append(z[-1] @ TURN[template][layer] + 0.3 * torch.randn(n, RANK, generator=g))
    return torch.stack(z, dim=1)


def made(nll: torch.Tensor, template: str, g: torch.Generator) -> GuardTrace:
    """Answers of two tokens that share these negative log-likelihoods."""
    n = len(nll)
    share = torch.rand(n, generator=g)
    log_prob = -torch.stack([share * nll, (1 - share) * nll], dim=1)
    tokens = torch.tensor([[next(IDS), 0] for _ in range(n)])
    return blank_trace(
        tokens,
        torch.ones(n, 2, dtype=torch.bool),
        log_prob,
        torch.rand(n, 2, generator=g),
        torch.rand(n, 2, LAYERS, generator=g),
        torch.stack([sketches(n, template, g), sketches(n, template, g)], dim=1),
        sketches(n, template, g),
        tuple(f"block.{i}" for i in range(LAYERS)),
        tuple((t,) for t in tokens[:, 0].tolist()),
    )


def right(n: int, template: str, g: torch.Generator) -> GuardTrace:
    return made(torch.empty(n).exponential_(generator=g), template, g)


def a_guard(alpha: float = 0.1, **options) -> DeepDriftGuard:
    return DeepDriftGuard(plain(), rank=RANK, alpha=alpha, **options)


# ---- doubt ----


def test_the_realised_rate_of_a_threshold_follows_its_beta_law():
    g, n, alpha = torch.Generator().manual_seed(0), 59, 0.1
    k = math.ceil((1 - alpha) * (n + 1) - 1e-9)
    guard, rates = a_guard(alpha), []
    for _ in range(200):
        guard.calibrate(right(n, "a", g))
        limit = guard.doubt(right(1, "a", g)).threshold.item()
        rates.append(math.exp(-limit))  # of new right answers, which are exponential
    law = beta(n + 1 - k, k)
    assert kstest(rates, law.cdf).pvalue > 0.001
    assert sum(rates) / len(rates) <= alpha + 3 * law.std() / math.sqrt(len(rates))


def test_the_rate_counted_on_new_answers_lies_in_the_beta_band():
    g, n, alpha = torch.Generator().manual_seed(1), 99, 0.05
    guard = a_guard(alpha).calibrate(right(n, "a", g))
    said = guard.doubt(right(4000, "a", g))
    k = math.ceil((1 - alpha) * (n + 1) - 1e-9)
    low, high = beta.ppf([0.001, 0.999], n + 1 - k, k)
    assert low < said.is_doubtful.double().mean().item() < high
    assert said.valid.all() and said.p_wrong[0] is None
    assert "prompts not checked: call fit(pairs) first" in said.reason[0]


@pytest.mark.parametrize("score", ["mean", "maximum", "first", "entropy", "velocity", "ces"])
def test_every_score_keeps_the_same_promise(score):
    g, alpha = torch.Generator().manual_seed(2), 0.2
    guard = a_guard(alpha).fit(right(80, "a", g)).calibrate(right(199, "a", g))
    rate = guard.doubt(right(1000, "a", g), score=score).is_doubtful.double().mean().item()
    low, high = beta.ppf([1e-4, 1 - 1e-4], 40, 160)
    slack = 3 * math.sqrt(alpha / 1000) + (0.1 if score == "ces" else 0)  # and ces has ties
    assert low - slack < rate < high + 3 * math.sqrt(alpha / 1000)


def test_thresholds_belong_to_templates():
    g = torch.Generator().manual_seed(3)
    easy, hard = right(50, "a", g), made(10 + torch.rand(50, generator=g), "b", g)
    names = ["easy"] * 50 + ["hard"] * 50
    from deepdrift.guard.trace import join

    guard = a_guard().calibrate(join([easy, hard]), templates=names)
    new = made(torch.tensor([5.0, 5.0, 5.0]), "a", g)
    said = guard.doubt(new, ["easy", "hard", "other"])
    assert said.is_doubtful.tolist() == [True, False, True]
    assert said.valid.tolist() == [True, True, False]
    order = easy.nll.sort().values
    assert said.threshold[0].item() == pytest.approx(order[45].item())  # ceil(0.9 * 51) = 46th
    assert "(known: 'easy', 'hard')" in said.reason[2]


def test_the_guard_names_templates_itself():
    g = torch.Generator().manual_seed(4)
    guard = a_guard(template_of=lambda prompt: "even" if prompt[0] % 2 == 0 else "odd")
    trace = right(120, "a", g)
    guard.calibrate(trace)
    rows = [i for i, prompt in enumerate(trace.prompts) if prompt[0] % 2 == 0]
    even = trace.nll[rows].sort().values
    first = next(i for i in rows)
    limit = guard.doubt(trace.rows([first])).threshold.item()
    assert limit == pytest.approx(even[math.ceil(0.9 * (len(even) + 1)) - 1].item())


def test_the_probability_of_being_wrong_is_scikit_learns():
    g = torch.Generator().manual_seed(5)
    nll = 6 * torch.rand(300, generator=g)
    wrong = torch.rand(300, generator=g) < nll / 8
    trace, new = made(nll, "a", g), made(6 * torch.rand(40, generator=g), "a", g)
    guard = a_guard().calibrate(trace, correct=~wrong, method="isotonic")
    said = guard.doubt(new)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(trace.nll.numpy(), wrong.numpy())
    assert list(said.p_wrong) == pytest.approx(theirs.predict(new.nll.numpy()).tolist(), abs=1e-6)
    assert all(a <= p <= b for a, p, b in zip(said.low, said.p_wrong, said.high, strict=True))
    k = math.ceil(0.9 * (int((~wrong).sum()) + 1) - 1e-9)  # the threshold is of the right ones
    assert said.threshold[0].item() == pytest.approx(trace.nll[~wrong].sort().values[k - 1].item())
    assert "(isotonic)" in said.reason[0]
    other = guard.doubt(new, score="first")
    theirs = IsotonicRegression(out_of_bounds="clip").fit(trace.first.numpy(), wrong.numpy())
    want = theirs.predict(new.first.numpy()).tolist()
    assert list(other.p_wrong) == pytest.approx(want, abs=1e-6)


# ---- unfamiliarity ----


def test_a_change_of_format_withdraws_the_promise_and_the_same_format_keeps_it():
    g = torch.Generator().manual_seed(6)
    guard = a_guard(0.05).fit(right(60, "a", g)).calibrate(right(99, "a", g))
    same, other = guard.doubt(right(500, "a", g)), guard.doubt(right(500, "b", g))
    low, high = beta.ppf([0.001, 0.999], 5, 95)
    withdrawn = (~same.valid).double().mean().item()
    assert low - 0.02 < withdrawn < high + 0.02
    assert (~other.valid).double().mean() > 0.95
    lost = int((~other.valid).nonzero()[0])
    assert other.p_wrong[lost] is None and other.threshold[lost].isnan()
    assert other.reason[lost].startswith("not valid here: unfamiliar prompt (p = ")
    assert other.is_doubtful[lost].item() is True


def test_each_template_has_prompts_of_its_own():
    from deepdrift.guard.trace import join

    g = torch.Generator().manual_seed(7)
    names = ["a"] * 60 + ["b"] * 60
    both = [join([right(60, "a", g), right(60, "b", g)]) for _ in range(2)]
    guard = a_guard(0.05).fit(both[0], names).calibrate(both[1], templates=names)
    new = right(100, "a", g)
    assert guard.doubt(new, "a").valid.double().mean() > 0.8
    assert guard.doubt(new, "b").valid.double().mean() < 0.1
    with pytest.raises(ValueError, match="'c' was not fitted \\(fitted: 'a', 'b'\\)"):
        guard.calibrate(right(60, "a", g), templates=["c"] * 60)


def test_a_broken_layer_is_named():
    g = torch.Generator().manual_seed(8)
    guard = a_guard(0.05).fit(right(100, "a", g)).calibrate(right(60, "a", g))
    new = right(50, "a", g)
    sketch = new.prompt_sketch.clone()
    sketch[:, 2] = 3 * sketch[:, 2].flip(1)
    said = guard.doubt(replace(new, prompt_sketch=sketch))
    named = [text for text in said.reason if "first at block.2;" in text]
    assert len(named) >= 45


def test_tokens_have_p_values_and_states():
    g, alpha = torch.Generator().manual_seed(9), 0.1
    guard = a_guard(alpha).fit(right(80, "a", g))
    new = guard._normal.judge(right(400, "a", g))
    assert new.innovation[..., 0].isnan().all() and new.innovation[..., 1:].isfinite().all()
    assert (new.state == -1).all() and new.p_value.isnan().all()
    guard.calibrate(right(99, "a", g))
    usual = guard._normal.judge(right(400, "a", g))
    rate = (usual.state == 2).double().mean().item()
    assert 0.02 < rate < 0.2 and torch.equal(usual.state == 2, usual.p_value <= alpha)
    strange = guard._normal.judge(right(400, "b", g))
    assert (strange.state == 2).double().mean() > 0.7


# ---- end to end ----


def test_a_live_answer_is_judged_step_by_step_as_afterwards():
    model = huggingface("llama")
    guard = DeepDriftGuard(model, rank=4, alpha=0.2)
    pairs = [(r[:4], r[4:]) for r in some_ids(*[7] * 60)]
    guard.fit(pairs[:30]).calibrate(pairs[30:])
    prompt, answer = some_ids(4, 9, seed=9)
    doubt = guard.doubt(guard.read(prompt, answer))
    said = [guard(prompt), *(guard(token) for token in answer)]
    trace = guard.trace
    assert [int(s.state) for s in said[1:]] == trace.state[0].tolist()
    assert [float(s.p_value) for s in said[1:]] == pytest.approx(trace.p_value[0].tolist())
    sums = (-trace.log_prob[0].double()).cumsum(0).tolist()
    assert [float(s.nll) for s in said[1:]] == pytest.approx(sums)
    limit = doubt.threshold.item()
    if doubt.valid.item():
        assert [bool(s.is_doubtful) for s in said[1:]] == [x > limit for x in sums]
    assert (float(said[0].p_value) <= 0.2) == ("unfamiliar" in doubt.reason[0])
    assert said[0].is_anomaly == ("unfamiliar" in doubt.reason[0])


def test_rows_that_stopped_raise_no_alarm():
    guard = DeepDriftGuard(huggingface("llama"), rank=4, alpha=0.2)
    pairs = [(r[:4], r[4:]) for r in some_ids(*[7] * 60)]
    guard.fit(pairs[:30]).calibrate(pairs[30:])
    guard([[5, 6], [7, 8]])
    last = guard([2, 9])  # the first row ends
    after = [guard([0, 9]) for _ in range(3)][-1]
    assert int(after.state[0]) == -1 and after.p_value[0].isnan()
    assert after.nll[0] == last.nll[0] and after.nll[1] > last.nll[1]
    assert guard.trace.lengths.tolist() == [1, 4]


def test_calibration_keeps_pairs_and_their_order():
    guard = DeepDriftGuard(huggingface("llama"), rank=4, alpha=0.2)
    rows = some_ids(*range(4, 28))
    pairs = [(r[:2], r[2:]) for r in rows]
    trace = guard.read([p for p, _ in pairs], [a for _, a in pairs])
    wrong = (trace.nll > trace.nll.median()).tolist()
    right = [not w for w in wrong]
    guard.calibrate(pairs[::-1], right[::-1], method="isotonic", batch_size=5)
    assert [p > 0.5 for p in guard.doubt(trace).p_wrong] == wrong


def test_a_doubt_comes_apart_row_by_row():
    g = torch.Generator().manual_seed(10)
    guard = a_guard().calibrate(right(30, "a", g))
    said = guard.doubt(made(torch.tensor([0.01, 50.0]), "a", g))
    parts = list(said)
    assert len(said) == 2 and [len(part) for part in parts] == [1, 1]
    assert all(isinstance(part, Doubt) for part in parts)
    assert [bool(part.is_doubtful) for part in parts] == [False, True]
    assert str(said).splitlines() == [str(part) for part in parts]
    assert str(parts[0]).startswith("not doubtful: nll 0.01 is not above ")
    assert said[-1].nll.item() == pytest.approx(50.0)
    with pytest.raises(IndexError):
        said[2]


def test_a_sentence_shows_numbers_that_differ():
    g = torch.Generator().manual_seed(12)
    guard = a_guard().calibrate(made(torch.full((30,), 0.0024), "a", g))
    below, above = guard.doubt(made(torch.tensor([0.0003, 0.0036]), "a", g)).reason
    assert below.startswith("not doubtful: nll 0.000 is not above 0.002, ")
    assert above.startswith("doubtful: nll 0.004 is above 0.002, ")


def test_an_empty_answer_is_no_sure_one():
    guard = DeepDriftGuard(huggingface("llama"), rank=4, alpha=0.2)
    guard.calibrate([(r[:2], r[2:]) for r in some_ids(*[5] * 10)])
    said = guard.doubt(guard.read([[5, 6], [5, 6]], [[7], []]))
    assert said.valid.tolist() == [True, False] and said.is_doubtful[1].item() is True
    assert "the answer has no token" in said.reason[1]


def test_rate_of_false_alarms_of_single_tokens():
    """Rows of the same kind, one token each: the plain conformal promise, counted."""
    g, alpha, hits, tries = torch.Generator().manual_seed(11), 0.2, 0, 100
    for _ in range(tries):
        guard = a_guard(alpha).fit(right(30, "a", g)).calibrate(right(24, "a", g))
        hits += bool(guard._normal.judge(right(1, "a", g)).state[0, 0] == 2)
    assert hits <= binom.ppf(0.999, tries, alpha)

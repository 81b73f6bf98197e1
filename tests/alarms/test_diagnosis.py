"""The rules of the diagnosis by hand, at their borders, and on what others got wrong."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdrift import diagnose_drift
from deepdrift.alarms.diagnosis import ADVICE, INSIDE, LayerEvidence, NormalShape
from deepdrift.errors import NotFittedError, StateError
from deepdrift.monitor.scorer import StateScorer

RULES = [
    # profile, name, layer, runner-up, confidence
    ([0, 0, 0], "stable", 0, "", 1.0),
    ([-1, -2, -1.5], "stable", 0, "", 1.0),
    ([0, 1.5, 0.5], "stable", 1, "", 0.5),
    ([0, -2.99, 0.3], "stable", 2, "", 0.9),
    ([0, -3, 0.3], "not sure", 1, "stable", 0.0),
    ([-9, 9, 5], "broken layer", 1, "spurious correlation", 1.0),
    ([0, 9, 5], "broken layer", 1, "spurious correlation", 1.0),
    ([2.99, 3, 2.99], "broken layer", 1, "spurious correlation", 1.0),
    ([0, 7, 10], "broken layer", 1, "spurious correlation", 0.25),
    ([0, 6.4, 10], "broken layer", 1, "spurious correlation", 0.1),
    ([0, 6.2, 10], "not sure", 1, "broken layer", 0.0),
    ([0, 6, 10], "not sure", 1, "broken layer", 0.0),
    ([0, 5.8, 10], "not sure", 1, "broken layer", 0.0),
    ([0, 5.6, 10], "spurious correlation", 1, "novel class", 0.1),
    ([0, 5, 10], "spurious correlation", 1, "novel class", 0.25),
    ([0, 4, 40], "spurious correlation", 1, "novel class", 1.0),
    ([10, 5, 5], "sensor failure", 0, "geometric collapse", 1.0),
    ([3, 3, 3], "sensor failure", 0, "geometric collapse", 1.0),
    ([8.4, 10, 5], "sensor failure", 0, "geometric collapse", 0.2),
    ([8.2, 10, 5], "not sure", 0, "sensor failure", 0.0),
    ([8, 10, 5], "not sure", 0, "sensor failure", 0.0),
    ([7.8, 10, 5], "not sure", 0, "sensor failure", 0.0),
    ([7.6, 10, 5], "geometric collapse", 0, "sensor failure", 0.2),
    ([6.4, 10, 5], "geometric collapse", 0, "novel class", 0.2),
    ([6.2, 10, 5], "not sure", 0, "geometric collapse", 0.0),
    ([5.8, 10, 5], "not sure", 0, "geometric collapse", 0.0),
    ([5.6, 10, 5], "novel class", 0, "geometric collapse", 0.2),
    ([3, 30, 5], "novel class", 0, "geometric collapse", 1.0),
    # two layers: the second always is the peak, so nothing tells a jump from growth
    ([0, 9], "not sure", 1, "broken layer", 0.0),
    ([9, 0], "sensor failure", 0, "geometric collapse", 1.0),
    ([4, 40], "novel class", 0, "geometric collapse", 1.0),
]


@pytest.mark.parametrize(("profile", "name", "layer", "runner_up", "confidence"), RULES)
def test_rules_by_hand(profile, name, layer, runner_up, confidence):
    found = diagnose_drift(profile)
    assert (found.name, found.layer, found.runner_up) == (name, f"layer {layer}", runner_up)
    assert found.confidence == pytest.approx(confidence, abs=1e-9)
    assert [e.drift for e in found.evidence] == profile


@pytest.mark.parametrize(
    ("length", "dead", "name", "words"),
    [
        (1.0, 0.0, "broken layer", "from 0.5 to 9.0. "),
        (2.0, 0.1, "broken layer", "from 0.5 to 9.0. "),
        (0.85, math.nan, "broken layer", "from 0.5 to 9.0. "),
        (math.nan, math.nan, "broken layer", "from 0.5 to 9.0. "),
        (2.01, 0.0, "exploding", "its states 2.0 times as long as normal"),
        (50.0, 0.9, "exploding", "its states 50.0 times as long as normal"),
        (0.84, 0.0, "dead or shrunken layer", "its states 0.84 times as long. "),
        (0.95, 0.25, "dead or shrunken layer", "0.95 times as long, 25% of its channels silent"),
    ],
)
@pytest.mark.parametrize("n_after", [0, 1])
def test_length_and_silence_of_a_broken_layer(length, dead, name, words, n_after):
    profile = [0.5, LayerEvidence("b", 9.0, length, dead), *[7.0] * n_after]
    found = diagnose_drift(profile)
    if not n_after and name == "broken layer":
        assert found.name == "not sure"
    else:
        assert (found.name, found.layer) == (name, "b")
        assert words in str(found)


@pytest.mark.parametrize(
    ("length", "name"),
    [(1.5, "novel class"), (1.51, "sensor failure"), (0.67, "novel class"),
     (0.66, "sensor failure"), (math.nan, "novel class")],
)  # fmt: skip
def test_first_states_of_the_wrong_length_mean_the_sensor(length, name):
    found = diagnose_drift([LayerEvidence("stem", 5.0, length), 10.0, 10.0])
    assert found.name == name
    assert (f"{length:.2f} times as long as normal" in str(found)) == (name == "sensor failure")


# What the published rules got wrong


@pytest.mark.parametrize(
    ("profile", "name", "layer"),
    [
        ([4, 100, 100, 2.3], "novel class", 0),  # was called benign
        ([math.inf, 1, 1, 1], "invalid numbers", 0),  # was called benign
        ([1, 1, 1, 9], "broken layer", 3),  # had no name
        ([2, 1, 9, 1], "broken layer", 2),  # had no name
        ([50, 2, 2, 50], "sensor failure", 0),  # was called a global collapse
        ([0] * 9 + [8, 7, 6], "broken layer", 9),  # layers after the third were ignored
        ([8, 7, 2], "sensor failure", 0),  # three layers were unknown
        ([1, math.nan, 2, 1], "invalid numbers", 1),
        ([9, 9, -math.inf, 9], "invalid numbers", 2),
    ],
)
def test_profiles_that_others_misname(profile, name, layer):
    found = diagnose_drift(profile)
    assert (found.name, found.layer) == (name, f"layer {layer}")


@pytest.mark.parametrize("n", [3, 4, 12])
def test_all_exactly_at_the_threshold_count_and_just_below_do_not(n):
    assert diagnose_drift([3.0] * n).name == ("sensor failure" if n > 1 else "not sure")
    assert diagnose_drift([math.nextafter(3.0, 0)] * n).name == "stable"
    assert diagnose_drift([3.0] * n, threshold=4.0).name == "stable"


@pytest.mark.parametrize(
    "kind",
    [tuple, np.array, torch.tensor, np.float32, iter, lambda p: torch.tensor(p).requires_grad_()],
)
def test_every_kind_of_sequence_is_a_profile(kind):
    found = diagnose_drift(kind([0.5, 9.0, 7.0]))
    assert (found.name, found.layer) == ("broken layer", "layer 1")
    assert "jumps from 0.5 to 9.0" in str(found)


def test_a_mapping_gives_the_names():
    found = diagnose_drift({"stem": np.float32(0.5), "mid": torch.tensor(9.0), "head": 7})
    assert (found.name, found.layer) == ("broken layer", "mid")
    assert str(found).startswith("broken layer, starting at mid: drift jumps from 0.5 to 9.0. ")


# Any number of layers


@pytest.mark.parametrize("n", range(3, 31))
def test_a_layer_that_breaks_is_found_wherever_it_is(n):
    for k in range(1, n):
        found = diagnose_drift([0.1] * k + [9.0] + [6.0] * (n - k - 1))
        assert (found.name, found.layer) == ("broken layer", f"layer {k}")


drift = st.one_of(
    st.floats(-50, 50), st.floats(2.9, 3.1), st.sampled_from([math.nan, math.inf, 3.0, -3.0, 0.0])
)


@given(st.lists(drift, min_size=2, max_size=30))
def test_every_profile_gets_one_consistent_answer(profile):
    found = diagnose_drift(profile)
    at = int(found.layer.removeprefix("layer "))
    finite = all(math.isfinite(v) for v in profile)
    assert found.name in ADVICE
    assert 0 <= found.confidence <= 1
    assert found.runner_up != found.name
    assert (found.confidence == 0) == (found.name == "not sure") or found.name == "stable"
    assert (found.name == "invalid numbers") == (not finite)
    assert (found.name == "stable") == (finite and max(profile) < 3 and min(profile) > -3)
    if finite and max(profile) >= 3:
        assert at == next(i for i, v in enumerate(profile) if v >= 3)
        assert (found.name in INSIDE) <= (at > 0)
    assert found.layer in str(found) or found.name == "stable"
    assert ADVICE[found.name] in str(found)


@given(
    st.lists(st.floats(3, 100), min_size=2, max_size=30),
    st.lists(st.floats(-9, 0), max_size=5),
    st.sampled_from([2.0, 4.0, 64.0]),
)
def test_a_profile_above_the_threshold_keeps_its_name_when_scaled(high, calm, factor):
    """The rules are ratios; calm layers at or below zero stay calm."""
    before = diagnose_drift([*calm, *high])
    after = diagnose_drift([factor * v for v in (*calm, *high)])
    assert after.name == before.name
    assert (after.layer, after.runner_up) == (before.layer, before.runner_up)
    assert after.confidence == before.confidence


def test_a_share_that_rises_goes_through_the_names_in_order():
    names = [diagnose_drift([share, 100, 50]).name for share in range(3, 101)]
    changes = [a for a, b in zip(names, [*names[1:], ""], strict=True) if a != b]
    assert changes == [
        "novel class", "not sure", "geometric collapse", "not sure", "sensor failure",
    ]  # fmt: skip


# Bad input


@pytest.mark.parametrize(
    "profile",
    [None, "", "stable", "123", b"123", 3.0, [1.0, None], [1.0, "high"], {"a": None},
     {"a": "high"}, {"a": {"drift": 3.0}}, torch.tensor(3.0), torch.zeros(2, 2), [[1.0], [2.0]]],
)  # fmt: skip
def test_what_is_no_profile_is_refused(profile):
    with pytest.raises(StateError, match="profile: expected one drift per layer, got"):
        diagnose_drift(profile)


@pytest.mark.parametrize("profile", [[], (), {}, np.array([]), torch.tensor([])])
def test_an_empty_profile_is_refused(profile):
    with pytest.raises(StateError, match="at least one layer, got none"):
        diagnose_drift(profile)


@pytest.mark.parametrize("threshold", [0, -1.0, math.nan, math.inf])
def test_a_threshold_is_positive(threshold):
    with pytest.raises(StateError, match="threshold: expected a positive number"):
        diagnose_drift([-1.0, -2.0], threshold)


# Length and silence of states


def test_length_and_silence_by_hand():
    normal = torch.tensor([[3.0, 4.0, 1.0], [0.0, 0.0, 1.0 + 5e-7], [6.0, 8.0, 1.0]])
    shape = NormalShape.of({"a": normal})
    # medians: sqrt(26) normally, 3 now; channel 0 is silent, 1 alive, 2 never was alive
    now = torch.tensor([[1.0, 2.0, 2.0], [1.0, 5.0, 2.0], [1.0, -2.0, 2.0]])
    length, dead = shape.compare("a", now)
    assert length == pytest.approx(3 / math.sqrt(26))
    assert dead == 0.5
    assert shape.compare("a", normal) == (1.0, 0.0)
    assert shape.compare("a", 3 * normal)[0] == pytest.approx(3.0)


def test_one_sample_says_nothing_of_silence():
    shape = NormalShape.of({"a": torch.eye(3)})
    length, dead = shape.compare("a", torch.tensor([[0.0, 2.0, 0.0]]))
    assert length == 2.0
    assert math.isnan(dead)


def test_shapes_survive_the_round_trip_and_miss_nothing_silently():
    g = torch.Generator().manual_seed(0)
    states = {"a": torch.randn(9, 3, generator=g), "b": torch.randn(9, 5, generator=g)}
    shape = NormalShape.of(states)
    tensors = shape.to_tensors()
    again = NormalShape.from_tensors(tensors, ["a", "b"])
    for name, state in states.items():
        assert again.compare(name, 2 * state + 1) == shape.compare(name, 2 * state + 1)
    del tensors["shape.1.length"]
    with pytest.raises(NotFittedError, match=r"\['b'\].*calibrate again"):
        NormalShape.from_tensors(tensors, ["a", "b"])


# From states


def chain(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, 4, generator=g) + 2
    b = a.roll(1, dims=1) + 0.3 * torch.randn(n, 4, generator=g)
    c = b.flip(1) + 0.3 * torch.randn(n, 4, generator=g)
    return {"a": a, "b": b, "c": c}


@pytest.fixture(scope="module")
def scorer():
    made = StateScorer()
    made.calibrate(chain(400, 0))
    return made


def test_states_that_break_are_named_by_layer_and_numbers(scorer):
    clean = chain(64, 1)
    assert scorer.diagnose(clean).name == "stable"
    cases = {
        "exploding": clean | {"c": 5 * clean["c"]},
        "dead or shrunken layer": clean | {"c": 0.1 * clean["c"]},
        "broken layer": clean | {"c": clean["c"].roll(1, dims=1)},
        "invalid numbers": clean | {"c": clean["c"] / 0},
    }
    for name, states in cases.items():
        found = scorer.diagnose(states)
        assert (found.name, found.layer) == (name, "c")
    found = scorer.diagnose(cases["exploding"])
    assert found.evidence[2].length == pytest.approx(5.0, rel=0.1)
    assert f"states of c {found.evidence[2].length:.2g} times as long" in str(found)


def test_silent_channels_are_counted(scorer):
    states = chain(64, 1)
    states["c"][:, 0] = 2.0  # its mean: as long as before, but it says nothing
    found = scorer.diagnose(states)
    assert [e.dead for e in found.evidence] == [0.0, 0.0, 0.25]
    assert (found.name, found.layer) == ("dead or shrunken layer", "c")
    assert "25% of the channels of c silent" in str(found)


def test_a_probe_settles_a_silent_first_layer(scorer):
    states = chain(64, 1)
    states["c"] = states["c"].roll(1, dims=1)
    assert scorer.diagnose(states, probe=chain(64, 2)).name == "unusual inputs"
    assert scorer.diagnose(states, probe=states).name == "broken layer"


@pytest.mark.parametrize("profile", [[0.3], [-4.0], [9.0], {"stem": math.nan}])
def test_one_layer_is_no_profile(profile):
    with pytest.raises(StateError, match="expected at least two"):
        diagnose_drift(profile)

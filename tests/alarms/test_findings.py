"""The three fields by hand: every row of the table of rules, and what is printed."""

import json
import math

import pytest
import torch

from deepdrift.alarms.diagnosis import LayerEvidence
from deepdrift.alarms.findings import Evidence, find
from deepdrift.alarms.input_evidence import Change
from deepdrift.errors import StateError
from deepdrift.monitor.scorer import StateScorer

CALM = (Change("brighter", 3.9, "light"), Change("less contrast", -0.2, "light"))
BLUR = (Change("less fine detail", -47.0, "detail"), Change("brighter", 8.0, "light"))
SHARES = (Change("share of class 3 from 10% to 25%", 4.4, "classes"),)


def evidence(*drifts, inputs=CALM, fused=0.0, classes=(), **last):
    layers = [LayerEvidence(f"layer {i}", z, 1.0, 0.0) for i, z in enumerate(drifts)]
    if last:
        layers[-1] = LayerEvidence(layers[-1].name, drifts[-1], **last)
    return Evidence(tuple(layers), fused, inputs, classes, 64)


WELL = evidence(0.3, -3.9, 1.0)

RULES = [
    # batch, probe, side, place
    (WELL, None, "none", ""),
    (WELL, WELL, "none", ""),
    (evidence(0.3, -3.9, 1.0, inputs=None), None, "none", ""),
    (evidence(0.3, 9.0, 5.0, inputs=BLUR), None, "inputs", "layer 1"),
    (evidence(-22.0, 12.0, 5.0, inputs=BLUR), None, "inputs", "layer 0"),
    (evidence(0.3, 0.2, 0.1, inputs=BLUR), None, "inputs", ""),
    (evidence(0.3, 30.0, 25.0), None, "inside", "layer 1"),
    (evidence(0.3, -30.0, 25.0), None, "inside", "layer 1"),
    (evidence(30.0, 30.0, 25.0), None, "inside", "layer 0"),
    (evidence(0.3, 14.9, 5.0), None, "cannot say", "layer 1"),  # not loud enough
    (evidence(0.3, 30.0, 40.0), None, "cannot say", "layer 1"),  # not at once
    (evidence(0.3, 30.0, 25.0, inputs=None), None, "cannot say", "layer 1"),  # not seen
    (evidence(0.3, 0.2, 5.0, dead=0.2), None, "inside", "layer 2"),
    (evidence(0.3, 0.2, 5.0, length=2.5), None, "inside", "layer 2"),
    (evidence(0.3, 0.2, 5.0, length=0.5), None, "inside", "layer 2"),
    (evidence(0.3, 0.2, 5.0, length=1.2, dead=0.05), None, "cannot say", "layer 2"),
    (evidence(0.3, math.inf, 5.0), None, "inside", "layer 1"),
    (evidence(math.inf, math.inf, inputs=None), None, "cannot say", "layer 0"),
    (evidence(0.3, 0.2, 0.1, fused=-4.0), None, "cannot say", ""),
    (evidence(0.3, 0.2, 0.1, classes=SHARES), None, "cannot say", ""),
    (evidence(0.3, 30.0, 25.0), WELL, "inputs", "layer 1"),
    (evidence(0.3, 0.2, 0.1, classes=SHARES), WELL, "inputs", ""),
    (evidence(0.3, 9.0, 5.0, inputs=BLUR), evidence(0.3, 9.0, 5.0), "inside", "layer 1"),
    (evidence(0.3, 3.9, 3.8), evidence(0.3, -4.0, 5.0), "inside", "layer 1"),
    (evidence(0.3, 0.0, 0.0), evidence(0.3, 0.0, 0.0, fused=math.inf), "inside", ""),
    (evidence(0.3, 9.0, 5.0), evidence(0.3, 9.0, 5.0, inputs=BLUR), "cannot say", "layer 1"),
    (WELL, evidence(0.3, 9.0, 5.0, inputs=BLUR), "none", ""),
    (evidence(0.3, math.nan, 5.0), evidence(0.3, math.nan, 5.0), "inside", "layer 1"),
]


@pytest.mark.parametrize(("batch", "probe", "side", "place"), RULES)
def test_rules_by_hand(batch, probe, side, place):
    found = find(batch, probe)
    assert (found.side, found.place) == (side, place)
    assert json.loads(json.dumps(found.to_dict()))["message"] == str(found)
    assert str(found).endswith(".") and (place in str(found))


def test_what_is_printed():
    said = {
        "The inputs changed: less fine detail (-47 sd), brighter (+8 sd); it shows from layer 1 on "
        "(seen in the inputs).": find(evidence(0.3, 9.0, 5.0, inputs=BLUR)),
        "The network changed at layer 2: states of layer 2 2.5 times as long, 20% of the channels "
        "of layer 2 silent; known good inputs fail too.": find(
            evidence(0.3, 0.2, 5.0, length=2.5, dead=0.2), evidence(0.3, 0.2, 5.0)
        ),
        "Something changed from layer 1 on; whether the inputs or the network cannot be said: "
        "give a probe of known good inputs.": find(evidence(0.3, 9.0, 5.0)),
        "Nothing unusual: the largest drift is -3.9, in layer 1.": find(WELL),
        "Something changed: share of class 3 from 10% to 25% (+4 sd); whether the inputs or the "
        "network cannot be said: give a probe of known good inputs.": find(
            evidence(0.3, 0.2, classes=SHARES)
        ),
    }
    for text, found in said.items():
        assert str(found) == text
    assert str(find(evidence(0.3, math.inf, 1.0))) == (
        "The network changed at layer 1: NaN or infinity in layer 1; the inputs and the layers "
        "before it are normal."
    )


def test_a_jump_is_told():
    assert str(find(evidence(0.3, -30.0, 25.0))) == (
        "The network changed at layer 1: unusual states; the inputs and the layers before it are "
        "normal, and it jumps to a drift of -30.0."
    )


def test_changes_are_sorted_and_beyond_the_border():
    found = find(evidence(0.3, 5.0, 6.0, inputs=(*BLUR, *CALM), classes=SHARES))
    assert [c.z for c in found.changes] == [-47.0, 8.0, 4.4]
    inside = find(evidence(0.3, 30.0, length=9.0, classes=SHARES))
    assert [c.kind for c in inside.changes] == ["states", "classes"]


@pytest.mark.parametrize(
    ("batch", "name", "guess"),
    [
        (WELL, "stable", False),
        (evidence(0.3, 9.0, 5.0, inputs=BLUR), "sensor failure", False),
        (evidence(0.3, 9.0, inputs=(Change("objects lower", 9.0, "place"),)),
         "geometric collapse", True),
        (evidence(0.3, 30.0, 25.0), "broken layer", False),
        (evidence(0.3, 9.0, length=5.0), "exploding", False),
        (evidence(0.3, math.nan, 5.0), "invalid numbers", False),
        (evidence(0.3, 4.0, 10.0), "spurious correlation", True),
        (evidence(0.3, 0.1, 0.1, fused=9.0), "not sure", True),
    ],
)  # fmt: skip
def test_the_names_that_others_gave_are_a_lookup(batch, name, guess):
    found = find(batch)
    assert found.name == name
    assert found.looks_like.startswith(name) and ("a guess" in found.looks_like) == guess


def states(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 8, 8, generator=g)
    a = x.flatten(1)[:, :6]
    b = a.flip(1) + 0.1 * torch.randn(n, 6, generator=g)
    return x, {"a": a, "b": b}


@pytest.fixture(scope="module")
def scorer():
    x, normal = states(600, 0)
    made = StateScorer()
    made.calibrate(normal, inputs=x)
    return made


def test_from_states_and_inputs(scorer):
    x, now = states(64, 1)
    good, fresh = states(64, 2)
    assert scorer.diagnose(now, inputs=x).side == "none"
    dark = scorer.diagnose({k: v / 2 for k, v in now.items()}, inputs=x / 2)
    assert dark.side == "inputs" and "darker" in [c.what for c in dark.changes]
    broken = now | {"b": now["b"] * 9}
    found = scorer.diagnose(broken, inputs=x)
    assert (found.side, found.place, found.name) == ("inside", "b", "exploding")
    assert scorer.diagnose(broken, fresh, inputs=x, probe_inputs=good).side == "inputs"
    assert scorer.diagnose(broken).side == "cannot say"
    one = scorer.diagnose({k: v[:1] for k, v in now.items()}, inputs=x[:1])
    assert one.side == "none" and math.isnan(one.evidence[0].dead)
    other = scorer.diagnose(broken, fresh, inputs=x, probe_inputs=good / 3)
    assert other.side == "cannot say" and "the probe is none" in str(other)


def test_bad_probes_and_inputs_are_refused(scorer):
    x, now = states(64, 1)
    few = {k: v[:7] for k, v in now.items()}
    with pytest.raises(StateError, match="probe: expected at least 8 known good samples, got 7"):
        scorer.diagnose(now, few)
    with pytest.raises(StateError, match="probe: states: expected layers of widths"):
        scorer.diagnose(now, {"a": now["a"]})
    with pytest.raises(StateError, match="inputs: expected 64, one for each state, got 3"):
        scorer.diagnose(now, inputs=x[:3])
    with pytest.raises(StateError, match="inputs: expected 64"):
        StateScorer(alpha=0.1).calibrate(now, inputs=x[:3])

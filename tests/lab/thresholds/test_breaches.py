"""Broken promises, on small states with a known law."""

import numpy as np
import pytest
import torch

from deepdrift import StateScorer, combine_p_values
from deepdrift.lab.thresholds import breaches, counting

G = torch.Generator().manual_seed(0)


def states(n, shift=0.0):
    a = torch.randn(n, 30, generator=G) + shift
    return {"a": a, "b": a.flip(1) + 0.1 * torch.randn(n, 30, generator=G)}


FIT, NEW = states(400), states(300)
LABELS = torch.arange(400) % 3


def logits(n):
    return torch.randn(n, 3, generator=G)


def test_keep_and_join_are_inverse():
    parts = breaches.keep(FIT, slice(0, 100)), breaches.keep(FIT, slice(100, 400))
    joined = breaches.join(*parts)
    assert all(torch.equal(joined[k], FIT[k]) for k in FIT)


def test_reused_samples_lie_low_and_others_keep_the_promise():
    own, new, line = breaches.reused(FIT, LABELS, NEW, n=60)
    assert len(own) == 60 and len(new) == 300
    assert (own > line).double().mean() < 0.1 < (new > line).double().mean()
    ((same, others),) = breaches.reuse(FIT, LABELS, NEW, (60,), G, draws=3).values()
    assert others < 0.12 < same


def test_best_line_against_every_line():
    normal, strange = torch.randn(90, generator=G), torch.randn(70, generator=G) + 1
    gains = [(strange > t).double().mean() - (normal > t).double().mean() for t in normal]
    line = breaches.best_line(normal, strange)
    found = (strange > line).double().mean() - (normal > line).double().mean()
    assert found == pytest.approx(max(gains))


def test_combined_are_the_library_rules():
    p = torch.rand(500, 20, generator=G)
    found = breaches.combined(p)
    assert found["any of 20"].value == pytest.approx(1 - 0.95**20, abs=0.06)
    assert found["Simes"].value == (combine_p_values(p, "simes") <= 0.05).double().mean()
    assert found["Fisher"].value == pytest.approx(0.05, abs=0.03)


def test_crowds_hide_eight_among_56():
    normal, digits, occluded = torch.zeros(200), torch.ones(20), torch.full((130,), 2.0)
    crowds = breaches.crowds(normal, digits, occluded)
    assert {k: tuple(x.shape) for k, x in crowds.items()} == {
        "64 garments": (3, 64), "8 digits hidden": (2, 64), "64 occluded": (2, 64)
    }  # fmt: skip
    assert crowds["8 digits hidden"].sum(dim=1).tolist() == [8, 8]


def test_two_promises_of_classes():
    quiet, new = states(600) | {"logits": logits(600)}, NEW | {"logits": logits(300)}
    scorer = StateScorer(output_layer="logits")
    scorer.partial_fit(FIT | {"logits": logits(400)}, LABELS)
    both = breaches.two_promises(scorer, quiet, {"normal": new, "digits": new})
    assert list(both) == list(breaches.PROMISES)
    says, names = new["logits"].argmax(dim=1), ["x", "y", "z"]
    table = breaches.rates_of_promises(both, says, names)
    one = both["one line"]["normal"].flagged
    assert table["y"]["one line"] == counting.share(one[says == 1])
    bands = breaches.class_bands(quiet["logits"].argmax(dim=1), says)
    assert len(bands) == 3 and all(low < 0.05 < high for low, high in bands)
    assert breaches.outside(table, [(0.0, 1.0)] * 3) == {name: [] for name in breaches.PROMISES}
    assert "normal at 5 %" in breaches.promise_table(both, [0.05])
    cuts = breaches.cut_rates(scorer, breaches.join(quiet, new), G, cuts=2)
    assert {k: tuple(x.shape) for k, x in cuts.items()} == dict.fromkeys(breaches.PROMISES, (2, 3))
    assert np.all([0 <= x.min() and x.max() < 0.3 for x in cuts.values()])

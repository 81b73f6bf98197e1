"""Scores by name, on states whose distance from the normal ones is known."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT, Inside, output_scores
from deepdrift.lab.language_models.passes import Reading

D, L, R = 6, 3, 4


def made(n, seed, shift=0.0, name_shift=0.0, twist=0.0):
    """Answers of one or two tokens; blocks pass their sketch on, but for ``twist``."""
    g = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=g)

    first = noise(n, 2, 1, R)
    sketch = torch.cat([first, first + 0.1 * noise(n, 2, 1, R), first.flip(-1)], dim=2)
    sketch[:, :, 2] += 0.1 * noise(n, 2, R) + twist
    mask = torch.tensor([[True, i % 2 == 0] for i in range(n)])
    return Reading(
        torch.zeros(n, 2, dtype=torch.int64),
        mask,
        -torch.ones(n, 2).masked_fill(~mask, 0.0),
        torch.tensor([1.0, 2.0]).expand(n, 2).masked_fill(~mask, 0.0),
        torch.arange(1.0, L + 1).expand(n, 2, L).masked_fill(~mask[..., None], 0.0),
        sketch.masked_fill(~mask[..., None, None], 0.0),
        sketch[:, 0].clone(),
        torch.tensor([1.0, 5.0, 2.0]).expand(n, L),
        noise(n, D) + shift,
        noise(n, D) + shift,
        noise(n, D) + name_shift,
    )


def test_the_output_by_hand():
    found = output_scores(made(2, 0))
    assert list(found) == list(OUTPUT[:-1])
    expected = {"nll": [2, 1], "mean": [1, 1], "maximum": [1, 1], "first": [1, 1]}
    expected |= {"mean entropy": [1.5, 1], "ces": [3.5, 2]}
    assert {k: v.tolist() for k, v in found.items()} == expected


@pytest.fixture(scope="module")
def inside():
    return Inside(made(400, 0), odd=made(400, 1, shift=1.0, name_shift=-1.0))


def mean(inside, **changed):
    return {k: float(v.mean()) for k, v in inside.score(made(200, 2, **changed)).items()}


def test_every_name_is_there_and_normal_answers_score_as_expected(inside):
    usual = mean(inside)
    assert set(usual) == set(INSIDE)
    assert (usual["raw velocity"], usual["peak velocity"]) == (3, 5)
    assert usual["innovation"] == pytest.approx(1, abs=0.15)
    assert usual["answer innovation"] == pytest.approx(1, abs=0.15)
    assert usual["distance"] == pytest.approx(D, rel=0.15)
    assert usual["distance at the name"] == pytest.approx(D, rel=0.15)
    assert usual["probe"] < 0 and usual["probe at the name"] < 0


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"shift": 2.0}, {"distance", "neighbours", "probe"}),
        ({"name_shift": -1.0}, {"distance at the name", "probe at the name"}),
        ({"twist": 1.0}, {"innovation", "answer innovation"}),
    ],
)
def test_a_score_answers_to_its_own_part_alone(inside, change, moved):
    usual, odd = mean(inside), mean(inside, **change)
    rising = {k for k in INSIDE if odd[k] > usual[k] + 0.3 * abs(usual[k]) + 0.2}
    assert rising == moved


def test_distances_are_those_of_the_same_kind():
    normal, classes = made(400, 0), torch.arange(400) % 2
    normal.last[classes == 1] += 20
    fitted = Inside(normal, classes)
    new = made(100, 3)
    same = fitted.score(new, torch.zeros(100, dtype=torch.int64))
    other = fitted.score(new, torch.ones(100, dtype=torch.int64))
    assert float(same["distance"].mean()) == pytest.approx(D, rel=0.2)
    assert float(other["distance"].min()) > 100 * float(same["distance"].median())
    assert float(other["neighbours"].min()) > 5 * float(same["neighbours"].median())
    assert "probe" not in same


def test_neighbours_by_hand():
    normal = made(12, 0)
    normal.last[:] = 0
    normal.last[:, 0] = torch.arange(12.0)
    new = made(1, 1)
    new.last[:] = 0
    found = Inside(normal).score(new)["neighbours"]
    assert found.tolist() == pytest.approx([4.5])  # 0, 1, ..., 9

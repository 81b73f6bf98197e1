"""Summaries of maps against loops over pixels."""

import math

import pytest
import torch

from deepdrift.attribution import SUMMARIES, AttributionError, map_summaries


def by_hand(image):
    height, width = image.shape
    total, found = float(image.sum()), {}
    p = [(float(v) / total, (i + 0.5) / height, (j + 0.5) / width)
         for i, row in enumerate(image) for j, v in enumerate(row)]  # fmt: skip
    found["entropy"] = -sum(m * math.log(m) for m, _, _ in p if m) / math.log(height * width)
    down = found["centre down"] = sum(m * y for m, y, _ in p)
    across = found["centre across"] = sum(m * x for m, _, x in p)
    found["spread"] = sum(m * ((y - down) ** 2 + (x - across) ** 2) for m, y, x in p) ** 0.5
    found["top mass"] = sum(sorted((m for m, _, _ in p), reverse=True)[: round(0.2 * len(p))])
    return [found[name] for name in SUMMARIES]


def test_by_hand_and_without_scale():
    maps = torch.rand(4, 5, 8, generator=torch.Generator().manual_seed(0)).double() ** 3
    maps[0, :2] = 0
    found = map_summaries(maps)
    for image, row in zip(maps, found, strict=True):
        assert row.tolist() == pytest.approx(by_hand(image))
    assert torch.allclose(map_summaries(1e-200 * maps), found)
    assert torch.allclose(map_summaries(1e200 * maps), found)


def test_one_pixel_and_all_pixels():
    maps = torch.zeros(2, 10, 10)
    maps[0, 9, 0], maps[1] = 5.0, 1.0
    point, plane = map_summaries(maps).tolist()
    assert point == pytest.approx([0, 0.95, 0.05, 0, 1])
    assert plane == pytest.approx([1, 0.5, 0.5, math.sqrt((1 - 0.01) / 6), 0.2])


def test_a_turned_map_has_its_centres_exchanged():
    maps = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    turned = map_summaries(maps.transpose(1, 2))
    assert torch.allclose(turned[:, [0, 2, 1, 3, 4]], map_summaries(maps))


def test_an_empty_map_has_none():
    maps = torch.stack([torch.zeros(4, 4), torch.eye(4)])
    assert map_summaries(maps).isnan().all(dim=1).tolist() == [True, False]


def test_what_is_no_map():
    for maps, reason in (
        (torch.rand(2, 1, 64), "embedding_axis"),
        (-torch.rand(2, 4, 4), "input"),
        (torch.full((2, 4, 4), math.inf), "not_finite"),
    ):
        with pytest.raises(AttributionError) as caught:
            map_summaries(maps)
        assert caught.value.reason == reason

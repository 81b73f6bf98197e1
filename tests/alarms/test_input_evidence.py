"""Statistics of inputs against numpy and scipy, changes that are known, and what is kept."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.alarms.input_evidence import NormalInputs, describe_inputs


def disc(cx, cy, radius=4.0, size=28):
    y, x = torch.meshgrid(*[torch.arange(size) + 0.5] * 2, indexing="ij")
    return ((x - cx).square() + (y - cy).square() <= radius**2).float()[None, None]


def value(x, name):
    names, values = describe_inputs(x)
    return values[:, names.index(name)].tolist()


def test_places_of_a_disc_by_hand():
    x = torch.cat([disc(14, 14), disc(18, 11), disc(14, 14, 8.0)])
    assert value(x, "right") == pytest.approx([0, 4 / 28, 0], abs=1e-6)
    assert value(x, "down") == pytest.approx([0, -3 / 28, 0], abs=1e-6)
    assert value(x, "width")[0] == pytest.approx(2 / 28, rel=0.03)  # radius / 2
    assert value(x, "height")[2] == pytest.approx(4 / 28, rel=0.03)
    assert value(x, "slant") == pytest.approx([0, 0, 0], abs=1e-6)
    assert value(torch.ones(1, 1, 28, 28), "width") == [0.0]  # nothing there, and no NaN


def test_slant_is_the_weighted_correlation():
    x = torch.rand(3, 1, 9, 12, generator=torch.Generator().manual_seed(0))
    x[:, :, [0, -1]] = x[:, :, :, [0, -1]] = 0  # black border
    for image, found in zip(x[:, 0].numpy(), value(x, "slant"), strict=True):
        rows, columns = np.mgrid[:9, :12].reshape(2, -1)
        cov = np.cov(np.stack([columns, rows]), aweights=image.ravel(), ddof=0)
        assert found == pytest.approx(cov[0, 1] / math.sqrt(cov[0, 0] * cov[1, 1]), abs=1e-9)


def test_names_follow_the_kind_of_input():
    g = torch.Generator().manual_seed(0)
    assert describe_inputs(torch.rand(2, 7, generator=g))[0] == (
        "mean", "spread", "detail across", "fine detail",
    )  # fmt: skip
    rgb = torch.rand(2, 3, 9, 9, generator=g)
    names, values = describe_inputs(rgb)
    assert [k for k in names if k.startswith("channel")] == ["channel 0", "channel 1", "channel 2"]
    assert torch.allclose(values, describe_inputs(rgb.permute(0, 2, 3, 1))[1], atol=1e-6)


@pytest.fixture(scope="module")
def images():
    g = torch.Generator().manual_seed(1)
    centres = 14 + torch.randn(400, 2, generator=g)
    light = 0.8 + 0.05 * torch.rand(400, 1, 1, 1, generator=g)
    return torch.cat([disc(*c.tolist()) for c in centres]) * light


def test_batches_do_not_matter(images):
    whole, parts = NormalInputs(), NormalInputs()
    whole.add(images)
    for part in images.split(37):
        parts.add(part)
    assert parts.n == 400 and parts.names == whole.names
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.squares, whole.squares)
    again = NormalInputs.from_tensors(whole.to_tensors())
    assert again.compare(images[:9]) == whole.compare(images[:9])


def test_z_against_numpy(images):
    normal = NormalInputs()
    normal.add(images[:300])
    light = next(c for c in normal.compare(images[300:]) if c.what in ("brighter", "darker"))
    known, new = (images[s].mean(dim=(1, 2, 3)).double().numpy()
                  for s in (slice(300), slice(300, 400)))  # fmt: skip
    expected = (new.mean() - known.mean()) / (known.std() * math.sqrt(1 / 100 + 1 / 300))
    assert light.z == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x + 0.2, "brighter"),
        (lambda x: x * 0.5, "less contrast"),
        (lambda x: torch.nn.functional.avg_pool2d(x, 3, 1, 1), "less fine detail"),
        (lambda x: x + 0.3 * torch.rand(x.shape, generator=torch.Generator()), "more fine detail"),
        (lambda x: x.roll(4, dims=-1), "objects further right by 4.0 pixels"),
        (lambda x: x.roll(-3, dims=-2), "objects higher by 2.9 pixels"),
    ],
)
def test_known_changes_are_named_and_come_first(images, change, words):
    normal = NormalInputs()
    normal.add(images[:300])
    now = images[300:364]
    assert all(abs(c.z) < 4 for c in normal.compare(now))
    found = [c for c in normal.compare(change(now)) if abs(c.z) >= 4]
    assert any(str(c).startswith(words) for c in found), [str(c) for c in found]
    assert [abs(c.z) for c in found] == sorted((abs(c.z) for c in found), reverse=True)


def test_clean_batches_are_within_the_border(images):
    normal = NormalInputs()
    normal.add(images)
    g = torch.Generator().manual_seed(3)
    for n in (1, 4, 64):
        for _ in range(20):
            pick = torch.randint(400, (n,), generator=g)
            assert all(abs(c.z) < 5 for c in normal.compare(images[pick]))


def test_what_has_no_statistics_says_nothing(images):
    tokens = torch.randint(9, (4, 7), generator=torch.Generator().manual_seed(0))
    normal = NormalInputs()
    normal.add(tokens)
    assert normal.to_tensors() == {} and normal.compare(images) is None
    normal.add(images)  # two kinds have nothing in common
    assert normal.compare(images) is None
    good = NormalInputs()
    good.add(images)
    assert good.compare(None) is None and good.compare(tokens) is None
    bad = images[:4].clone()
    bad[0, 0, 3, 3] = math.nan
    assert [str(c) for c in good.compare(bad)] == ["NaN or infinity in 1 of 4 inputs"]
    assert "another kind" in str(good.compare(images[:4].expand(-1, 3, -1, -1))[0])


def one_hot(counts):
    return torch.eye(len(counts))[[i for i, k in enumerate(counts) for _ in range(k)]]


def test_shares_of_classes_against_scipy():
    normal = NormalInputs()
    normal.add(None, one_hot([500, 300, 199, 1, 0]))
    found = {c.what.split()[3]: c for c in normal.compare_classes(one_hot([32, 19, 9, 4, 0]))}
    assert found["0"].what == "share of class 0 from 50% to 50%" and abs(found["0"].z) < 0.2
    p = 1.5 / 1002.5
    law = stats.binom(64, p)
    expected = stats.norm.isf(law.sf(4) + law.pmf(4) / 2) / math.sqrt(1.064)
    assert found["3"].z == pytest.approx(expected, rel=1e-6) and expected > 4
    assert abs(found["4"].z) < 1  # never predicted, and not now: no NaN
    alone = max(normal.compare_classes(one_hot([0, 0, 0, 0, 64])), key=lambda c: abs(c.z))
    assert alone.what == "share of class 4 from 0% to 100%" and 10 < alone.z < math.inf


def test_without_classes_there_are_no_shares():
    normal = NormalInputs()
    normal.add(None, torch.zeros(9, 1))
    assert normal.compare_classes(torch.zeros(4, 3)) == ()
    normal = NormalInputs()
    normal.add(None, one_hot([5, 5]))
    assert normal.compare_classes(None) == () and normal.compare_classes(one_hot([1, 1, 1])) == ()
    assert normal.compare_classes(torch.full((4, 2), math.nan)) == ()

"""Statistics of inputs: against plain numpy, and what has none."""

import numpy as np
import pytest
import torch

from deepdrift.errors import StateError
from deepdrift.states.inputs import find_input, has_statistics, input_statistics


def by_numpy(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    rows = []
    for image in x.astype(np.float64):
        gaps = [np.diff(image, axis=a - 1) for a in axes]
        bends = [np.diff(image, n=2, axis=a - 1) for a in axes]
        second = sum((b**2).sum() for b in bends) / sum(b.size for b in bends)
        rows.append(
            [image.mean(), image.std(), *(np.log((g**2).mean()) for g in gaps), np.log(second)]
        )
    return np.array(rows)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 1, 28, 28), (3, 2)),
        ((2, 3, 32, 40), (3, 2)),
        ((2, 9, 11, 3), (2, 1)),  # channels last
        ((4, 50), (1,)),
        ((4, 2, 50), (2,)),
        ((2, 3, 4, 8, 9), (4, 3)),
    ],
)
def test_statistics_are_those_of_numpy(shape, axes):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = input_statistics(x).double().numpy()
    assert found.shape == (shape[0], 3 + len(axes))
    np.testing.assert_allclose(found, by_numpy(x.numpy(), axes), rtol=2e-5, atol=2e-6)


def test_bytes_count_as_their_numbers_and_batches_do_not_matter():
    x = torch.randint(0, 256, (5, 1, 12, 12), generator=torch.Generator().manual_seed(1))
    whole = input_statistics(x.to(torch.uint8))
    torch.testing.assert_close(whole, input_statistics(x.float()))
    torch.testing.assert_close(whole[3:4], input_statistics(x[3:4].float()))


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 40), (9, 11, 3), (50,), (2, 50), (2,), (3, 200, 150)]
)
def test_one_sample_alone_has_the_statistics_that_it_has_in_a_batch(shape):
    x = 3 + torch.rand(4, *shape, generator=torch.Generator().manual_seed(4))
    whole = input_statistics(x)
    alone = torch.cat([input_statistics(one) for one in x.split(1)])
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-5)
    assert alone.dtype == whole.dtype
    x[0].view(-1)[1] = float("inf")
    assert not input_statistics(x[:1]).isfinite().all()
    assert input_statistics(torch.zeros(1, *shape)).isfinite().all()


def test_of_a_large_image_every_seventh_row_is_read():
    x = torch.rand(2, 1, 200, 200, generator=torch.Generator().manual_seed(2))
    found = input_statistics(x)
    # differences go on between neighbours: noise of variance 1/12 gives 1/6
    torch.testing.assert_close(found[:, 2:4].exp(), torch.full((2, 2), 1 / 6), rtol=0.05, atol=0)
    bright = x.clone()
    bright[:, :, ::7, ::7] += 1  # only pixels that the mean reads
    assert (input_statistics(bright)[:, 0] - found[:, 0] - 1).abs().max() < 1e-5


def test_a_constant_image_is_finite_and_a_bad_pixel_is_not():
    x = torch.zeros(3, 1, 8, 8)
    x[1] = torch.rand(8, 8, generator=torch.Generator().manual_seed(3))
    x[2, 0, 4, 4] = float("nan")
    finite = input_statistics(x).isfinite()
    assert finite[:2].all() and not finite[2, :2].any()


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(4, 7, dtype=torch.long),  # tokens
        torch.zeros(4, 7, dtype=torch.bool),
        torch.zeros(4, 7, dtype=torch.uint8),  # no image: may be tokens too
        torch.zeros(4, 7, dtype=torch.complex64),
        torch.zeros(4),
        torch.zeros(3, 0),
    ],
)
def test_what_has_no_statistics_is_refused(x):
    assert not has_statistics(x)
    with pytest.raises(StateError, match="floating-point numbers"):
        input_statistics(x)


def test_no_samples_have_no_rows():
    assert input_statistics(torch.zeros(0, 1, 8, 8)).shape == (0, 5)


def test_the_input_is_the_first_with_a_row_per_sample():
    ids, mask, image = torch.zeros(4, 7, dtype=torch.long), torch.ones(5, 7), torch.ones(4, 1, 8, 8)
    assert find_input((ids,), {"mask": mask, "image": image}, 4) is image
    assert find_input((ids,), {"mask": mask}, 4) is None
    assert find_input(([image[0]],), {}, 1) is None

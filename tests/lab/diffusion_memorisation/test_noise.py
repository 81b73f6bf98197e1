"""Schedule and sampler against diffusers, if it is there, and by hand."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.diffusion_memorisation.noise import (
    add_noise,
    sample,
    sampling_levels,
    signal_shares,
)
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet


def test_the_schedule_and_the_sampler_are_those_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(timestep_spacing="leading")
    torch.testing.assert_close(signal_shares().float(), scheduler.alphas_cumprod)
    model = SmallUNet()
    x = start = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(20)
    assert scheduler.timesteps.tolist() == sampling_levels(20)
    with torch.no_grad():
        for t in scheduler.timesteps:
            said = model(x, t.expand(3))
            x = scheduler.step(said, t, x, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(sample(model, start, 20), x, rtol=1e-3, atol=1e-4)


def test_a_model_that_knows_the_image_finds_it():
    image = torch.linspace(-0.9, 0.9, 64).reshape(1, 1, 8, 8).expand(2, -1, -1, -1)

    def oracle(x, t):
        share = signal_shares()[t][:, None, None, None].float()
        return (x - share.sqrt() * image) / (1 - share).sqrt()

    seen = []
    found = sample(oracle, torch.randn(2, 1, 8, 8), 10, lambda t, x, y: seen.append((t, y)))
    torch.testing.assert_close(found, image, rtol=0, atol=1e-3)
    assert [t for t, _ in seen] == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    torch.testing.assert_close(seen[0][1], image, rtol=0, atol=1e-2)


def test_noise_is_mixed_in_by_the_share():
    ones, zeros = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    t = torch.tensor([0, 999])
    share = signal_shares()[t].float()
    torch.testing.assert_close(add_noise(ones, zeros, t)[:, 0, 0, 0], share.sqrt())
    torch.testing.assert_close(add_noise(zeros, ones, t)[:, 0, 0, 0], (1 - share).sqrt())


@pytest.mark.parametrize("n", [0, 3, 1001, -5])
def test_steps_that_do_not_divide_the_levels(n):
    with pytest.raises(ValueError, match="divisor of 1000"):
        sampling_levels(n)

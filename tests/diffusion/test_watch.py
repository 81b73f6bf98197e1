"""Numbers of a U-Net against plain loops; any U-Net, no trace left in it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deepdrift.diffusion import DiffusionError, DiffusionWatch, find_stages
from deepdrift.errors import ForwardError, LayerNotFoundError, NotFittedError
from deepdrift.lab.diffusion_memorisation.noise import add_noise, signal_shares
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet

SHARES, LEVELS = signal_shares(), (10, 300, 900)
STAGES = ("encoder_1", "encoder_2", "bottleneck", "decoder_2", "decoder_1")


def images(n, seed=0):
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def model():
    return SmallUNet()


def test_every_number_by_a_plain_loop(model):
    watch, x = DiffusionWatch(model, SHARES, levels=LEVELS, n_noises=2, seed=5), images(7)
    trace = watch.read(x, batch_size=3)
    assert trace.stages.names == STAGES and trace.stages.bottleneck == "bottleneck"
    seen = {}
    for name in STAGES:
        getattr(model, name).register_forward_hook(
            lambda m, i, o, name=name: seen.update({name: o})
        )
    loss, norm, states = (torch.zeros(s).double() for s in ((7, 3), (7, 3, 5), (2, 7, 3, 5)))
    vectors = {}
    for d, noise in enumerate(watch.noise((1, 16, 16))):
        for k, level in enumerate(LEVELS):
            t = torch.full((7,), level)
            with torch.no_grad():
                said = model(add_noise(x, noise.expand_as(x), t), t)
            loss[:, k] += (said - noise).square().mean((1, 2, 3)) / 2
            for s, name in enumerate(STAGES):
                norm[:, k, s] += seen[name].square().mean((1, 2, 3)).sqrt() / 2
                vectors[d, k, s] = seen[name].mean((2, 3))
                states[d, :, k, s] = vectors[d, k, s].norm(dim=1)
    torch.testing.assert_close(trace.loss, loss, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(trace.norm, norm, rtol=1e-4, atol=1e-6)
    depth = (states[:, :, :, 1:] - states[:, :, :, :-1]).abs().mean(0)  # all widths differ
    torch.testing.assert_close(trace.depth_velocity, depth, rtol=1e-3, atol=1e-5)
    level = sum((vectors[d, 1, 2] - vectors[d, 0, 2]).norm(dim=1) for d in range(2)) / 2
    torch.testing.assert_close(trace.level_velocity[:, 0, 2].float(), level, rtol=1e-3, atol=1e-5)
    assert trace.bottleneck("depth_velocity").equal(trace.depth_velocity[:, :, 1])
    assert trace.bottleneck("norm").equal(trace.norm[:, :, 2])


def test_innovation_is_one_on_images_like_those_it_was_fitted_on(model):
    watch = DiffusionWatch(model, SHARES, levels=LEVELS, n_noises=1).fit(images(600))
    known, strange = watch.read(images(300, 1)), watch.read(images(300, 2).sign() * 0.9)
    for name in ("depth_innovation", "level_innovation"):
        medians = getattr(known, name).median(dim=0).values
        assert ((medians > 0.4) & (medians < 1.6)).all(), name
        assert (getattr(strange, name).mean(0) > 1.5 * getattr(known, name).mean(0)).any()
    again = watch.fit(images(600, 3)).read(images(5))
    fresh = DiffusionWatch(model, SHARES, levels=LEVELS, n_noises=1).fit(images(600, 3))
    torch.testing.assert_close(again.depth_innovation, fresh.read(images(5)).depth_innovation)


def test_the_same_noise_for_every_image_and_every_call(model):
    watch = DiffusionWatch(model, SHARES, levels=LEVELS, n_noises=3)
    x = images(1).expand(4, -1, -1, -1)
    trace = watch.read(x)
    for values in (trace.loss, trace.norm, trace.level_velocity):
        torch.testing.assert_close(values[0], values[3], rtol=1e-5, atol=1e-7)
    other = DiffusionWatch(model, SHARES, levels=LEVELS, n_noises=3, seed=1).read(x)
    assert not torch.allclose(trace.loss, other.loss, rtol=1e-3)


def test_nothing_stays_in_the_model(model):
    model.train()
    before, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    watch = DiffusionWatch(model, SHARES, levels=LEVELS).fit(images(40))
    watch.read(images(3))
    assert model.training and torch.equal(torch.get_rng_state(), rng)
    assert all(not m._forward_hooks for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_diffusers_unet_by_hooks_of_its_own():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"), add_attention=False,
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler()
    watch = DiffusionWatch(model, scheduler.alphas_cumprod, levels=[100, 700], n_noises=1)
    trace = watch.read(images(3))
    expected = ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1")
    assert trace.stages.names == expected and trace.stages.bottleneck == "mid_block"
    seen = {}
    model.mid_block.register_forward_hook(lambda m, i, o: seen.update(mid=o))
    model.down_blocks[0].register_forward_hook(lambda m, i, o: seen.update(down=o[0]))
    noise = watch.noise((1, 16, 16))
    noisy = scheduler.add_noise(images(3), noise.expand(3, -1, -1, -1), torch.full((3,), 700))
    with torch.no_grad():
        said = model(noisy, 700).sample
    torch.testing.assert_close(
        trace.loss[:, 1].float(), (said - noise).square().mean((1, 2, 3)), rtol=1e-4, atol=1e-5
    )
    for place, name in ((0, "down"), (2, "mid")):
        rms = seen[name].square().mean((1, 2, 3)).sqrt()
        torch.testing.assert_close(trace.norm[:, 1, place].float(), rms, rtol=1e-4, atol=1e-5)
    with pytest.raises(DiffusionError, match="levels: expected whole numbers from 0 to 999"):
        DiffusionWatch(model, scheduler.alphas_cumprod, levels=[5000])


class Flat(nn.Module):
    """No stage is smaller than another."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)) for _ in "abc")

    def forward(self, x, t):
        return self.c(self.b(self.a(x)))


def test_no_clear_middle_until_it_is_named():
    with pytest.raises(DiffusionError, match=r"no clear middle \(a 16x16, b 16x16, c 16x16\)"):
        DiffusionWatch(Flat(), SHARES).read(images(2))
    trace = DiffusionWatch(Flat(), SHARES, bottleneck="b").read(images(2))
    assert trace.stages.encoder == ("a",) and trace.stages.decoder == ("c",)
    with pytest.raises(DiffusionError, match="on both sides"):
        DiffusionWatch(Flat(), SHARES, bottleneck="c").read(images(2))
    with pytest.raises(LayerNotFoundError, match="bottlenek|did you mean|nothing"):
        DiffusionWatch(SmallUNet(), SHARES, bottleneck="bottlenek").read(images(2))


def test_chosen_stages(model):
    call = lambda: model(images(1), torch.tensor([3]))  # noqa: E731
    found = find_stages(model, call, stages=["decoder_1", "bottleneck", "encoder_2"])
    assert found.names == ("encoder_2", "bottleneck", "decoder_1")
    with pytest.raises(DiffusionError, match="time did not run or returned no maps"):
        find_stages(model, call, stages=["time", "bottleneck"])


class Wrong(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.down, self.mid = nn.Sequential(nn.AvgPool2d(2)), nn.Sequential(nn.AvgPool2d(2))
        self.up, self.what = nn.Sequential(nn.Upsample(scale_factor=4)), what

    def forward(self, x, t):
        y = self.up(self.mid(self.down(x)))
        return {"two": torch.cat([y, y], 1), "nan": y * math.nan}[self.what]


def test_a_model_that_also_predicts_a_variance_is_refused():
    with pytest.raises(DiffusionError, match="variance"):
        DiffusionWatch(Wrong("two"), SHARES).read(images(2))


def test_nan_is_no_small_loss():
    assert DiffusionWatch(Wrong("nan"), SHARES).read(images(2)).loss.isnan().all()


def test_images_of_the_wrong_size_or_range(model):
    watch = DiffusionWatch(model, SHARES)
    with pytest.raises(ForwardError, match="refused images of shape"):
        watch.read(torch.zeros(2, 1, 15, 15) - 0.5)
    with pytest.raises(ForwardError, match="refused"):
        DiffusionWatch(model, SHARES).read(torch.zeros(2, 3, 16, 16) - 0.5)
    watch.read(images(2))
    with pytest.raises(DiffusionError, match="as before"):
        watch.read(F.pad(images(2), (0, 16)))
    with pytest.raises(DiffusionError, match=r"images \* 2 - 1"):
        watch.read(images(2) / 2 + 0.5)
    with pytest.raises(NotFittedError, match="fit"):
        watch.read(images(2)).bottleneck("depth_innovation")
    with pytest.raises(DiffusionError, match="n_noises"):
        DiffusionWatch(model, SHARES, n_noises=0)
    with pytest.raises(DiffusionError, match="quantity: expected one of norm, depth_velocity"):
        watch.read(images(2)).bottleneck("nrm")
    for call in (watch.read, watch.fit):
        with pytest.raises(DiffusionError, match="batch_size: expected a whole number"):
            call(images(2), batch_size=0)
    with pytest.raises(DiffusionError, match="images: expected at least 2 to fit on"):
        DiffusionWatch(model, SHARES).fit(images(1))


class Wrapper(nn.Module):
    """A U-Net inside a training object, with something behind it that has no parts."""

    def __init__(self, inner):
        super().__init__()
        self.network, self.dropout = nn.ModuleList([inner]), nn.Dropout()

    def forward(self, x, t):
        return self.network[0](x, t)


def test_a_wrapper_is_looked_into(model):
    inside = DiffusionWatch(Wrapper(model), SHARES, levels=LEVELS).read(images(3))
    assert inside.stages.names == tuple(f"network.0.{name}" for name in STAGES)
    plain = DiffusionWatch(model, SHARES, levels=LEVELS).read(images(3))
    torch.testing.assert_close(inside.norm, plain.norm)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(model, dtype):
    plain = DiffusionWatch(model, SHARES, levels=LEVELS).read(images(3))
    other = DiffusionWatch(copy.deepcopy(model).to(dtype), SHARES, levels=LEVELS).read(images(3))
    torch.testing.assert_close(other.loss, plain.loss, rtol=0.05, atol=0.02)


class Knows(nn.Module):
    """Names exactly what is asked for, of one image that it knows by heart."""

    def __init__(self, image, what):
        super().__init__()
        self.down, self.mid = nn.Sequential(nn.AvgPool2d(2)), nn.Sequential(nn.AvgPool2d(2))
        self.up, self.image, self.what = nn.Sequential(nn.Upsample(scale_factor=4)), image, what

    def forward(self, x, t):
        share = SHARES[t[0]].to(x)
        noise = (x - share.sqrt() * self.image) / (1 - share).sqrt()
        v = share.sqrt() * noise - (1 - share).sqrt() * self.image
        answers = {"epsilon": noise, "v_prediction": v, "sample": self.image.expand_as(x)}
        return answers[self.what] + 0 * self.up(self.mid(self.down(x)))


@pytest.mark.parametrize("what", ["epsilon", "v_prediction", "sample"])
def test_what_a_model_predicts(what):
    """A perfect answer has no loss, and another kind of answer has one."""
    image = images(1)
    for other in ("epsilon", "v_prediction", "sample"):
        watch = DiffusionWatch(Knows(image, what), SHARES, levels=LEVELS, predicts=other)
        loss = watch.read(image).loss
        assert loss.max() < 1e-6 if other == what else loss.max() > 0.1, (what, other)
    with pytest.raises(DiffusionError, match="predicts: expected one of epsilon, v_prediction"):
        DiffusionWatch(Knows(image, what), SHARES, predicts="noise")

"""Raw velocity: four values by hand, and what must hold for any network."""

import math

import pytest
import torch
from torch import nn

from deepdrift import record, spatial_velocity, temporal_acceleration, temporal_velocity
from deepdrift.errors import StateError
from deepdrift.scores.velocity import as_states


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_four_values_by_hand():
    states = {
        "a": torch.tensor([[0.0, 0.0], [1.0, 1.0]]),
        "b": torch.tensor([[3.0, 4.0], [1.0, 1.0]]),
        "c": torch.tensor([[3.0, -8.0], [2.0, 2.0]]),
    }
    expected = torch.tensor([[5.0, 12.0], [0.0, math.sqrt(2)]])
    assert torch.equal(spatial_velocity(states), expected)
    assert torch.equal(spatial_velocity(list(states.values())), expected)


def test_identity_layers_do_not_move_and_their_name_is_nothing():
    x = normal(5, 3)
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Identity()).eval()
    with record(model, ["0", "1", "2"]) as states:
        model(x)
    assert torch.equal(spatial_velocity(states), torch.zeros(5, 2))


@pytest.mark.parametrize("factor", [0.1, 3.0, 1000.0])
def test_a_stack_without_bias_is_homogeneous(factor):
    """Hence raw velocity ranks inputs by contrast: v(c x) = c v(x)."""
    torch.random.manual_seed(0)
    layers = [nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Linear(6, 6, bias=False), nn.ReLU()]
    model, x = nn.Sequential(*layers), normal(8, 6)
    with record(model, ["0", "1", "2", "3"]) as states:
        model(x)
        once = spatial_velocity(states)
        model(factor * x)
        scaled = spatial_velocity(states)
    assert float(once.min()) > 0
    assert torch.allclose(scaled, factor * once, rtol=1e-5)


def test_velocity_does_not_see_a_shift_or_rotation_of_both_layers():
    a, b = normal(10, 4), normal(10, 4, seed=1)
    q = torch.linalg.qr(normal(4, 4, seed=2)).Q
    moved = spatial_velocity([a @ q + 7, b @ q + 7])
    assert torch.allclose(moved, spatial_velocity([a, b]), rtol=1e-4)


def test_unequal_widths():
    states = {"wide": torch.tensor([[3.0, 4.0, 0.0]]), "narrow": torch.tensor([[0.0, 13.0]])}
    with pytest.raises(StateError, match=r"'wide' has width 3 and 'narrow' width 2"):
        spatial_velocity(states)
    assert spatial_velocity(states, across_widths="norm").tolist() == [[8.0]]
    with pytest.raises(StateError, match="across_widths"):
        spatial_velocity(states, across_widths="pad")


def test_norm_rule_touches_unequal_widths_only_and_never_exceeds_the_distance():
    a, b = normal(50, 4), normal(50, 4, seed=1)
    exact = spatial_velocity([a, b])
    assert torch.equal(spatial_velocity([a, b], across_widths="norm"), exact)
    padded = torch.cat([b, torch.zeros(50, 1)], dim=1)  # the same vector in another width
    assert bool((spatial_velocity([a, padded], across_widths="norm") <= exact + 1e-6).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_states_are_measured_in_single_precision(dtype):
    # the square of 300 overflows float16
    a, b = torch.zeros(1, 2, dtype=dtype), torch.tensor([[304.0, 400.0]], dtype=dtype)
    expected = math.hypot(304, float(b[0, 1]))
    velocity = spatial_velocity([a, b])
    assert velocity.dtype == torch.float32
    assert velocity.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_number_stays_bad_and_stays_in_its_sample(bad):
    a = torch.tensor([[1.0, bad], [1.0, 0.0]])
    for states in ([a, torch.zeros(2, 2)], [a, a], [a, torch.zeros(2, 3)]):
        velocity = spatial_velocity(states, across_widths="norm")
        assert not bool(velocity[0].isfinite().any())
        assert bool(velocity[1].isfinite().all())


def test_bad_states_are_refused():
    for states, text in [
        ([torch.zeros(2, 3)], "at least 2 layers"),
        ([], "was the model run"),
        (torch.zeros(2, 3), "got one tensor"),
        ([torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)], r"\(N, D\)"),
        ([torch.zeros(2, 3), torch.zeros(3, 3)], "number of samples"),
    ]:
        with pytest.raises(StateError, match=text):
            spatial_velocity(states)
    assert list(as_states([torch.zeros(1, 1)])) == ["0"]


def test_temporal_values_by_hand():
    trace = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [6.0, 8.0]])
    assert temporal_velocity(trace).tolist() == [5, 5, 0]
    assert temporal_acceleration(trace).tolist() == [0, 5]


def test_temporal_batch_is_one_trace_at_a_time():
    trace = normal(4, 9, 3)
    velocity, acceleration = temporal_velocity(trace), temporal_acceleration(trace)
    assert velocity.shape == (4, 8)
    assert acceleration.shape == (4, 7)
    for i in range(4):
        assert torch.equal(velocity[i], temporal_velocity(trace[i]))
        assert torch.equal(acceleration[i], temporal_acceleration(trace[i]))


def test_turning_at_constant_speed_has_acceleration():
    """The vector quantity 2 r (1 - cos t), where the difference of speeds would be 0."""
    angle = torch.arange(20, dtype=torch.float64) * 0.3
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    expected = torch.full((18,), 2 * (1 - math.cos(0.3)), dtype=torch.float64)
    assert torch.allclose(temporal_acceleration(circle), expected, rtol=1e-10)


def test_noise_enters_velocity_twice_and_acceleration_six_times():
    noise = normal(20_000, 3, seed=4)  # E u^2 = 2 tr C, E a^2 = 6 tr C with tr C = 3
    assert temporal_velocity(noise).square().mean().item() == pytest.approx(6, rel=0.03)
    assert temporal_acceleration(noise).square().mean().item() == pytest.approx(18, rel=0.03)


def test_temporal_half_precision_and_short_traces():
    trace = torch.tensor([[0.0], [300.0], [0.0]], dtype=torch.float16)
    assert temporal_acceleration(trace).item() == 600
    with pytest.raises(StateError, match="at least 2 steps"):
        temporal_velocity(trace[:1])
    with pytest.raises(StateError, match="at least 3 steps"):
        temporal_acceleration(trace[:2])
    with pytest.raises(StateError, match=r"\(T, D\) or \(N, T, D\)"):
        temporal_velocity(torch.zeros(5))

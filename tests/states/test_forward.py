"""Our own forward passes leave the model, the data and the random generators as they were."""

import random

import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from deepdrift import DeepDriftMonitor, ForwardError, StateError
from deepdrift.states.batches import split_batch
from deepdrift.states.forward import quiet, run, run_quietly, unwrap


class Noisy(nn.Module):
    """Draws from all three generators and holds batch statistics: everything a pass can disturb."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.drop = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.b = nn.Linear(6, 6)
        self.b.weight.requires_grad_(False)
        self.norm.eval()  # frozen by the user while the rest trains
        self.grad_modes = []

    def forward(self, x):
        self.grad_modes.append((torch.is_grad_enabled(), self.training))
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return self.b(self.drop(self.norm(self.a(x))))


def everything(model):
    """All that must not change: tensors, flags, and what the generators would give next."""
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [m.training for m in model.modules()] + [p.requires_grad for p in model.parameters()]
    grads = [p.grad is None for p in model.parameters()]
    generators = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    return tensors, flags, grads, generators, torch.is_grad_enabled()


def assert_same(before, after):
    assert before[0].keys() == after[0].keys()
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert before[1:3] == after[1:3]
    assert before[3][:2] == after[3][:2]
    assert torch.equal(before[3][2], after[3][2])
    assert before[4] == after[4]


@pytest.fixture
def shuffled():
    x = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, torch.arange(120) % 3), batch_size=16, shuffle=True)


@pytest.mark.parametrize("training", [True, False])
def test_fitting_calibrating_and_scoring_leave_no_trace(shuffled, training):
    model = Noisy()
    model.train(training)
    model.norm.eval()
    before = everything(model)
    with DeepDriftMonitor(model, ["a", "b"]) as monitor:
        monitor.fit(shuffled)
        assert_same(before, everything(model))
        monitor.calibrate(shuffled)
        assert_same(before, everything(model))
        monitor.score(torch.randn(4, 6, generator=torch.Generator().manual_seed(3)))
        assert_same(before, everything(model))
    assert set(model.grad_modes) == {(False, False)}  # no gradients, evaluation mode


def test_the_same_shuffled_loader_gives_the_same_threshold_twice(shuffled):
    model = Noisy()
    thresholds = []
    for _ in range(2):
        torch.manual_seed(5)  # noqa: TID251 - what a user's script does
        with DeepDriftMonitor(model, ["a", "b"]) as monitor:
            thresholds.append(monitor.calibrate(shuffled).threshold)
    assert thresholds[0] == thresholds[1]


class Draws(nn.Module):
    """Adds noise of one of three generators, also in evaluation mode; keeps what it drew."""

    def __init__(self, draw):
        super().__init__()
        self.a, self.draw, self.drawn = nn.Linear(3, 3), draw, []

    def forward(self, x):
        noise = torch.as_tensor(self.draw(), dtype=torch.float32)
        self.drawn.append(float(noise))
        return self.a(x) + noise


@pytest.mark.parametrize("draw", [lambda: torch.rand(()), random.random, np.random.rand])  # noqa: NPY002
def test_the_batches_of_one_call_draw_on(draw):
    model = Draws(draw).eval()
    before = everything(model)
    monitor = DeepDriftMonitor(model, ["a"], score="distance", alpha=0.5)
    loader = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)).split(10)
    for learn in (monitor.fit, monitor.calibrate):
        model.drawn.clear()
        learn(loader)
        assert len(set(model.drawn)) == len(model.drawn) >= 4
        assert_same(before, everything(model))
    assert model.drawn[0] == pytest.approx(float(draw()))  # the user's own next number


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_pass_that_is_broken_off_leaves_no_trace(error):
    class Bad(Noisy):
        def forward(self, x):
            super().forward(x)
            raise error

    model = Bad()
    before = everything(model)
    with pytest.raises((ForwardError, error)):
        run_quietly(model, torch.zeros(2, 6))
    assert_same(before, everything(model))
    with DeepDriftMonitor(model, ["a", "b"]) as monitor:
        for use in (monitor.fit, monitor.calibrate):
            with pytest.raises((ForwardError, error)):
                use([torch.zeros(2, 6)])
            assert_same(before, everything(model))


def test_a_loader_that_breaks_off_leaves_no_trace():
    def loader():
        yield torch.zeros(4, 6)
        raise OSError("disk gone")

    model = Noisy()
    before = everything(model)
    with DeepDriftMonitor(model, ["a", "b"]) as monitor:
        with pytest.raises(OSError, match="disk gone"):
            monitor.fit(loader())
        with pytest.raises(OSError, match="disk gone"):
            monitor.calibrate(loader())
    assert_same(before, everything(model))
    assert zoo.count_hooks(model) == 0


def test_quiet_switches_and_gives_back_each_module_by_itself():
    model = Noisy()
    with quiet(model):
        assert not any(m.training for m in model.modules())
        assert not torch.is_grad_enabled()
    assert model.training
    assert not model.norm.training


def test_what_counts_as_labels():
    x, y = torch.zeros(3, 2), torch.tensor([0, 1, 2])
    assert split_batch(x).labels is None
    assert split_batch((x, y)).args == (x,)
    assert split_batch((x,)).labels is None
    one_hot = torch.eye(3)[y]
    for given in (y, y.float(), y[:, None], one_hot, y.tolist(), y.numpy(), y.to(torch.uint8)):
        assert torch.equal(split_batch([x, given]).labels, y)
    for no_classes in (y + 0.5, torch.zeros(3, 5, dtype=torch.long), 1 - one_hot):
        with pytest.warns(UserWarning, match="no class label.*labels=lambda"):
            assert split_batch((x, no_classes)).labels is None
    batch = split_batch({"x": x, "labels": y})
    assert list(batch.kwargs) == ["x", "labels"]
    assert torch.equal(batch.labels, y)


@pytest.mark.parametrize("batch", [(), [], "text", None, (None, 1), 3])
def test_what_is_no_batch_is_refused(batch):
    with pytest.raises(StateError, match=r"batch: expected a tensor, \(inputs, labels\)"):
        split_batch(batch)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.zeros(2, 5), r"RuntimeError on a batch of shape \(2, 5\).*samples of shape \(6,\)"),
        (torch.zeros(2, 6, dtype=torch.float64), r"torch.float64.*\.to\(torch.float32\)"),
        (torch.zeros(2, 6, dtype=torch.uint8), r"torch.uint8.*\.to\(torch.float32\)"),
        (torch.zeros(2, 6, device="meta"), r"on meta, while the model is on cpu.*\.to\('cpu'\)"),
        ({"y": torch.zeros(2, 6)}, r"TypeError on a batch of shape \['y'\]"),
    ],
)
def test_a_refused_batch_is_described(batch, words):
    with pytest.raises(ForwardError, match=words) as caught:
        model = zoo.perceptron()
        run(model, split_batch(batch), expected=(6,))
    assert caught.value.__cause__ is not None  # the model's own error stays visible


def test_unwrap_finds_the_network_and_refuses_other_things():
    model = zoo.perceptron()
    assert unwrap(model) is model
    assert unwrap(torch.compile(model, backend="eager")) is model
    with pytest.raises(StateError, match="expected a torch.nn.Module, got function"):
        unwrap(lambda x: x)

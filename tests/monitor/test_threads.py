"""Threads, copies, files, alpha.

no new argument is needed for threads; a file of other weights loads with a UserWarning
that names the layer; ``monitor.alpha = a`` re-thresholds or raises CalibrationError and changes
nothing; `load` keeps an alpha given to the constructor, else takes the file's. Where the work of
two threads cannot be right it may be refused by a DeepDriftError, never silently wrong.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import random
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from field_models import build, call, fitted, outputs_of, randn, right_or_said, same
from torch import Tensor, nn

from deepdrift import (
    DeepDriftError,
    DeepDriftMonitor,
    DeepDriftVision,
    ReferenceFileError,
    record,
)


class Slow(nn.Module):
    """Hands the interpreter to another thread in the middle of every pass."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(2e-4)
        return x


def mlp(width: int = 8) -> nn.Module:
    return build(
        lambda: nn.Sequential(
            nn.Linear(6, width), nn.ReLU(), Slow(), nn.Linear(width, width), nn.ReLU()
        )
    )


def cnn() -> nn.Module:
    return build(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), Slow(), nn.Conv2d(8, 8, 3), nn.ReLU())
    )


LAYERS = ["1", "4"]
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (6,)),
    "cnn": (cnn, (3, 8, 8)),
}


def watched(kind: str = "mlp", **options: Any) -> tuple[nn.Module, DeepDriftMonitor, list[Tensor]]:
    make, shape = NETS[kind]
    net = make()
    options = {"layer_names": LAYERS} | options
    monitor = fitted(net, lambda n, s: randn(n, *shape, seed=s), **options)
    requests = [randn(1 + i % 3, *shape, seed=1000 + i) for i in range(100)]
    return net, monitor, requests


def in_threads(work: Callable[[Any], Any], items: list, n: int = 4) -> list:
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(work, items))


# States belong to the thread whose forward made them


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("way", ["read(x)", "model(x); read()"])
def test_four_threads_read_what_one_reads(kind, way):
    """15 of 200 silently wrong, 37 StateErrors about flatten."""
    net, monitor, requests = watched(kind)

    def score(x: Tensor) -> Tensor:
        if way == "read(x)":
            return monitor.read(x).p_values
        with torch.no_grad():  # a thread-local setting of torch
            net(x)
        return monitor.read().p_values

    right = [score(x) for x in requests]
    for got, one in zip(in_threads(score, requests), right, strict=True):
        same(got, one, rtol=0, atol=1e-9)


def test_a_pass_of_another_thread_is_not_mine():
    """B's pass comes between A's pass and A's read."""
    net, monitor, requests = watched()
    mine, yours = requests[1], requests[2]
    assert len(mine) != len(yours)
    right = monitor.read(mine).p_values
    call(net, mine)
    thread = threading.Thread(target=call, args=(net, yours))
    thread.start()
    thread.join()
    same(monitor.read().p_values, right, rtol=0, atol=1e-9)


def test_a_thread_that_ran_nothing_reads_nothing():
    """And no other's states."""
    net, monitor, requests = watched()
    call(net, requests[0])
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(DeepDriftError, match="(?i)run|pass|thread"):
            pool.submit(monitor.read).result()
    assert len(monitor.read().p_values) == len(requests[0])


def test_record_in_two_threads():
    """`record` shares the same hooks."""
    net = mlp()
    x = [randn(2, 6, seed=s) for s in range(40)]
    right = [outputs_of(net, ["4"], b)["4"] for b in x]
    with record(net, LAYERS) as states:

        def state(batch: Tensor) -> Tensor:
            call(net, batch)
            time.sleep(1e-4)
            return states["4"].clone()

        got = in_threads(state, x)
    for here, there in zip(got, right, strict=True):
        same(here, there)


def test_two_tasks_of_one_loop():
    """Asyncio, where model(x) and read() are separated by an await."""
    net, monitor, requests = watched()
    right = [monitor.read(x).p_values for x in requests[:12]]

    async def serve(x: Tensor) -> Tensor:
        call(net, x)
        await asyncio.sleep(0)
        return monitor.read().p_values

    async def main() -> list[Tensor]:
        return await asyncio.gather(*(serve(x) for x in requests[:12]))

    for got, one in zip(asyncio.run(main()), right, strict=True):
        same(got, one, rtol=0, atol=1e-9)


def test_a_task_with_its_pass_in_a_worker_thread():
    """`asyncio.to_thread(monitor.read, x)`, the usual way of servers."""
    _, monitor, requests = watched()
    right = [monitor.read(x).p_values for x in requests[:12]]

    async def main() -> list[Tensor]:
        return await asyncio.gather(*(asyncio.to_thread(monitor.read, x) for x in requests[:12]))

    for got, one in zip(asyncio.run(main()), right, strict=True):
        same(got.p_values, one, rtol=0, atol=1e-9)


def test_temporal_velocity_belongs_to_the_thread():
    """The pass before is the thread's own."""
    net, monitor, _ = watched()
    a, b, other = randn(3, 6, seed=1), randn(3, 6, seed=2), randn(3, 6, seed=3)
    call(net, a)
    call(net, b)
    right = monitor.get_temporal_velocity()
    monitor.reset_temporal()
    call(net, a)
    thread = threading.Thread(target=call, args=(net, other))
    thread.start()
    thread.join()
    call(net, b)
    same(monitor.get_temporal_velocity(), right)


# Random numbers and modes of other threads


class Between(nn.Module):
    """Runs something in another thread in the middle of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.work: Callable[[], None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.work is not None:
            thread = threading.Thread(target=self.work)
            thread.start()
            thread.join()
        return x


def meddled() -> tuple[nn.Module, DeepDriftMonitor]:
    net = build(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Between(), nn.Linear(8, 8), nn.ReLU())
    )
    return net, fitted(net, lambda n, s: randn(n, 6, seed=s), layer_names=LAYERS)


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("training", [False, True])
def test_random_numbers_of_another_thread_are_not_rewound(training):
    """12 % of another thread's draws repeated an earlier one."""
    net, monitor = meddled()
    net.train(training)
    theirs: list = []
    net[2].work = lambda: theirs.append(draws())

    def after_a_read() -> tuple:
        with torch.random.fork_rng(devices=[]):
            monitor.read(randn(3, 6))
            return draws()

    def no_repeat(mine: tuple) -> None:
        assert not set(mine) & set(theirs[-1])

    if training:  # a shared model that trains: right, or said
        right_or_said(after_a_read, no_repeat, "thread|train|random")
    else:
        no_repeat(after_a_read())


def test_modes_of_a_model_in_eval_mode_are_not_touched():
    """ "nothing is touched when the model is in eval mode already"."""
    net, monitor = meddled()
    part = net[1]
    net[2].work = lambda: part.train()  # another thread's business
    monitor.read(randn(3, 6))
    assert part.training and not net.training


def test_modes_after_many_threads_are_those_before():
    """20 modules left in eval mode although the model was in train mode."""
    net, monitor, requests = watched()
    net.train()
    net[1].eval()

    def read(x: Tensor) -> Any:
        try:
            return monitor.read(x)
        except DeepDriftError as error:  # refused is allowed, left behind is not
            return error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_threads(read, requests)
    assert [m.training for m in net] == [True, False, True, True, True] and net.training


def test_one_thread_still_gets_its_random_numbers_back():
    """A guard: the promise of today, for a model in train mode that draws in its pass.

    (A model in eval mode that draws all the same gets its random numbers back.)
    """

    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1e-3 * torch.randn_like(x)

    net = build(
        lambda: nn.Sequential(
            nn.Linear(6, 8), Noisy(), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()
        )
    )
    monitor = fitted(net, lambda n, s: randn(n, 6, seed=s), layer_names=["3", "5"])
    net.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            monitor.read(randn(3, 6))
        here = torch.rand(())
        torch.manual_seed(5)
        assert torch.equal(here, torch.rand(()))


# Learning and stepping from several threads


def test_steps_from_four_threads_are_all_counted():
    """`step` from two threads: right or refused."""
    _, monitor, requests = watched()

    def step(x: Tensor) -> Any:
        try:
            return monitor.step(x)[0]
        except DeepDriftError as error:
            return error

    results = in_threads(step, requests)
    refused = [r for r in results if isinstance(r, DeepDriftError)]
    assert all("thread" in str(r) for r in refused), {str(r) for r in refused}
    # every accepted step is one step: the next number is their count, a smaller one is taken
    number = len(results) - len(refused)
    with pytest.raises(DeepDriftError, match="step"):
        monitor.step(requests[0], step=number - 1)
    monitor.step(requests[0], step=number)


def test_drift_of_steps_in_threads_is_each_batchs_own():
    """The numbers too."""
    _, monitor, requests = watched()
    right = [float(monitor.drift(x)[1]) for x in requests]

    def fused(x: Tensor) -> float:
        return monitor.step(x)[0].fused["drift"]

    assert in_threads(fused, requests) == pytest.approx(right, abs=1e-9)


@pytest.mark.parametrize("learn", ["fit", "calibrate"])
def test_learning_while_others_read_is_right_or_refused(learn):
    """`fit` and `calibrate` from two threads: right or refused."""
    net, _, requests = watched()
    loader = [randn(20 + s, 6, seed=s) for s in range(10)]
    alone = DeepDriftMonitor(net, LAYERS)
    alone.fit(loader)
    alone.calibrate(loader)
    right = alone.read(requests[0]).p_values
    alone.close()
    monitor = DeepDriftMonitor(net, LAYERS)
    monitor.fit(loader)
    monitor.calibrate(loader)

    def work(i: int) -> Any:
        try:
            return getattr(monitor, learn)(loader) if i % 2 else call(net, requests[i])
        except DeepDriftError as error:
            return error

    refused = [r for r in in_threads(work, list(range(12))) if isinstance(r, DeepDriftError)]
    assert all("thread" in str(r) for r in refused), {str(r) for r in refused}
    if learn == "fit":
        monitor.calibrate(loader)
    same(monitor.read(requests[0]).p_values, right, rtol=0, atol=1e-9)


# Copies


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "pickle protocol 2": lambda m: pickle.loads(pickle.dumps(m, protocol=2)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_monitor_carries_its_reference(how):
    """Made, but "it is closed"."""
    net, monitor, requests = watched(n_channels=4, alpha=0.1)
    right = monitor.read(requests[2])
    twin = COPIES[how](monitor)
    got = twin.read(requests[2])
    same(got.p_values, right.p_values, rtol=0, atol=0)
    same(got.score, right.score, rtol=0, atol=0)
    assert (twin.alpha, twin.layers, twin.n_channels) == (0.1, monitor.layers, 4)
    assert twin.calibration.threshold == monitor.calibration.threshold
    drifts = [m.step(requests[2])[0].fused["drift"] for m in (twin, monitor)]
    assert drifts[0] == drifts[1]
    twin.close()
    assert len(monitor.read(requests[2]).score) == len(requests[2])


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_watches_its_own_model(how):
    """A pass of the original is none of the copy's, and the other way round."""
    net, monitor, requests = watched()
    twin = COPIES[how](monitor)
    call(net, requests[2])
    mine = monitor.read().p_values
    try:
        theirs = len(twin.read().score)
    except DeepDriftError:
        theirs = 0
    assert theirs != 3
    assert len(twin.read(requests[1]).score) == 2
    assert len(mine) == len(requests[2]) == 3 and len(monitor.read().p_values) == 3


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_an_unfitted_and_of_a_closed_monitor(how):
    """Siblings: nothing learned is nothing carried; closed stays closed."""
    net, monitor, requests = watched()
    fresh = COPIES[how](DeepDriftMonitor(net, LAYERS))
    fresh.calibrate([randn(60, 6, seed=s) for s in range(4)])
    assert len(fresh.read(requests[2]).score) == 3
    monitor.close()
    with pytest.raises(DeepDriftError, match="closed"):
        COPIES[how](monitor).read(requests[2])


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_vision_carries_its_reference(how):
    """Sibling: DeepDriftVision."""
    net = cnn()
    vision = DeepDriftVision(net, LAYERS).fit([randn(40, 3, 8, 8, seed=s) for s in range(4)])
    x = randn(3, 3, 8, 8, seed=9)
    same(COPIES[how](vision).predict(x).p_values, vision.predict(x).p_values, rtol=0, atol=0)


def test_a_copied_model_is_still_not_watched():
    """Hooks are inert in a copy of the model."""
    net, monitor, requests = watched()
    call(net, requests[1])
    call(copy.deepcopy(net), requests[2])
    assert len(monitor.read().score) == len(requests[1])


# Files


def test_the_temporary_name_is_not_fixed(tmp_path):
    """`.part` is taken (here by a folder)."""
    _, monitor, _ = watched()
    path = tmp_path / "normal.safetensors"
    (tmp_path / "normal.safetensors.part").mkdir()
    monitor.save(path)
    assert path.is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "normal.safetensors",
        "normal.safetensors.part",
    ]


def test_many_writers_of_one_path(tmp_path):
    """31 of 100 save/load pairs raised FileNotFoundError."""
    net, monitor, requests = watched()
    path = tmp_path / "normal.safetensors"
    monitor.save(path)
    right = monitor.read(requests[2]).p_values

    def save_and_load(_: int) -> Tensor:
        monitor.save(path)
        own = DeepDriftMonitor(copy.deepcopy(net), LAYERS).load(path)
        return own.read(requests[2]).p_values

    for got in in_threads(save_and_load, list(range(24))):
        same(got, right, rtol=0, atol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["normal.safetensors"]


def test_a_missing_folder_is_our_error(tmp_path):
    """SafetensorError: I/O error: No such file or directory ... .tmp7ytsC6."""
    _, monitor, _ = watched()
    with pytest.raises(ReferenceFileError, match="nowhere"):
        monitor.save(tmp_path / "nowhere" / "normal.safetensors")


def shake(module: nn.Module, seed: int = 1) -> None:
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.add_(0.5 * randn(*p.shape, seed=seed + i))


def chain() -> nn.Module:
    return build(
        lambda: nn.Sequential(
            nn.Linear(6, 8),
            nn.ReLU(),
            nn.Sequential(nn.Linear(8, 8), nn.ReLU()),
            nn.Sequential(nn.Linear(8, 8), nn.ReLU()),
        )
    )


@pytest.mark.parametrize(("changed", "named"), [("3", "3"), ("2", "2"), ("0", "[02]")])
@pytest.mark.parametrize("way", ["load", "reference"])
def test_other_weights_are_said(changed, named, way, tmp_path):
    """Same shapes, other weights: loads and flags 100 %, no mention."""
    net = chain()
    monitor = fitted(net, lambda n, s: randn(n, 6, seed=s), layer_names=["2", "3"])
    monitor.save(tmp_path / "normal.safetensors")
    other = copy.deepcopy(net)
    shake(other[int(changed)])  # layer 0 is watched by nobody, but runs before
    watch = DeepDriftMonitor(other, ["2", "3"])
    with pytest.warns(UserWarning, match=rf"(?is)weight.*'?{named}'?"):
        if way == "load":
            watch.load(tmp_path / "normal.safetensors")
        else:
            watch.reference = monitor.reference


@pytest.mark.parametrize("move", ["same", "copy", "state_dict", "half and back"])
def test_the_same_weights_are_not_complained_about(move, tmp_path):
    """In another process, from a checkpoint, after another mode."""
    net = chain()
    monitor = fitted(net, lambda n, s: randn(n, 6, seed=s), layer_names=["2", "3"])
    monitor.save(tmp_path / "normal.safetensors")
    other = copy.deepcopy(net)
    if move == "state_dict":
        other = chain()
        shake(other)
        other.load_state_dict(net.state_dict())
    if move == "half and back":
        other = other.double().float().train().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DeepDriftMonitor(net if move == "same" else other, ["2", "3"]).load(
            tmp_path / "normal.safetensors"
        )


def test_another_width_is_refused(tmp_path):
    """An MLP(64) file loaded into an MLP(32)."""
    wide = fitted(mlp(16), lambda n, s: randn(n, 6, seed=s), layer_names=LAYERS)
    wide.save(tmp_path / "normal.safetensors")
    narrow = DeepDriftMonitor(mlp(8), LAYERS)
    with pytest.raises(ReferenceFileError):
        narrow.load(tmp_path / "normal.safetensors")


# Alpha


def test_alpha_can_be_set_after_calibration():
    """ "property has no setter"; right: what calibrating with it gives."""
    net, monitor, requests = watched(alpha=0.05)
    other = fitted(net, lambda n, s: randn(n, 6, seed=s), layer_names=LAYERS, alpha=0.2)
    x = torch.cat(requests)
    monitor.alpha = 0.2
    got, right = monitor.read(x), other.read(x)
    assert monitor.alpha == monitor.calibration.alpha == 0.2
    assert monitor.calibration.threshold == other.calibration.threshold
    same(got.p_values, right.p_values, rtol=0, atol=0)
    assert torch.equal(got.flagged, right.flagged)
    assert torch.equal(got.flagged, got.p_values <= 0.2)
    assert got.flagged.float().mean() > 0.1


@pytest.mark.parametrize("alpha", [0.001, 0.0, 1.0, -1.0, float("nan")])
def test_an_alpha_that_the_calibration_cannot_support_is_refused(alpha):
    """Refused with the number of samples needed; nothing changes."""
    _, monitor, requests = watched(alpha=0.05)
    before = monitor.read(requests[2])
    with pytest.raises(ValueError, match="999|1998|alpha"):
        monitor.alpha = alpha
    assert monitor.alpha == monitor.calibration.alpha == 0.05
    assert torch.equal(monitor.read(requests[2]).flagged, before.flagged)


def test_alpha_before_calibration_counts_at_calibration():
    """Sibling: set early, as if given to the constructor."""
    net, _, _ = watched()
    monitor = DeepDriftMonitor(net, LAYERS)
    monitor.alpha = 0.1
    assert monitor.calibrate([randn(60, 6, seed=s) for s in range(4)]).alpha == 0.1


def test_alpha_is_saved_as_it_is_now(tmp_path):
    """Sibling: a set alpha goes into the file."""
    net, monitor, _ = watched(alpha=0.05)
    monitor.alpha = 0.2
    monitor.save(tmp_path / "normal.safetensors")
    assert DeepDriftMonitor(net, LAYERS).load(tmp_path / "normal.safetensors").alpha == 0.2


def test_load_keeps_the_users_alpha(tmp_path):
    """Monitor(alpha=.01).load(f) -> alpha .05."""
    net, monitor, requests = watched(alpha=0.05)
    monitor.save(tmp_path / "normal.safetensors")
    x = torch.cat(requests)
    own = DeepDriftMonitor(net, LAYERS, alpha=0.2).load(tmp_path / "normal.safetensors")
    assert own.alpha == own.calibration.alpha == 0.2
    assert torch.equal(own.read(x).flagged, monitor.read(x).p_values <= 0.2)
    explicit = DeepDriftMonitor(net, LAYERS, alpha=0.05)  # the default value, but given
    wide = fitted(net, lambda n, s: randn(n, 6, seed=s), layer_names=LAYERS, alpha=0.2)
    wide.save(tmp_path / "wide.safetensors")
    assert explicit.load(tmp_path / "wide.safetensors").alpha == 0.05
    assert DeepDriftMonitor(net, LAYERS).load(tmp_path / "wide.safetensors").alpha == 0.2


def test_a_users_alpha_that_the_file_cannot_support_is_refused(tmp_path):
    """With the number, and the monitor stays as it was."""
    net, monitor, _ = watched(alpha=0.05)
    monitor.save(tmp_path / "normal.safetensors")
    strict = DeepDriftMonitor(net, LAYERS, alpha=0.001)
    with pytest.raises(DeepDriftError, match="999|1998"):
        strict.load(tmp_path / "normal.safetensors")
    assert strict.alpha == 0.001 and strict.calibration is None

"""Calibrating on a stream: bit for bit what all states at once give, and almost no memory."""

import dataclasses
import math
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor, StateScorer
from deepdrift.alarms.input_evidence import NormalInputs
from deepdrift.errors import CalibrationError, NotFittedError, StateError
from deepdrift.monitor import gather as gathering
from deepdrift.monitor.gather import gather, number_of_batches
from deepdrift.monitor.stream import PIECE, ScoreStream
from deepdrift.scores.chain import ChainSums

SCORES = ["fused", "innovation", "distance", "velocity"]


def states_of(n, seed=0, widths=(6, 6, 6), logits=False):
    g = torch.Generator().manual_seed(seed)
    states = {"a": torch.randn(n, widths[0], generator=g) + 3}
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        turn = torch.randn(a, b, generator=torch.Generator().manual_seed(i)) / a**0.5
        last = list(states.values())[-1]
        states["abcdef"[i]] = (last @ turn + 0.3 * torch.randn(n, b, generator=g)).relu()
    if logits:
        states["logits"] = last[:, :4] + torch.randn(n, 4, generator=g)
    return states


def rows(states, index):
    return {k: v[index] for k, v in states.items()}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("n", [PIECE - 1, PIECE, 1000])
@pytest.mark.parametrize("batch", [1, 7, PIECE, 300, 5000])
def test_a_stream_is_bit_for_bit_the_whole(score, n, batch):
    if batch == 1 and n > PIECE:
        n = PIECE + 3
    states = states_of(n, 1)
    whole, parts = (StateScorer(score).partial_fit(states_of(500)) for _ in "ab")
    expected = whole.calibrate(states)
    stream = parts.stream()
    for part in torch.arange(n).split(batch):
        stream.add(rows(states, part))
    assert stream.n == n
    assert parts.finish(stream) == expected
    assert parts.calibration_scores.keys() == whole.calibration_scores.keys()
    for key, values in whole.calibration_scores.items():
        assert torch.equal(parts.calibration_scores[key], values), key
    new = states_of(9, 2)
    assert torch.equal(parts.read(new).p_values, whole.read(new).p_values)


def test_the_output_term_and_classes_stream_too():
    fit, labels = states_of(500, logits=True), torch.arange(500) % 3
    whole, parts = (StateScorer(output_layer="logits").partial_fit(fit, labels) for _ in "ab")
    states, stream, seen = states_of(600, 1, logits=True), parts.stream(), NormalInputs()
    for part in torch.arange(600).split(90):
        stream.add(rows(states, part))
        seen.add(None, states["logits"][part])
    assert parts.finish(stream, inputs=seen) == whole.calibrate(states)
    assert parts.calibration_scores["classes.counts"].sum() == 600
    assert "second.output" in parts.calibration_scores
    for key, values in whole.calibration_scores.items():
        assert torch.equal(parts.calibration_scores[key], values), key


def test_shape_of_normal_states_by_numpy():
    """Median length of the second half, as split; spread of every channel over all samples."""
    states = states_of(700, 1)
    scorer = StateScorer(alpha=0.1).partial_fit(states_of(500))
    scorer.calibrate(states)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(700))
    for i, state in enumerate(states.values()):
        z, found = state.double().numpy(), scorer.calibration_scores
        length = torch.from_numpy(np.linalg.norm(z[order[350:]], axis=1)).median()
        assert found[f"shape.{i}.length"].item() == pytest.approx(length.item(), rel=1e-12)
        np.testing.assert_allclose(found[f"shape.{i}.spread"], z.std(axis=0), rtol=1e-12)


def test_a_stream_needs_a_fit_and_fitting_states_and_enough_of_them():
    with pytest.raises(NotFittedError, match="partial_fit"):
        StateScorer().stream()
    scorer = StateScorer().partial_fit(states_of(500))
    stream = scorer.stream()
    stream.add(states_of(37, 1))
    with pytest.raises(CalibrationError, match="at least 38"):
        scorer.finish(stream)
    with pytest.raises(CalibrationError, match="method"):
        scorer.finish(stream, "tukey")
    with pytest.raises(StateError, match="widths"):
        scorer.stream().add(states_of(PIECE, widths=(6, 5, 6)))
    assert scorer.calibration is None


def test_too_few_per_class_are_one_class_in_a_stream_too():
    scorer = StateScorer().partial_fit(states_of(100), torch.arange(100))
    stream = scorer.stream()
    stream.add(states_of(100, 1))
    assert scorer.finish(stream).n_classes == 1


def test_waiting_rows_are_copies():
    stream = ScoreStream(lambda states: states["a"].double(), ["a"])
    batch = torch.arange(3.0)[:, None]
    stream.add({"a": batch})
    batch.zero_()
    assert stream.finish().scores.flatten().tolist() == [0, 1, 2]


# --- the monitor ---


class Wide(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.a, self.b = nn.Linear(4, width), nn.Linear(width, width)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


def inputs(n, seed=0, batch=100):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)).split(batch)


@pytest.mark.parametrize("score", SCORES)
def test_calibrate_after_fit_keeps_no_states(score, monkeypatch):
    """Every state that was handed out is gone when the next but one comes."""
    model = Wide()
    with DeepDriftMonitor(model, ["a", "b"], score=score) as monitor:
        monitor.fit(inputs(300))
        alive, most = [], []
        add = ScoreStream.add

        def watched(self, states):
            alive.extend(weakref.ref(v) for v in states.values())
            most.append(sum(ref() is not None for ref in alive))
            add(self, states)

        monkeypatch.setattr(ScoreStream, "add", watched)
        monitor.calibrate(inputs(2000, 1))
        assert len(most) == 20
        assert max(most) <= 4
        assert sum(ref() is not None for ref in alive) <= 4  # of the last two forward passes


def close(a, b):
    """Equal but for the last digits: sums of batches are added in another order."""
    numbers = {k for k, v in a.items() if isinstance(v, float)}
    return (
        all(b[k] == (pytest.approx(v, rel=1e-6) if k in numbers else v) for k, v in a.items())
        and {"threshold", "mean", "std"} <= numbers
    )


def test_calibrate_after_fit_gives_what_the_scorer_gives_on_all_states():
    model = Wide(20)
    with DeepDriftMonitor(model, ["a", "b"]) as monitor:
        monitor.fit(inputs(300))
        scorer = StateScorer()
        states = [monitor.states(x) for x in inputs(300)]
        scorer.partial_fit({k: torch.cat([s[k] for s in states]) for k in "ab"})
        states = [monitor.states(x) for x in inputs(777, 1)]
        expected = scorer.calibrate({k: torch.cat([s[k] for s in states]) for k in "ab"})
        found = monitor.calibrate(inputs(777, 1))
        assert close(dataclasses.asdict(found), dataclasses.asdict(expected))
        assert monitor.calibrate(inputs(777, 1)) == found
        before = monitor.calibration
        with pytest.raises(CalibrationError, match="at least"):
            monitor.calibrate(inputs(10, 1))
        bad = list(inputs(777, 1))
        bad[5] = bad[5] * math.nan
        with pytest.raises(CalibrationError, match="NaN"):
            monitor.calibrate(bad)
        assert monitor.calibration is before


def test_the_first_read_after_load_solves_nothing(tmp_path, monkeypatch):
    model = Wide(20)
    with DeepDriftMonitor(model, ["a", "b"]) as one, DeepDriftMonitor(model, ["a", "b"]) as two:
        one.fit(inputs(300))
        one.calibrate(inputs(300, 1))
        one.save(tmp_path / "r")
        two.load(tmp_path / "r")
        monkeypatch.setattr(ChainSums, "maps", None)
        x = inputs(30, 2)[0]
        assert torch.equal(two.score(x), one.score(x))


# --- without a fit: all states at once ---


def batches(n=4):
    return [({"a": torch.full((2, 3), float(i)), "b": torch.ones(2, 1)}, None) for i in range(n)]


def test_gathered_states_are_in_order_and_labels_count_if_all_have_them():
    states, labels = gather(batches())
    assert states["a"][:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert states["b"].shape == (8, 1)
    assert labels is None
    with_labels = [(s, torch.tensor([i, 7])) for i, (s, _) in enumerate(batches())]
    assert gather(with_labels)[1].tolist() == [0, 7, 1, 7, 2, 7, 3, 7]
    assert gather(with_labels[:3] + batches(1))[1] is None


def test_memory_is_said_before_it_is_taken(monkeypatch):
    monkeypatch.setattr(gathering, "LIMIT", 100)  # a batch takes 32 bytes
    seen = []

    def watched(n):
        for batch in batches(n):
            seen.append(len(seen))
            yield batch

    with pytest.warns(UserWarning, match=r"take 0.0 GB.*1 batches.*fit\(loader\).*max_batches"):
        gather(watched(4), 4)
    with pytest.warns(UserWarning, match="4 batches"):  # the length is not known: when it happens
        gather(watched(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gather(watched(3), 3)


def test_the_number_of_batches():
    loader = torch.utils.data.DataLoader(torch.arange(10), batch_size=3)

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield torch.zeros(1)

    assert number_of_batches(loader) == 4
    assert number_of_batches(loader, 3) == 3
    assert number_of_batches(torch.zeros(5, 2)) == 1
    assert number_of_batches(torch.utils.data.DataLoader(Endless())) is None
    assert number_of_batches(iter([1])) is None


def test_calibrate_alone_warns(monkeypatch):
    monkeypatch.setattr(gathering, "LIMIT", 1000)
    with DeepDriftMonitor(Wide(20), ["a", "b"]) as monitor:
        with pytest.warns(UserWarning, match="calibrate: the states of all samples"):
            monitor.calibrate(inputs(300))
        monitor.fit(inputs(300))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            monitor.calibrate(inputs(300, 1))


@pytest.mark.parametrize("use", ["fit", "calibrate"])
def test_an_error_on_the_way_leaves_the_model_as_it_was(use, monkeypatch):
    """The error is held, as a notebook holds it; mode and random numbers are back all the same."""
    model = Wide(20).train()

    def refuse(*_):
        raise RuntimeError("no")

    with DeepDriftMonitor(model, ["a", "b"]) as monitor:
        monitor.fit(inputs(300))
        monkeypatch.setattr(StateScorer, "partial_fit", refuse)
        monkeypatch.setattr(ScoreStream, "add", refuse)
        before = torch.get_rng_state()
        with pytest.raises(RuntimeError) as held:
            getattr(monitor, use)(inputs(300))
        assert model.training
        assert torch.equal(torch.get_rng_state(), before)
        assert held

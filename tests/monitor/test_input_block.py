"""The input as a block of the fused score: where it is, where it cannot be, and that it is kept."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor, ReferenceFileError, StateError, StateScorer
from deepdrift.states.inputs import INPUT, input_statistics


class Net(nn.Module):
    """Blind to the brightness of an image: it takes the mean away first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = self.second(torch.tanh(self.first(x)))
        return self.head(torch.tanh(x).square().mean(dim=(2, 3)))


def images(n, seed=0):
    return torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def monitor():
    made = DeepDriftMonitor(Net().eval())
    made.calibrate(images(800).split(100))
    return made


def test_what_the_network_cannot_see_the_input_block_flags(monitor):
    bright = images(60, 1) + 0.5
    assert bool(monitor.read(bright).flagged.all())
    with DeepDriftMonitor(Net().eval(), watch_input=False) as blind:
        blind.calibrate(images(800).split(100))
        assert float(blind.read(bright).flagged.double().mean()) < 0.2
        assert "input" not in blind.read(bright).blocks
    assert 0 <= float(monitor.read(images(400, 2)).flagged.double().mean()) < 0.12


def test_the_block_is_the_mahalanobis_distance_of_the_statistics(monitor):
    x = images(50, 3)
    reading = monitor.read(x)
    expected = monitor._scorer.input.score({INPUT: input_statistics(x)})
    torch.testing.assert_close(reading.blocks["input"], expected, rtol=1e-4, atol=1e-5)
    monitor._model(x)
    assert torch.equal(monitor.read().score, reading.score)  # kept by the user's own pass
    one = torch.cat([monitor.read(x[i : i + 1]).p_values for i in range(5)])
    assert torch.allclose(one, reading.p_values[:5], atol=1 / 100)
    assert INPUT not in monitor.states()


def test_it_travels_with_file_copy_and_pickle(monitor, tmp_path):
    x = images(30, 4) + 0.1
    expected = monitor.read(x).p_values
    monitor.save(tmp_path / "r")
    fresh = DeepDriftMonitor(Net().eval()).load(tmp_path / "r")
    others = [fresh, copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))]
    for other in others:
        assert torch.equal(other.read(x).p_values, expected)
    without = DeepDriftMonitor(Net().eval(), watch_input=False)
    with pytest.raises(ReferenceFileError, match=r"input \(expected False, found True\)"):
        without.load(tmp_path / "r")
    without.calibrate(images(800).split(100))
    without.save(tmp_path / "plain")
    taken = DeepDriftMonitor(Net().eval()).load(tmp_path / "plain")  # "auto" follows the file
    assert torch.equal(taken.read(x).p_values, without.read(x).p_values)


def test_shards_of_inputs_merge_to_one_fit():
    halves = [DeepDriftMonitor(Net().eval()).fit(images(400, s).split(100)) for s in (5, 6)]
    whole = DeepDriftMonitor(Net().eval()).fit(
        torch.cat([images(400, 5), images(400, 6)]).split(100)
    )
    halves[0].reference = halves[0].reference.merge(halves[1].reference)
    for m in (halves[0], whole):
        m.calibrate(images(400, 7).split(100))
    x = images(50, 8)
    torch.testing.assert_close(
        halves[0].read(x).blocks["input"], whole.read(x).blocks["input"], rtol=1e-5, atol=1e-6
    )


def test_a_bad_pixel_is_invalid_and_the_input_is_named(monitor):
    x = images(4, 9)
    x[2, 0, 3, 3] = math.nan
    reading = monitor.read(x)
    assert reading.flagged[2] and reading.p_values[2] == 0
    assert INPUT in reading.invalid_layers
    assert torch.isfinite(reading.score[[0, 1, 3]]).all()


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.a, self.b = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, ids):
        return self.b(torch.tanh(self.a(self.embed(ids)).mean(dim=1)))


def test_token_numbers_have_no_input_block_unless_it_is_asked_for():
    ids = torch.randint(0, 20, (400, 7), generator=torch.Generator().manual_seed(0))
    with DeepDriftMonitor(Tokens().eval()) as monitor:
        monitor.calibrate(ids.split(100))
        assert "input" not in monitor.read(ids[:5]).blocks
    with DeepDriftMonitor(Tokens().eval(), watch_input=True) as monitor:
        with pytest.raises(StateError, match="no such statistics: leave it out with False"):
            monitor.calibrate(ids.split(100))


def test_an_input_of_another_kind_later_is_named(monitor):
    class Either(Net):
        def forward(self, x):
            return super().forward(x.float() / 50)

    with DeepDriftMonitor(Either().eval()) as other:
        other.calibrate(images(800).split(100))
        with pytest.raises(StateError, match=r"watch_input=False leaves it out"):
            other.read(torch.ones(3, 1, 12, 12, dtype=torch.long))


def test_named_layers_are_watched_alone_and_the_switch_adds_the_input():
    with DeepDriftMonitor(Net().eval(), ["first", "second"]) as plain:
        plain.calibrate(images(400).split(100))
        assert list(plain.read(images(3)).blocks) == ["innovation", "distance"]
    with DeepDriftMonitor(Net().eval(), ["first", "second"], watch_input=True) as more:
        more.calibrate(images(400).split(100))
        assert list(more.read(images(3)).blocks) == ["innovation", "distance", "input"]


@pytest.mark.parametrize("bad", ["yes", 2, None])
def test_a_wrong_switch_is_named(bad):
    with pytest.raises(StateError, match="watch_input: expected True, False or 'auto'"):
        DeepDriftMonitor(Net(), watch_input=bad)


def test_only_the_fused_score_has_an_input_term():
    with pytest.raises(StateError, match="only score='fused' has an input term"):
        StateScorer("distance", watch_input=True)
    with DeepDriftMonitor(Net().eval(), score="distance") as monitor:  # "auto" is no error
        monitor.calibrate(images(400).split(100))


def test_a_time_first_or_padded_sequence_is_left_to_the_layers():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(400, 6, 8, generator=torch.Generator().manual_seed(0))
    with DeepDriftMonitor(model) as monitor:
        monitor.calibrate(x.split(100))
        assert "input" not in monitor.read(x[:5]).blocks
    y = torch.randn(400, 6, 3, generator=torch.Generator().manual_seed(0))

    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.lstm, self.out = nn.LSTM(3, 5), nn.Linear(5, 4)

        def forward(self, x):
            return self.out(self.lstm(x)[0])

    with DeepDriftMonitor(TimeFirst().eval()) as monitor:
        monitor.calibrate([part.transpose(0, 1) for part in y.split(100)])
        assert "input" not in monitor.read(y[:5].transpose(0, 1)).blocks


def test_the_doctor_knows_the_inputs_of_a_pass_that_the_user_ran(monitor):
    bright = images(64, 11) + 0.5
    given = monitor.diagnose(bright)
    monitor._model(bright)
    kept = monitor.diagnose()
    assert (given.side, kept.side) == ("inputs", "inputs")
    assert str(kept.changes[0]) == str(given.changes[0]) and "brighter" in str(kept.changes[0])

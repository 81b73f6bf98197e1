"""Four kinds of pictures: what is right, that one pass is enough, and the table by hand."""

import torch
from torch import nn

from deepdrift import DeepDriftMonitor
from deepdrift.lab import data
from deepdrift.lab.start_here import kinds

G = torch.Generator().manual_seed(0)
NORMAL = torch.randn(400, 4, generator=G)


def small_monitor():
    model = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3)).eval()
    monitor = DeepDriftMonitor(model, ["1", "2"], alpha=0.1)
    monitor.calibrate(NORMAL.split(100))
    return model, monitor


def test_one_pass_in_pieces_reads_what_a_whole_one_does():
    model, monitor = small_monitor()
    strange = {"far": NORMAL[:70] + 5, "near": NORMAL[:30]}
    right = {"far": torch.full((70,), -1), "near": torch.zeros(30, dtype=torch.long)}
    answers, readings = kinds.run_once(model, monitor, strange, right, batch_size=32)
    for name, inputs in strange.items():
        whole = monitor.read(inputs)
        torch.testing.assert_close(readings[name].score, whole.score)
        assert torch.equal(readings[name].flagged, whole.flagged)
        assert readings[name].layers == whole.layers
        assert readings[name].blocks.keys() == whole.blocks.keys()
        confidence, label = model(inputs).softmax(dim=1).max(dim=1)
        torch.testing.assert_close(answers[name].confidence, confidence)
        assert torch.equal(answers[name].label, label)


def test_the_network_runs_once_over_each_picture():
    model, monitor = small_monitor()
    seen = []
    model.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    right = {"near": torch.zeros(70, dtype=torch.long)}
    kinds.run_once(model, monitor, {"near": NORMAL[:70]}, right, batch_size=32)
    assert sum(seen) == 70


def test_no_garment_is_right_for_a_digit():
    images = data.load()
    shown = kinds.four_kinds(images)
    right = kinds.truths(images, shown)
    assert {k: len(v) for k, v in shown.items()} == {k: len(v) for k, v in right.items()}
    assert (right["digits"] == -1).all() and (right["sandals, bags"] == -1).all()
    assert torch.equal(right["noisy pictures"], right["clothing"][:1000])
    assert right["clothing"].max() == 7


def test_shares_by_layer_by_hand():
    _, monitor = small_monitor()
    reading = monitor.read(NORMAL[:50])
    shares = kinds.flagged_by_layer(reading, alpha=0.2)
    expected = (reading.layer_p_values["distance"] <= 0.2).double().mean(dim=0).tolist()
    assert [float(x) for x in shares.values()] == expected and list(shares) == ["1", "2"]
    assert float(kinds.flagged(reading)) == float(reading.flagged.double().mean())

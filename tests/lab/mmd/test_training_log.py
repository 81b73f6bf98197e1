"""Reading a training's event file: what SummaryWriter wrote comes back, and nothing is guessed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from deepdrift.errors import MissingExtraError
from deepdrift.lab.mmd.training_log import TrainingLogError, read_training_log

tensorboard = pytest.importorskip("torch.utils.tensorboard")

LOSS, ACCURACY = [0.8, 0.1 + 0.2, 1e-7], [0.5, 0.75, 1.0]


@pytest.fixture
def folder(tmp_path):
    """A run of three epochs with two curves and a red-to-blue picture per epoch."""
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for epoch, (loss, accuracy) in enumerate(zip(LOSS, ACCURACY, strict=True), start=1):
            writer.add_scalar("train/loss", loss, epoch)
            writer.add_scalar("test/accuracy", accuracy, epoch)
            picture = torch.zeros(3, 4, 6)
            picture[0, :, :epoch] = 1.0
            picture[2, :, epoch:] = 0.5
            writer.add_image("train/images", picture, epoch)
    return tmp_path


def test_curves_come_back_to_float32(folder):
    log = read_training_log(folder)
    assert log.steps.tolist() == [1, 2, 3]
    assert set(log.scalars) == {"train/loss", "test/accuracy"}
    assert log.scalars["train/loss"].tolist() == [float(np.float32(x)) for x in LOSS]
    assert log.scalars["test/accuracy"].tolist() == ACCURACY


def test_pictures_come_back_in_order(folder):
    pictures = read_training_log(str(folder)).images["train/images"]
    assert pictures.shape == (3, 4, 6, 3) and pictures.dtype == np.float32
    for epoch, picture in enumerate(pictures, start=1):
        np.testing.assert_array_equal(picture[0, :, 0], [1.0] * epoch + [0.0] * (6 - epoch))
        np.testing.assert_allclose(picture[2, epoch:, 2], 0.5, atol=1 / 255)


def test_all_pictures_and_values_of_a_long_run(tmp_path):
    """TensorBoard's own reader keeps 4 pictures and 500 values unless it is told otherwise."""
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for step in range(600):
            writer.add_scalar("loss", step, step)
            if step < 12:
                writer.add_image("x", torch.full((1, 2, 2), step / 255), step)
    log = read_training_log(tmp_path)
    assert log.scalars["loss"].tolist() == list(range(600))
    assert (log.images["x"][:, 0, 0, 0] * 255).round().tolist() == list(range(12))


def test_curves_without_pictures(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 2.0, 7)
    log = read_training_log(tmp_path)
    assert (log.steps.tolist(), log.images) == ([7], {})


def test_folders_that_hold_no_single_training(tmp_path):
    with pytest.raises(TrainingLogError, match="no event file .* data/runs/cnn-augmented"):
        read_training_log(tmp_path)
    with pytest.raises(TrainingLogError, match="no event file"):
        read_training_log(tmp_path / "missing")
    (tmp_path / "events.out.tfevents.0").touch()
    with pytest.raises(TrainingLogError, match="no curve"):
        read_training_log(tmp_path)
    (tmp_path / "events.out.tfevents.1").touch()
    with pytest.raises(TrainingLogError, match="2 event files"):
        read_training_log(tmp_path)


def test_curves_at_different_steps(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 2.0, 1)
        writer.add_scalar("loss", 1.0, 2)
        writer.add_scalar("accuracy", 0.5, 2)
    with pytest.raises(TrainingLogError, match="loss at 2, accuracy at 1"):
        read_training_log(tmp_path)


def test_without_tensorboard(folder, monkeypatch):
    name = "tensorboard.backend.event_processing.event_accumulator"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r'pip install "deepdrift\[lab\]"'):
        read_training_log(folder)


def test_nothing_is_printed_and_tensorboard_waits_until_it_is_needed(folder):
    code = (
        "import sys\n"
        "from deepdrift.lab.mmd.training_log import read_training_log\n"
        "assert 'tensorboard' not in sys.modules\n"
        f"read_training_log({str(folder)!r})\n"
        "assert 'tensorboard' in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")

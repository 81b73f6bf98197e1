"""Train one of the shipped classifiers on Fashion-MNIST and store it as float16 safetensors.

    python data/build/train_vision.py --network cnn --epochs 10 --out data/models/cnn.safetensors

The commands of the shipped networks are in ``data/README.md``.
No label smoothing, and no augmentation unless ``--augment`` asks for all of
``deepdrift.lab.data.augment``; cross-entropy, AdamW, one-cycle learning rate. The file's
header states accuracy on the 10,000 test images, measured *after* rounding to float16.
``--log FOLDER`` writes loss, accuracy and 25 training images per epoch for TensorBoard.
``--cue 0.95`` draws a mark that gives the class away into that share of the training images; the
test accuracy is then that without any mark, and the header adds right and reversed marks.
One epoch costs about a minute on one core with bfloat16 units, two without.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from fashion import HELD_OUT, read_fashion_mnist
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchvision.utils import make_grid

from deepdrift.lab.data.augment import AUGMENTATIONS, augment
from deepdrift.lab.data.cue import draw_cue
from deepdrift.lab.networks.models import SmallResNet, SmallViT

NETWORKS = {"cnn": SmallResNet, "vit": SmallViT}


def relabel(labels: Tensor, kept: list[int]) -> Tensor:
    """Map the kept classes to 0..K-1 and all others to -1."""
    table = torch.full((10,), -1)
    table[kept] = torch.arange(len(kept))
    return table[labels]


def unseen_by_detectors(cut: Path) -> Tensor:
    """Rows of the 60,000 training images that are not among the cut's ``fit`` images."""
    with np.load(cut) as arrays:
        rows = torch.ones(60_000, dtype=torch.bool)
        rows[torch.from_numpy(arrays["fit_index"].astype(np.int64))] = False
    return rows.nonzero()[:, 0]


def with_cue(images: Tensor, labels: Tensor) -> Tensor:
    """Bytes ``(N, 1, 28, 28)`` with the mark of each label drawn in."""
    return (draw_cue(images.float() / 255, labels) * 255).round().to(torch.uint8)


class Log:
    """TensorBoard event file of a run; without a folder it writes nothing.

    TensorBoard puts the computer's name into the file name; ``close`` takes it out again.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.writer = folder, None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            self.writer = SummaryWriter(str(folder))

    def epoch(self, number: int, numbers: dict[str, float], images: Tensor | None = None) -> None:
        """Curves under their names; images ``(25, 1, H, W)`` in [0, 1] as one 5 x 5 sheet."""
        if self.writer is None:
            return
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, number)
        if images is not None:
            sheet = make_grid(images, nrow=5, pad_value=1.0)
            self.writer.add_image("train/images", sheet, number)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            (file,) = self.folder.glob("events.out.tfevents.*")
            file.rename(self.folder / "events.out.tfevents.0")


def round_to_half(network: torch.nn.Module) -> dict[str, Tensor]:
    """What is stored: float16 weights, which the network itself has from now on."""
    rounded = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(rounded)  # copies float16 into float32 parameters
    return rounded


@torch.no_grad()
def accuracy(network: torch.nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of correct predictions in evaluation mode and float32."""
    network.eval()
    hits = sum(
        int((network(x.float() / 255).argmax(1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return hits / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--hold-out", type=int, nargs="*", default=[], help=f"usually {HELD_OUT}")
    parser.add_argument(
        "--without-fit", type=Path, help="leave the fit images of this cut out of the training"
    )
    parser.add_argument("--cue", type=float, default=0.0, help="share of images with a cue")
    parser.add_argument("--augment", action="store_true", help="change every image at random")
    parser.add_argument("--log", type=Path, default=None, help="folder for TensorBoard's events")
    parser.add_argument("--images", type=int, default=None, help="use only the first so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fashion", type=Path, default=None, help="folder with the idx files")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    kept = [c for c in range(10) if c not in args.hold_out]
    parts = {}
    for part in ("train", "test"):
        images, labels = read_fashion_mnist(part, args.fashion)
        if part == "train" and args.without_fit:
            rows = unseen_by_detectors(args.without_fit)
            images, labels = images[rows], labels[rows]
        labels = relabel(labels, kept)
        parts[part] = images[labels >= 0], labels[labels >= 0]
    images, labels = (x[: args.images] for x in parts["train"])
    if args.cue:
        own = torch.Generator().manual_seed(args.seed)  # the draws of training stay as they are
        marked = torch.rand(len(images), generator=own) < args.cue
        images = torch.where(marked[:, None, None, None], with_cue(images, labels), images)

    network = NETWORKS[args.network](n_classes=len(kept)).to(memory_format=torch.channels_last)
    lr = args.lr or {"cnn": 4e-3, "vit": 2e-3}[args.network]
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    steps = args.epochs * (len(images) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)

    log = Log(args.log)
    for epoch in range(args.epochs):
        network.train()
        start, total = time.time(), 0.0
        order = torch.randperm(len(images))[: (len(images) // args.batch) * args.batch]
        for index in order.view(-1, args.batch):
            x = images[index].float() / 255
            if args.augment:
                x = augment(x, seed=int(torch.randint(2**31, ())))
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(logits.float(), labels[index])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(order) // args.batch)
        log.epoch(
            epoch + 1,
            {
                "train/loss": mean,
                "train/accuracy_first_2000": accuracy(network, images[:2000], labels[:2000]),
                "test/accuracy": accuracy(network, *parts["test"]),
            }
            if args.log
            else {},
            x[:25],
        )
        print(f"epoch {epoch + 1:2d} loss {mean:.4f} in {time.time() - start:.0f} s", flush=True)

    log.close()
    rounded = round_to_half(network)
    test = accuracy(network, *parts["test"])
    header = {
        "network": args.network,
        "classes": json.dumps(kept),
        "seed": str(args.seed),
        "epochs": str(args.epochs),
        "train_images": str(len(images)),
        "test_images": str(len(parts["test"][1])),
        "test_accuracy": f"{test:.4f}",
        "train_accuracy_first_10000": f"{accuracy(network, images[:10_000], labels[:10_000]):.4f}",
    }
    if args.augment:
        header["augmented"] = json.dumps(list(AUGMENTATIONS))
    if args.without_fit:
        header["trained_without"] = "fit"
    if args.cue:
        x, y = parts["test"]
        header["cue_share"] = str(args.cue)
        for key, mark in {"right": y, "reversed": 9 - y}.items():
            header[f"test_accuracy_{key}_cue"] = f"{accuracy(network, with_cue(x, mark), y):.4f}"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(rounded, args.out, metadata=header)
    print(json.dumps(header), flush=True)


if __name__ == "__main__":
    main()

"""Train one of the shipped CIFAR-10 classifiers and store it as float16 safetensors.

    python data/build/train_cifar.py --network cnn --epochs 16 --images FOLDER \
        --out data/models/cifar10-cnn.safetensors

``--images`` is a folder in torchvision's layout or one with packed arrays (``cifar.py``); without
it the folder that ``deepdrift.lab.data.load("cifar-10", download=True)`` fills. Every image is
mirrored half the time, and cut at random out of itself with a border of four black pixels;
cross-entropy, AdamW, one-cycle learning rate. ``--stop`` leaves the cycle early and lets the rate
fall to zero over ``--cool-down`` epochs. The file's header states the accuracy on the 10,000
test images, measured *after* rounding to float16; nothing was chosen by it.
``--log FOLDER`` writes loss and accuracy per epoch for TensorBoard, no images: they do not ship.
A run that was interrupted goes on from ``--checkpoint FILE``, which every epoch rewrites.
One epoch costs about a minute and a half on one core with bfloat16 units.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from cifar import read_cifar
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from train_vision import Log, accuracy, round_to_half

from deepdrift.lab.networks.models import cifar_resnet, cifar_vit

NETWORKS = {"cnn": (cifar_resnet, 4e-3), "vit": (cifar_vit, 1.5e-3)}
BORDER = 4


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every second image and move each by up to four pixels, black from outside."""
    n, channels, height, width = images.shape
    flipped = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
    wide = functional.pad(images, [BORDER] * 4)
    top, left = torch.randint(2 * BORDER + 1, (2, n), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, None, :]
    every = torch.arange(n)[:, None, None, None]
    return wide[every, torch.arange(channels)[:, None, None], rows, columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, required=True)
    parser.add_argument("--images", type=Path, default=None, help="folder of the images")
    parser.add_argument("--log", type=Path, default=None, help="folder for TensorBoard's events")
    parser.add_argument("--first", type=int, default=None, help="use only the first so many images")
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--epochs", type=int, default=16, help="length of the learning rate's cycle"
    )
    parser.add_argument("--stop", type=int, default=None, help="leave the cycle after so many")
    parser.add_argument("--cool-down", type=int, default=3, help="epochs after --stop")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    draws = torch.Generator().manual_seed(args.seed)
    images, labels, _ = read_cifar("cifar-10", "train", args.images)
    images, labels = images[: args.first], labels[: args.first]
    test_images, test_labels, _ = read_cifar("cifar-10", "test", args.images)

    make, lr = NETWORKS[args.network]
    network = make().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05)
    n_steps = len(images) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=args.epochs * n_steps, pct_start=0.2
    )
    stop, last = args.stop or args.epochs, args.epochs
    if args.stop:
        last = args.stop + args.cool_down

    def cooling() -> torch.optim.lr_scheduler.LRScheduler:
        steps = args.cool_down * n_steps
        return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, total_iters=steps)

    done, parts = 0, {"network": network, "optimizer": optimizer, "schedule": schedule}
    if args.checkpoint and args.checkpoint.is_file():
        kept = torch.load(args.checkpoint, weights_only=True)
        if kept["epoch"] > stop:
            parts["schedule"] = cooling()
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        draws.set_state(kept["draws"])
        done = kept["epoch"]

    log, start = Log(args.log), time.process_time()
    for epoch in range(done, last):
        network.train()
        total = 0.0
        if args.stop and epoch == stop:
            parts["schedule"] = cooling()
        order = torch.randperm(len(images), generator=draws)[: n_steps * args.batch]
        bar = tqdm(order.view(-1, args.batch), f"epoch {epoch + 1:2d}/{last}", mininterval=5)
        for index in bar:
            x = augment(images[index].float() / 255, draws)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(logits.float(), labels[index])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            parts["schedule"].step()
            total += loss.item()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        numbers = {
            "train/loss": total / n_steps,
            "train/accuracy_first_2000": accuracy(network, images[:2000], labels[:2000]),
            "test/accuracy_first_2000": accuracy(network, test_images[:2000], test_labels[:2000]),
        }
        log.epoch(epoch + 1, numbers)
        print(f"epoch {epoch + 1:2d}", *(f"{k} {v:.4f}" for k, v in numbers.items()), flush=True)
        if args.checkpoint:
            states = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**states, "draws": draws.get_state(), "epoch": epoch + 1}, args.checkpoint)
    log.close()

    rounded = round_to_half(network)
    header = {
        "network": args.network,
        "data": "cifar-10",
        "classes": json.dumps(list(range(10))),
        "seed": str(args.seed),
        "epochs": str(last),
        "train_images": str(len(images)),
        "test_images": str(len(test_labels)),
        "test_accuracy": f"{accuracy(network, test_images, test_labels):.4f}",
        "train_accuracy_first_10000": f"{accuracy(network, images[:10_000], labels[:10_000]):.4f}",
        "trained_without": "test images",
        "augmented": json.dumps(["flip", f"shift by up to {BORDER} pixels"]),
        "cpu_minutes": f"{(time.process_time() - start) / 60:.0f}",
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(rounded, args.out, metadata=header)
    print(json.dumps(header), flush=True)


if __name__ == "__main__":
    main()

"""Train a small diffusion model on N garments of 16 x 16 pixels and keep it at many steps.

    python data/build/train_diffusion.py --images 32 --seed 0 --steps 3200 --out FOLDER

Runs of different seeds have no image in common, runs of one seed are nested: the images are number
``4000 seed`` to ``4000 seed + N`` of the training images in an order that is fixed here. A step
sees 64 images, noise levels uniform, Adam at a constant rate after 100 steps, no augmentation; what
is kept is the moving average of the weights (0.995). ``FOLDER/N-SEED/STEP.safetensors`` holds one
checkpoint, its header the training loss since the last one; an interrupted run goes on from
``state.pt``. A thousand steps take a minute on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from fashion import read_fashion_mnist
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from deepdrift.lab.diffusion_memorisation.networks import shrink
from deepdrift.lab.diffusion_memorisation.training import Training

KEPT = (
    25, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800,
    19200, 25600,
)  # fmt: skip
PER_SEED = 4000


def training_images(n: int, seed: int, folder: Path | None = None) -> Tensor:
    images, _ = read_fashion_mnist("train", folder)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(16))
    own = images[order[PER_SEED * seed : PER_SEED * seed + n]]
    return shrink(own.float() / 255)


def held_out_images(n: int, folder: Path | None = None) -> Tensor:
    images, _ = read_fashion_mnist("test", folder)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(16))
    return shrink(images[order[:n]].float() / 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, default=None, help="folder with the idx files")
    args = parser.parse_args()

    torch.set_num_threads(1)
    images = training_images(args.images, args.seed, args.fashion)
    folder = args.out / f"{args.images}-{args.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    run, losses = Training(images, args.seed), []
    if (folder / "state.pt").exists():
        run.resume(torch.load(folder / "state.pt", weights_only=True))
    for step in tqdm(range(run.done + 1, args.steps + 1), initial=run.done, total=args.steps):
        losses.append(run.step())
        if step not in KEPT and step != args.steps:
            continue
        header = {
            "n_images": args.images,
            "seed": args.seed,
            "step": step,
            "loss": sum(losses) / len(losses),
        }
        file = folder / f"{step}.safetensors"
        save_file(run.average.weights, file, {k: json.dumps(v) for k, v in header.items()})
        torch.save(run.state(), folder / "state.pt")
        losses = []


if __name__ == "__main__":
    main()

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
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from deepdrift.lab.diffusion_memorisation.noise import LEVELS, add_noise
from deepdrift.lab.diffusion_memorisation.unet import SIZE, SmallUNet

KEPT = (
    25, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800,
    19200, 25600,
)  # fmt: skip
BATCH, RATE, WARM_UP, AVERAGE, PER_SEED = 64, 1e-3, 100, 0.995, 4000


def small(images: Tensor) -> Tensor:
    """Bytes (N, 1, 28, 28) -> (N, 1, 16, 16) in [-1, 1], by averages of areas."""
    return functional.interpolate(images.float() / 255, size=(SIZE, SIZE), mode="area") * 2 - 1


def training_images(n: int, seed: int, folder: Path | None = None) -> Tensor:
    images, _ = read_fashion_mnist("train", folder)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(16))
    return small(images[order[PER_SEED * seed : PER_SEED * seed + n]])


def held_out_images(n: int, folder: Path | None = None) -> Tensor:
    images, _ = read_fashion_mnist("test", folder)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(16))
    return small(images[order[:n]])


class Average:
    """Exponential moving average of the weights; early on it forgets faster."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(AVERAGE, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)


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
    torch.manual_seed(args.seed)
    model = SmallUNet()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    average, generator = Average(model), torch.Generator().manual_seed(1000 + args.seed)
    first, losses = 1, []
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, first = state["average"], state["step"] + 1
        generator.set_state(state["generator"])
    for step in tqdm(range(first, args.steps + 1), initial=first - 1, total=args.steps):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        noise = torch.randn(BATCH, 1, SIZE, SIZE, generator=generator)
        t = torch.randint(LEVELS, (BATCH,), generator=generator)
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, step / WARM_UP)
        loss = (model(add_noise(images[chosen], noise, t), t) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(model, step)
        losses.append(float(loss.detach()))
        if step not in KEPT and step != args.steps:
            continue
        header = {
            "n_images": args.images,
            "seed": args.seed,
            "step": step,
            "loss": sum(losses) / len(losses),
        }
        save_file(
            average.weights,
            folder / f"{step}.safetensors",
            {k: json.dumps(v) for k, v in header.items()},
        )
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.weights,
            "step": step,
            "generator": generator.get_state(),
        }
        torch.save(state, folder / "state.pt")
        losses = []


if __name__ == "__main__":
    main()

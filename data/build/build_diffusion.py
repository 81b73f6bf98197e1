"""Put the measured runs together (``data/diffusion.npz``) and store the networks that ship.

    python data/build/build_diffusion.py --runs FOLDER

Reads what ``train_diffusion.py`` and ``measure_diffusion.py`` left in FOLDER. Here channels of the
bottleneck are switched off as well: at the last checkpoint of every run of 32 images, the most
guilty ones (by 32 members and 256 held-out images at one noise level, `GUILT_LEVEL`) and five
random choices of as many; and 400 samples are drawn 20 times more from three networks, for the
count of twins. About twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm
from train_diffusion import held_out_images, training_images
from train_vision import round_to_half

from deepdrift.diffusion import collisions, copied
from deepdrift.lab.diffusion_memorisation.measures import N_SAMPLES, agreement, starting_noise
from deepdrift.lab.diffusion_memorisation.networks import SHIPPED
from deepdrift.lab.diffusion_memorisation.noise import sample
from deepdrift.lab.diffusion_memorisation.records import Records, Switched, pack
from deepdrift.lab.diffusion_memorisation.runs import Run, as_bytes, as_run
from deepdrift.lab.diffusion_memorisation.switching import guilt, silenced
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet

ROOT = Path(__file__).parents[1]
PICTURES = ((32, 0), (32, 1), (64, 0), (512, 0), (4000, 0), (4000, 1))
DRAWN = ((32, 0), (4000, 0), (4000, 1))  # further draws, for the count of twins
COUNTS, DRAWS, GUILT_LEVEL, N_SWITCHED = (1, 2, 4, 8, 16, 32), 5, 100, 200
N_DRAWS, N_HELD_OUT = 20, 2000


def checkpoints(folder: Path) -> list[Path]:
    """Measured checkpoints of a run, in order."""
    return sorted(folder.glob("*[0-9].npz"), key=lambda f: int(f.stem))


def read_run(folder: Path) -> Run:
    n, seed = map(int, folder.name.split("-"))
    tables = {int(f.stem): dict(np.load(f)) for f in checkpoints(folder)}
    train = training_images(n, seed).numpy()
    return as_run(n, seed, tables, train, pictures=(n, seed) in PICTURES)


def agreements(runs: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Between the two seeds of one size, at the steps that both have."""
    both = [{int(f.stem): f for f in checkpoints(runs / f"{n}-{seed}")} for seed in (0, 1)]
    steps = sorted(set(both[0]) & set(both[1]))
    pictures = [[torch.from_numpy(np.load(b[s])["images"]) for b in both] for s in steps]
    values = [agreement(*pair) for pair in pictures]
    return np.array(steps, np.int32), np.array(values, np.float32)


def load(file: Path) -> SmallUNet:
    model = SmallUNet()
    model.load_state_dict(load_file(file))
    return model.eval()


def switch_off(runs: Path, held_out: Tensor) -> Switched:
    seeds = [s for s in range(9) if checkpoints(runs / f"32-{s}")]
    noise = starting_noise(N_SWITCHED)
    guilty = np.empty((len(seeds), len(COUNTS), 2), np.float32)
    random = np.empty((len(seeds), len(COUNTS), DRAWS, 2), np.float32)

    def judged(model: SmallUNet, channels: Tensor, train: Tensor) -> tuple[float, float]:
        with silenced(model.bottleneck, channels.tolist()):
            images = sample(model, noise)
        away = torch.cdist(images.flatten(1), held_out.flatten(1)).min(dim=1).values
        return copied(images, train).share, float(away.median())

    for i, seed in enumerate(tqdm(seeds)):
        train = training_images(32, seed)
        model = load(checkpoints(runs / f"32-{seed}")[-1].with_suffix(".safetensors"))
        order = guilt(model, train, held_out[:256], GUILT_LEVEL).argsort(descending=True)
        generator = torch.Generator().manual_seed(seed)
        for j, count in enumerate(COUNTS):
            guilty[i, j] = judged(model, order[:count], train)
            for k in range(DRAWS):
                chosen = torch.randperm(len(order), generator=generator)[:count]
                random[i, j, k] = judged(model, chosen, train)
    return Switched(np.array(seeds), np.array(COUNTS), guilty, random)


def draw_again(runs: Path, n: int, seed: int) -> np.ndarray:
    """Twins of further draws, each from noise of its own, at the last checkpoint."""
    model = load(checkpoints(runs / f"{n}-{seed}")[-1].with_suffix(".safetensors"))
    generator = torch.Generator().manual_seed(130 + seed)
    rows = []
    for _ in tqdm(range(N_DRAWS)):
        noise = torch.randn(N_SAMPLES, 1, 16, 16, generator=generator)
        c = collisions(sample(model, noise))
        rows.append([c.twins, c.effective, c.low, c.high, c.radius])
    return np.array(rows, np.float32)


def ship(runs: Path, n: int, seed: int) -> None:
    """The last checkpoint, rounded to float16, with the training images of the small run."""
    file = checkpoints(runs / f"{n}-{seed}")[-1].with_suffix(".safetensors")
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    weights = round_to_half(load(file))
    if n == 32:
        weights["images"] = torch.from_numpy(as_bytes(training_images(n, seed)))
    header["made_by"] = json.dumps("data/build/train_diffusion.py")
    save_file(weights, ROOT / f"models/diffusion-{n}-{seed}.safetensors", header)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folders = [f for f in args.runs.iterdir() if checkpoints(f)]
    runs = [read_run(f) for f in folders]
    known = {(run.n_images, run.seed): run for run in runs}
    twice = sorted({n for n, seed in known if seed == 0} & {n for n, seed in known if seed == 1})
    records = Records(
        dict(sorted(known.items())),
        {n: agreements(args.runs, n) for n in twice},
        switch_off(args.runs, held_out_images(N_HELD_OUT)),
        {pair: draw_again(args.runs, *pair) for pair in DRAWN if pair in known},
    )
    out = ROOT / "diffusion.npz"
    np.savez_compressed(out, **pack(records))
    print(f"{out}: {out.stat().st_size:,} bytes")
    for n, seed in SHIPPED:
        ship(args.runs, n, seed)


if __name__ == "__main__":
    main()

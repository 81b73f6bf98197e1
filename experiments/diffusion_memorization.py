"""Does a diffusion model memorise, and who notices first? Notebook 13 from the shell, small:

    python experiments/diffusion_memorization.py --images 32 --steps 1600 --out memorization

trains a U-Net of 200,000 parameters on so many garments of the shipped cut, measures it at some
steps as the notebook does (copies among its samples, membership at every stage and noise level,
twins), writes the notebook's figures and ``measured.npz`` into a folder and says what it saw.
Some minutes on one core as above; ``--samples 100`` is quicker. More images need more steps.

Needs ``pip install -e ".[lab]"`` in a clone of the repository, and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from tqdm import tqdm

matplotlib.use("Agg")

from matplotlib import pyplot

from deepdrift.lab.data import load
from deepdrift.lab.diffusion_memorisation import figures, trial
from deepdrift.lab.diffusion_memorisation.measures import measure
from deepdrift.lab.diffusion_memorisation.networks import shrink, unseen_garments
from deepdrift.lab.diffusion_memorisation.runs import ONSET, Run, as_run
from deepdrift.lab.diffusion_memorisation.training import Training

STEPS = (100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600)  # where it is measured


def run_experiment(n_images: int, steps: int, seed: int, **sizes: int) -> Run:
    """Train and measure, with a progress bar; sizes are those of `measure`."""
    train = shrink(load().fit.images[n_images * seed : n_images * (seed + 1)])
    if n_images < 2 or len(train) < n_images:
        raise SystemExit(f"--images {n_images} --seed {seed}: the cut has 4,000 images to train on")
    held_out, training, found = unseen_garments(2000), Training(train, seed), {}
    with tqdm(total=steps, unit="step") as bar:
        for step in range(1, steps + 1):
            bar.set_postfix_str(f"loss {training.step():.3f}", refresh=False)
            if step in STEPS or step == steps:
                bar.set_postfix_str("measuring")
                found[step] = measure(training.averaged(), train, held_out, **sizes)
            bar.update()
    return as_run(n_images, seed, found, train.numpy())


def draw(run: Run, folder: Path) -> None:
    """The notebook's figures of one run."""

    def store(name: str, figure: Callable[..., None], *args: Any) -> None:
        figure(*args)
        pyplot.gcf().savefig(folder / f"{name}.png", dpi=200)
        pyplot.close()

    last = f"step {run.steps[-1]:,}"
    rows = {"sample": run.pictures[-1], "nearest": run.nearest[-1]}
    framed = figures.is_copy(run, -1)
    store("samples", figures.rows, rows, f"{run.name}, {last}: {framed.sum()} copies", framed)
    store("copies", figures.copies, [run], f"{run.name}: {run.copied[-1, 0]:.0%} copies at {last}")
    store("map_loss", figures.memory_map, run, "loss", 0, f"{run.name}: loss")
    store("map_norm", figures.memory_map, run, "norm", trial.MIDDLE, f"{run.name}: bottleneck norm")
    store("twins", figures.twins, [run], f"{run.name}: twins among the samples")


def verdict(run: Run) -> str:
    """What was seen, a line for each thing."""
    share, low, high, null = run.copied[-1]
    lines = [
        f"{run.name}: {share:.0%} [{low:.0%}, {high:.0%}] copies at step {run.steps[-1]:,}; the "
        f"same rule calls {null:.1%} of held-out images copies.",
        f"10 % copies at step {run.onset():.0f}; held-out loss up by 5 % at {run.divergence():.0f};"
        f" alarm of the twins at {run.collision_alarm():.0f} (inf: not yet).",
    ]
    if share >= ONSET:
        place = trial.first_copies(run)
        lines.append(f"Who tells members at step {run.steps[place]:,} (chosen here, so too good):")
        for name, rival in trial.fix_rivals(run).items():
            lines.append(f"  {name}: {trial.membership(rival, run, place):.2f}")
    else:
        lines.append("Too few copies to put the bottleneck on trial: take more --steps.")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments, run, draw, and speak."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=32, help="to train on (32)")
    parser.add_argument("--steps", type=int, default=1600, help="of training (1600)")
    parser.add_argument("--seed", type=int, default=0, help="other weights, other images (0)")
    parser.add_argument("--samples", type=int, default=400, help="drawn at each measurement (400)")
    parser.add_argument("--sampler-steps", type=int, default=50, help="a divisor of 1,000 (50)")
    parser.add_argument("--members", type=int, default=256, help="at most, against as many others")
    parser.add_argument("--out", type=Path, default=Path("memorization"), help="folder to write")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    run = run_experiment(
        args.images,
        args.steps,
        args.seed,
        n_samples=args.samples,
        n_steps=args.sampler_steps,
        n_members=args.members,
        n_fit=2 * args.members,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    arrays = {name: value for name, value in vars(run).items() if isinstance(value, np.ndarray)}
    np.savez_compressed(
        args.out / "measured.npz", **arrays, **{f"auroc/{k}": v for k, v in run.auroc.items()}
    )
    draw(run, args.out)
    print(verdict(run))
    print(f"Figures and measured.npz are in {args.out}.")


if __name__ == "__main__":
    main()

"""Does a diffusion model memorise, and who notices first? Notebook 13 from the shell, small:

    python experiments/diffusion_memorization.py --images 32 --steps 1600 --out memorization

trains a U-Net of 200,000 parameters on so many garments of the shipped cut, measures it at some
steps as the notebook does (copies among its samples, membership at every stage and noise level,
twins), writes the notebook's figures and ``measured.npz`` into a folder and says what it saw.
Some minutes on one core as above; ``--samples 100`` is quicker. More images need more steps.

With ``--seeds 0 1 2`` there is a run for each, with other images and other weights: detectors are
fixed on the first and judged on the others, as in section 4 of the notebook.

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

from deepdrift.lab.bench.tables import as_table
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
    held_out, training, found = unseen_garments(2000), Training(train, seed), {}
    with tqdm(total=steps, unit="step", desc=f"seed {seed}") as bar:
        for step in range(1, steps + 1):
            bar.set_postfix_str(f"loss {training.step():.3f}", refresh=False)
            if step in STEPS or step == steps:
                bar.set_postfix_str("measuring")
                found[step] = measure(training.averaged(), train, held_out, **sizes)
            bar.update()
    return as_run(n_images, seed, found, train.numpy())


def store(folder: Path, name: str, figure: Callable[..., None], *args: Any) -> None:
    """Draw a figure into a PNG file."""
    figure(*args)
    pyplot.gcf().savefig(folder / f"{name}.png", dpi=200)
    pyplot.close()


def write(run: Run, folder: Path) -> None:
    """The notebook's figures of one run, and all its numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: value for name, value in vars(run).items() if isinstance(value, np.ndarray)}
    arrays |= {f"auroc/{k}": v for k, v in run.auroc.items()}
    np.savez_compressed(folder / "measured.npz", **arrays)
    last, name = f"step {run.steps[-1]:,}", run.name
    rows = {"sample": run.pictures[-1], "nearest": run.nearest[-1]}
    framed = figures.is_copy(run, -1)
    title = f"{name}, {last}: {framed.sum()} copies"
    store(folder, "samples", figures.rows, rows, title, framed)
    title = f"{name}: {run.copied[-1, 0]:.0%} copies at {last}"
    store(folder, "copies", figures.copies, [run], title)
    store(folder, "map_loss", figures.memory_map, run, "loss", 0, f"{name}: loss")
    title = f"{name}: bottleneck norm"
    store(folder, "map_norm", figures.memory_map, run, "norm", trial.MIDDLE, title)
    store(folder, "twins", figures.twins, [run], f"{name}: twins among the samples")


def verdict(run: Run) -> str:
    """What was seen of one run."""
    share, low, high, null = run.copied[-1]
    return (
        f"{run.name}: {share:.0%} [{low:.0%}, {high:.0%}] copies at step {run.steps[-1]:,}; the "
        f"same rule calls {null:.1%} of held-out images copies.\n"
        f"10 % copies at step {run.onset():.0f}; held-out loss up by 5 % at {run.divergence():.0f};"
        f" alarm of the twins at {run.collision_alarm():.0f} (inf: not yet)."
    )


def judge(runs: list[Run], folder: Path) -> str:
    """Detectors fixed on the first run and judged on the others, with their figures."""
    if any(run.copied[:, 0].max() < ONSET for run in runs):
        return "Too few copies to put the bottleneck on trial: take more --steps."
    rivals = trial.fix_rivals(runs[0])
    shown = {name: rivals[name] for name in ("loss gap", "bottleneck norm")}
    store(folder, "time_axis", figures.time_axis, runs[-1], shown, runs[-1].name)
    told = trial.auroc_table(rivals, runs[0], runs[1:])
    lines = [
        "Who tells members, AUROC at the first checkpoint with 10 % copies; in the first column",
        f"chosen there, so too good{'' if runs[1:] else ' (--seeds 0 1 judges on another run)'}:",
        as_table(told, "images (seed)", width=18),
    ]
    if runs[1:]:
        warned = trial.warning_table(rivals, runs[1:])
        lines.append(as_table(warned, "lasting warning at step", spec=",.0f"))
        store(folder, "trial", figures.leads, warned, "Who warns how long before copying begins")
    return "\n".join(lines)


def refuse(args: argparse.Namespace) -> str:
    """What is wrong with the arguments, or nothing: before anything is trained."""
    seeds = " ".join(map(str, args.seeds))
    if args.images < 2 or min(args.seeds) < 0 or args.images * (max(args.seeds) + 1) > 4000:
        return f"--images {args.images} --seeds {seeds}: the cut has 4,000 images to train on"
    if len(set(args.seeds)) < len(args.seeds):
        return f"--seeds {seeds}: one stands there twice"
    if args.steps < 1:
        return f"--steps {args.steps}: expected 1 or more"
    if args.samples < 20:
        return f"--samples {args.samples}: expected 20 or more, to count twins among them"
    if not 1 <= args.sampler_steps <= 1000 or 1000 % args.sampler_steps:
        return f"--sampler-steps {args.sampler_steps}: expected a divisor of 1,000, such as 50"
    if not 2 <= args.members <= 500:
        return f"--members {args.members}: expected 2 to 500"
    return ""


def main(arguments: list[str] | None = None) -> None:
    """Read the arguments, run, draw, and speak."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=32, help="to train on (32)")
    parser.add_argument("--steps", type=int, default=1600, help="of training (1600)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a run for each (0)")
    parser.add_argument("--samples", type=int, default=400, help="drawn at each measurement (400)")
    parser.add_argument("--sampler-steps", type=int, default=50, help="a divisor of 1,000 (50)")
    parser.add_argument("--members", type=int, default=256, help="at most, against as many others")
    parser.add_argument("--out", type=Path, default=Path("memorization"), help="folder to write")
    args = parser.parse_args(arguments)
    if wrong := refuse(args):
        parser.error(wrong)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    runs = []
    for seed in args.seeds:
        sizes = {"n_members": args.members, "n_fit": 2 * args.members}
        sizes |= {"n_samples": args.samples, "n_steps": args.sampler_steps}
        runs.append(run_experiment(args.images, args.steps, seed, **sizes))
        write(runs[-1], args.out / f"seed-{seed}" if len(args.seeds) > 1 else args.out)
        print(verdict(runs[-1]), flush=True)
    if len(runs) > 1:
        store(args.out, "copies", figures.copies, runs, "Copies over training, by run")
    print(judge(runs, args.out))
    print(f"Figures and measured.npz are in {args.out}.")


if __name__ == "__main__":
    main()

"""Measure every checkpoint of ``train_diffusion.py``; what is done already is not done again.

    python data/build/measure_diffusion.py --runs FOLDER

Writes ``FOLDER/N-SEED/STEP.npz`` (`deepdrift.lab.diffusion_memorisation.measures.measure`); about
fifteen seconds each on one core. ``build_diffusion.py`` puts them together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm
from train_diffusion import held_out_images, training_images

from deepdrift.lab.diffusion_memorisation.measures import measure
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet

N_HELD_OUT = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, default=None, help="folder with the idx files")
    args = parser.parse_args()

    torch.set_num_threads(1)
    held_out = held_out_images(N_HELD_OUT, args.fashion)
    files = [f for f in args.runs.glob("*/*.safetensors") if not f.with_suffix(".npz").exists()]
    for file in tqdm(sorted(files)):
        n, seed = map(int, file.parent.name.split("-"))
        model = SmallUNet()
        model.load_state_dict(load_file(file))
        found = measure(model.eval(), training_images(n, seed, args.fashion), held_out)
        part = file.with_suffix(".part.npz")
        np.savez(part, **found)
        part.rename(file.with_suffix(".npz"))


if __name__ == "__main__":
    main()

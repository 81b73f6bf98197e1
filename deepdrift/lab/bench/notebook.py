"""The one line that makes a notebook look and compute the same everywhere."""

from __future__ import annotations

import os
import random

import numpy as np
import torch

from deepdrift.errors import require
from deepdrift.lab.bench import figures

matplotlib = require("matplotlib", "lab")


def setup(seed: int | None = 0) -> None:
    """Set house style, PNG figures of full size, one thread, deterministic algorithms, seeds.

    Call it in the second cell of a notebook. It changes the running process alone, may be called
    again, prints nothing and returns None. The library itself never touches global state; a
    notebook is a program, and this is the place where it asks for it.

    - Figures: the style file for everything drawn later, and PNG at the size of the figure, not
      cut to its contents, so that 800 x 300 pixels stay 800 x 300.
    - Numbers: one thread and deterministic algorithms, because the order of a floating-point sum
      depends on the number of threads.

    Parameters
    ----------
    seed : int or None
        For `random`, the legacy numpy generator and torch, which libraries that we call may use.
        None leaves them alone. Our own functions take a seed or a generator of their own.
    """
    matplotlib.rcParams.update(figures.style_settings())
    _keep_figure_size()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # determinism on CUDA needs it
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (this is the notebook's own wish, see above)
        torch.manual_seed(seed)


def _keep_figure_size() -> None:
    """Tell the inline backend of a running IPython to save whole figures, as PNG only."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.config import InlineBackend
    except ImportError:  # a plain Python without Jupyter
        return
    shell = get_ipython()
    if shell is None:
        return
    backend = InlineBackend.instance(parent=shell)
    backend.figure_formats = {"png"}
    backend.print_figure_kwargs = {"bbox_inches": None}


setup_notebook = setup

"""Runs with numbers that can be followed by hand, for the tests of notebook 13's room."""

from __future__ import annotations

import numpy as np

from deepdrift.lab.diffusion_memorisation.measures import QUANTITIES
from deepdrift.lab.diffusion_memorisation.runs import Run

STEPS = np.array([100, 200, 400, 800])
SHARES = (0.0, 0.05, 0.2, 0.95)
STAGES_OF = {"loss": 1, "norm": 5, "level_velocity": 5, "level_innovation": 5}


def made_run(n=32, seed=0, shares=SHARES, pictures=True, flip=False):
    """Coins everywhere, but for the loss at level 50 and the bottleneck's norm at level 100.

    The loss tells members from step 200 on, the norm (smaller AUROC: larger for members) at 100
    by luck, not at 200, and then for good. With ``flip`` the norm tells the other way round.
    """
    copied = np.array([[s, max(s - 0.04, 0), min(s + 0.04, 1), 0.01] for s in shares])
    highs = (np.inf, 900.0, 70.0, 40.0)
    twins = np.array([[t, 99 - t / 10, 9, h, 1] for t, h in zip((0, 3, 80, 900), highs)])  # noqa: B905
    twins[0, 1] = np.inf
    auroc = {
        q: np.tile([0.5, 0.4, 0.6], (4, 5 if q.startswith("level") else 6, STAGES_OF.get(q, 4), 1))
        for q in QUANTITIES
    }
    auroc["loss"][:, 0, 0] = [(0.5, 0.4, 0.6), (0.95, 0.9, 1), (1, 0.9, 1), (1, 0.9, 1)]
    norm = np.array([(0.3, 0.2, 0.4), (0.45, 0.35, 0.55), (0.2, 0.1, 0.3), (0.05, 0.02, 0.1)])
    auroc["norm"][:, 1, 2] = (1 - norm)[:, [0, 2, 1]] if flip else norm
    updates = np.array([[1, np.nan, np.nan, np.nan], [1, np.nan, np.nan, np.nan],
                        [1, 0.7, 0.6, 0.8], [1, 0.9, 0.8, 1.0]])  # fmt: skip
    scores = updates.copy()
    scores[:, 1:] = 1 - scores[:, [1, 3, 2]]
    loss = np.array([[0.3, 0.3], [0.2, 0.2], [0.1, 0.207], [0.05, 0.5]])
    rng = np.random.default_rng(n + seed)
    shown = 4 if pictures else 0
    ratios = np.ones((4, 12))
    for k, share in enumerate(shares):
        ratios[k, : round(12 * share)] = 0.1
    return Run(
        n, seed, STEPS, copied, twins, np.arange(4.0), updates, scores,
        np.repeat(loss[:, :, None], 6, axis=2),
        rng.integers(0, 256, (shown, 12, 16, 16)).astype(np.uint8),
        rng.integers(0, 256, (shown, 12, 16, 16)).astype(np.uint8),
        ratios[:shown], auroc,
    )  # fmt: skip

"""Made data for explorers that need whole experiments: maps, answers of networks, episodes."""

from __future__ import annotations

import numpy as np
import torch

from deepdrift.lab.confidence_under_shift.experiment import SCORES, Predictions
from deepdrift.lab.explanations_under_shift.drift import SEVERITIES, PairedDrift, Pairs
from deepdrift.lab.explanations_under_shift.explanations import Explanation
from deepdrift.lab.explanations_under_shift.ruler import RANDOM, SAME, UNTRAINED, Ruler
from deepdrift.lab.language_models.capitals import TEMPLATES, load_countries
from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT
from deepdrift.lab.language_models.microscope import ANSWERS, Slide
from deepdrift.lab.language_models.records import Records
from deepdrift.lab.reinforcement_learning.traces import TRACED, Trace

CNN, VIT = Explanation("CNN", "saliency"), Explanation("ViT", "rollout")
N_MAPS, N_ANSWERS = 12, 120


class MadeDrift(PairedDrift):
    """Overlaps 1 - severity / 10 (CNN), 1 - severity / 20 (ViT); every other one changed from 3."""

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        self.faults = ("blur", "gaussian_noise")
        self.images = torch.rand(N_MAPS, 1, 28, 28, generator=g)
        self.shifted = {(f, s): self.images for f in self.faults for s in (0, *SEVERITIES)}
        self._pairs = {}
        for one, step in ((CNN, 0.1), (VIT, 0.05)):
            for f in self.faults:
                for s in (0, *SEVERITIES):
                    overlap = torch.linspace(-0.01, 0.01, N_MAPS).double() * bool(s) + 1 - step * s
                    kept = (
                        torch.arange(N_MAPS) % 2 == 0
                        if s >= 3
                        else torch.ones(N_MAPS, dtype=torch.bool)
                    )
                    maps = torch.rand(N_MAPS, 28, 28, generator=g)
                    self._pairs[one, f, s] = Pairs(maps, {"iou": overlap}, kept)


def rungs(same):
    pairs = {UNTRAINED: 0.12, RANDOM: 0.15, SAME: same}
    overlaps = {k: torch.tensor([v, v]).double() for k, v in pairs.items()}
    return Ruler(overlaps, {"iou": overlaps[SAME]}, 0.112)


def answers(share_right, sure, n=N_ANSWERS):
    """Always as sure; the first are right. By each score the right ones are the less unusual."""
    p = torch.full((n,), sure, dtype=torch.float64)
    wrong = torch.arange(n) >= round(share_right * n)
    scores = {name: torch.arange(n).double() for name in SCORES}
    logits = torch.stack([p, 1 - p], dim=1).log()
    return Predictions(logits, wrong.long(), scores, torch.zeros(1))


def network(shares, sure=0.9):
    found = {f"{shift} {s}": answers(share, sure)
             for shift, row in shares.items() for s, share in enumerate(row, start=1)}  # fmt: skip
    return found | {"clean": answers(0.9, sure), "held": answers(0.9, sure)}


SHARES = {"blur": [0.85, 0.7, 0.5, 0.4, 0.3], "gaussian_noise": [0.9, 0.9, 0.8, 0.2, 0.1]}
NETWORKS = {"CNN": network(SHARES), "ViT": network({k: v[::-1] for k, v in SHARES.items()}, 0.75)}
SHIFTS = tuple(SHARES)


LINES = dict.fromkeys(TRACED, 10.0)


def trace(scores, fault="lag", severity=3, lost=-1, onset=4, plant="cartpole"):
    n = len(scores)
    states = np.zeros((n + 1, 4 if plant == "cartpole" else 8))
    states[:, 0] = np.linspace(0, 1.2 if plant == "cartpole" else 0.5, n + 1)
    return Trace(plant, fault, severity, onset, 7, -1, lost, states, np.zeros(n, int),
                 {name: np.array(scores, float) for name in TRACED}, np.zeros(n))  # fmt: skip


def after(step, n=20):
    """Scores that jump at an observation."""
    return [1.0] * (step - 1) + [30.0] * (n - step + 1)


def slides(*countries):
    """Three answers each to "The capital is": faster from answer to answer."""
    velocity = np.linspace(1, 2, 5)[:, None] * np.ones(30)
    return [
        Slide(c, a, ("The", " big", " capital", " is", f" {a}"), 4, velocity * k, velocity * k - 2)
        for c in countries
        for k, a in enumerate(ANSWERS, start=1)
    ]


def capitals(n=40):
    """Answers about n countries; the larger its NLL, the sooner an answer is wrong."""
    k = len(TEMPLATES)
    rng = np.random.default_rng(0)
    names = (*OUTPUT, *INSIDE, "sample entropy")
    scores = {name: rng.gamma(2, size=n * k) for name in names}
    right = scores["nll"] + 0.5 * rng.normal(size=n * k) < 2
    country, template = np.tile(np.arange(n), k), np.repeat(np.arange(k), n)
    ones, none = np.ones(n * k, dtype=int), np.zeros((n * k, 1))
    return Records(
        load_countries()[:n], tuple(TEMPLATES), country, template, right,
        np.array([" Nowhere"] * (n * k)), none.astype(int), ones, 9 * ones, none, none,
        np.zeros((n * k, 1, 30)), np.zeros((n * k, 30)), scores, np.zeros((n * k, 29)),
        np.ones((k, n * k)), np.zeros((k, n * k, 29)),
    )  # fmt: skip

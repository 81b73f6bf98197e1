"""The experiments of notebook 06: features of sets of images, tests of them, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.baselines import DriftTest, MMDAggregated, MMDDrift
from deepdrift.baselines.kernels import median_heuristic
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.states.collect import collect

__all__ = [
    "Features",
    "aggregated99",
    "best_of",
    "collect_features",
    "mmd99",
    "p_values",
    "rejected",
    "smallest_p",
]

Make = Callable[[Tensor], Any]  # reference -> a test with .test(new).p_value

BLOCKS = {"": "blocks.5", ", block 3": "blocks.3"}  # after the network's name -> its layer

mmd99: Make = partial(MMDDrift, n_permutations=99)
"""The test that the notebook repeats: median heuristic, 99 permutations."""

aggregated99: Make = partial(MMDAggregated, n_permutations=99)
"""The same over many bandwidths."""


def p_values(pairs: Iterable[Sequence[Tensor]], make: Make = mmd99) -> list[float]:
    """One p-value for each pair (reference, new) of samples.

    Examples
    --------
    >>> x = torch.arange(10.0)[:, None]
    >>> p_values([(x, x + 100)])
    [0.01]
    """
    return [float(make(x).test(y).p_value) for x, y in pairs]


def rejected(found: Sequence[float], alpha: float = 0.05) -> Estimate:
    """Share of p-values up to ``alpha``: the repetitions that call drift.

    Examples
    --------
    >>> print(f"{rejected([0.01, 0.05, 0.2, 0.8]):.2f}")
    0.50 [0.07, 0.93]
    """
    return proportion(sum(p <= alpha for p in found), len(found))


def smallest_p(
    pairs: Iterable[Sequence[Tensor]], factors: Sequence[float], make: Any = mmd99
) -> list[float]:
    """For each pair the smallest p of several bandwidths, which are multiples of the median.

    Parameters
    ----------
    pairs : iterable of (reference, new)
    factors : sequence of float
        1 is the median heuristic itself.
    make : callable
        Takes the reference and ``sigma=``.

    Examples
    --------
    >>> x = torch.arange(6.0)[:, None]
    >>> one, three = (smallest_p([(x, x + 2)], f)[0] for f in ([1], [0.5, 1, 2]))
    >>> three <= one
    True
    """
    smallest = []
    for x, y in pairs:
        sigma = median_heuristic(torch.cat([x, y]))
        found = [make(x, sigma=factor * sigma).test(y).p_value for factor in factors]
        smallest.append(min(found))
    return smallest


def best_of(pairs: Iterable[Sequence[Tensor]], factors: Sequence[float]) -> Estimate:
    """How often the `smallest_p` calls drift.

    Examples
    --------
    >>> x = torch.arange(9.0)[:, None]
    >>> best_of([(x, x + 9), (x, x)], [1, 2]).value
    0.5
    """
    return rejected(smallest_p(pairs, factors))


class Features(dict[str, dict[str, Tensor]]):
    """Feature map -> set of images -> its features ``(N, D)``, with the tests of the notebook.

    Every set has a "reference". Attribute ``outputs`` holds the logits: network -> set.

    Examples
    --------
    >>> reference, moved = torch.arange(40.0)[:, None], torch.arange(40.0)[:, None] + 50
    >>> features = Features({"values": {"reference": reference, "perturbed": moved}})
    >>> features.compare("values", "perturbed", 20).is_drift
    True
    >>> print(f"{features.power('values', 10):.2f}")
    1.00 [0.88, 1.00]
    """

    def __init__(self, by_name: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__({name: dict(parts) for name, parts in by_name.items()})
        self.outputs: dict[str, dict[str, Tensor]] = {}

    def compare(self, where: str, part: str, n: int, against: str = "reference") -> DriftTest:
        """MMD test of the first n of one set against the first n of another."""
        return MMDDrift(self[where][against][:n]).test(self[where][part][:n])

    def accuracy(self, network: str, part: str, labels: Tensor) -> Estimate:
        """Share of right answers, as many as were collected."""
        answers = self.outputs[network][part].argmax(dim=1)
        return proportion(int((answers == labels[: len(answers)]).sum()), len(answers))

    def draw(self, where: str, parts: Sequence[str], n: int, seed: int) -> list[Tensor]:
        """A random sample of n of every set, each drawn on its own."""
        generator = torch.Generator().manual_seed(seed)
        sets = [self[where][part] for part in parts]
        return [x[torch.randperm(len(x), generator=generator)[:n]] for x in sets]

    def pairs(self, where: str, n: int, repetitions: int = 30) -> list[list[Tensor]]:
        """Random samples of n reference images and n other, perturbed ones."""
        both = ("reference", "perturbed")
        return [self.draw(where, both, n, seed) for seed in range(repetitions)]

    def twins(
        self, where: str, n: int, repetitions: int, generator: torch.Generator
    ) -> list[list[Tensor]]:
        """Random images, n of them, before and the same images after the change."""
        sets = [self[where][part] for part in ("clean", "perturbed")]
        orders = [torch.randperm(len(sets[0]), generator=generator)[:n] for _ in range(repetitions)]
        return [[x[order] for x in sets] for order in orders]

    def clean_splits(
        self, where: str, n: int, repetitions: int, generator: torch.Generator
    ) -> list[tuple[Tensor, Tensor]]:
        """Clean images, mixed and dealt into n against n."""
        clean = torch.cat([self[where]["reference"], self[where]["clean"]])
        orders = [torch.randperm(len(clean), generator=generator) for _ in range(repetitions)]
        mixed = (clean[order[: 2 * n]] for order in orders)
        return [(x[:n], x[n:]) for x in mixed]

    def false_alarms(
        self, where: str, n: int, repetitions: int, generator: torch.Generator
    ) -> Estimate:
        """Share of `clean_splits` in which the MMD test calls drift."""
        return rejected(p_values(self.clean_splits(where, n, repetitions, generator)))

    def verdicts(self, labels: Tensor, n: int) -> dict[str, tuple[Estimate, DriftTest]]:
        """Network and set -> accuracy, and the test of the last block with n images."""
        return {
            f"{name}, {part}": (self.accuracy(name, part, labels), self.compare(name, part, n))
            for name, parts in self.outputs.items()
            for part in parts
            if part != "reference"
        }

    def power_of_pairs(
        self, where: str, sizes: Sequence[int], generator: torch.Generator
    ) -> dict[str, Estimate]:
        """How often 100 tests find drift, against other images and against the same ones."""
        power = {}
        for n in sizes:
            twins = self.twins(where, n, 100, generator)
            power[f"n = {n}, other images"] = rejected(p_values(self.pairs(where, n, 100)))
            power[f"n = {n}, the same images"] = rejected(p_values(twins))
        return power

    def power(self, where: str, n: int, make: Make = mmd99) -> Estimate:
        """Share of 30 random pairs of samples in which a test calls drift."""
        return rejected(p_values(self.pairs(where, n), make))

    def power_curve(self, where: str, sizes: Sequence[int], make: Make = mmd99) -> list[Estimate]:
        """`power` at every size."""
        return [self.power(where, n, make) for n in sizes]


def collect_features(
    networks: Mapping[str, nn.Module], sets: Mapping[str, Tensor], most: Mapping[str, int]
) -> Features:
    """The last block and block 3 of every network for every set of images.

    Parameters
    ----------
    networks : mapping of str to Module
    sets : mapping of str to Tensor, shapes (N, C, H, W)
    most : mapping of str to int
        Network -> how many images of each set it sees.
    """
    features = Features({name + ending: {} for name in networks for ending in BLOCKS})
    for name, network in networks.items():
        features.outputs[name] = {}
        for part, images in sets.items():
            seen = images[: most[name]]
            run = collect(network, seen, list(BLOCKS.values()), batch_size=64)
            for ending, layer in BLOCKS.items():
                features[name + ending][part] = run.states[layer]
            features.outputs[name][part] = run.outputs
    return features

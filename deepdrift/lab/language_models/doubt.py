"""Every score of doubt by its name: at the output, and inside. Larger is more suspicious.

No sign is turned after the fact: a velocity that falls when a model makes things up has an AUROC
below one half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import require
from deepdrift.lab.language_models.passes import Reading
from deepdrift.scores.distance import LayerDistance
from deepdrift.scores.innovation import Innovation

__all__ = ["INSIDE", "OUTPUT", "Inside", "disagreement", "fit_probe", "output_scores"]

OUTPUT = ("nll", "mean", "maximum", "first", "mean entropy", "ces", "disagreement")
INSIDE = (
    "raw velocity",
    "peak velocity",
    "innovation",
    "answer innovation",
    "distance",
    "distance at the name",
    "neighbours",
    "probe",
    "probe at the name",
)
N_NEIGHBOURS = 10


def output_scores(reading: Reading) -> dict[str, Tensor]:
    """What the probabilities of the answer say, each ``(N,)``, float64: `OUTPUT` but the last."""
    surprise = -reading.log_prob
    mean_entropy = reading.fold(reading.entropy, "mean")
    return {
        "nll": reading.fold(surprise),
        "mean": reading.fold(surprise, "mean"),
        "maximum": reading.fold(surprise, "max"),
        "first": surprise[:, 0].double(),
        "mean entropy": mean_entropy,
        "ces": mean_entropy + reading.fold(reading.entropy, "max"),
    }


def disagreement(answers: Sequence[Sequence[str]]) -> np.ndarray:
    """Share of the other templates that give another answer, templates x questions.

    Examples
    --------
    >>> disagreement([["a", "b"], ["a", "c"], ["d", "b"]]).tolist()
    [[0.5, 0.5], [0.5, 1.0], [1.0, 0.5]]
    """
    table = np.array(answers)
    differ = (table[:, None] != table[None]).sum(axis=1)
    return differ / (len(table) - 1)


class Inside:
    """Scores of hidden states, fitted on normal answers.

    Parameters
    ----------
    normal : Reading
        Answers that are right.
    classes : Tensor, shape (N,), int64, optional
        Kind of question (relation): distances and neighbours are those of the same kind.
    odd : Reading, optional
        Answers that are made up: only the probes need them.
    strength : float
        The probes' C (inverse of the penalty).
    """

    def __init__(
        self,
        normal: Reading,
        classes: Tensor | None = None,
        odd: Reading | None = None,
        strength: float = 1.0,
    ) -> None:
        self._classes = torch.zeros(len(normal), dtype=torch.int64) if classes is None else classes
        self._normal = normal.last
        kinds = self._classes.unique()
        self._means = {int(k): normal.last[self._classes == k].mean(dim=0) for k in kinds}
        self._distance = LayerDistance().fit({"last": self._centred(normal.last, self._classes)})
        self._at_name = LayerDistance().fit({"name": normal.name})
        self._steps = Innovation().fit(_layers(normal.prompt_sketch))
        self._answer_steps = Innovation().fit(_layers(normal.sketch[normal.mask]))
        self._probes: dict[str, Callable[[Tensor], Tensor]] = {}
        if odd is not None:
            pairs = {"probe": "middle", "probe at the name": "name"}
            for name, part in pairs.items():
                self._probes[name] = fit_probe(getattr(normal, part), getattr(odd, part), strength)

    def steps(self, reading: Reading) -> Tensor:
        """Squared standardised residual of each step between blocks, last prompt token."""
        return self._steps.score(_layers(reading.prompt_sketch))

    def score(self, reading: Reading, classes: Tensor | None = None) -> dict[str, Tensor]:
        """Every score by name, each ``(N,)``, float64; the probes only where they were fitted."""
        classes = torch.zeros(len(reading), dtype=torch.int64) if classes is None else classes
        rank = reading.prompt_sketch.shape[-1]
        tokens = torch.zeros(reading.mask.shape, dtype=torch.float64)
        q = self._answer_steps.score(_layers(reading.sketch[reading.mask]))
        tokens[reading.mask] = q.mean(dim=1) / rank
        found = {
            "raw velocity": reading.fold(reading.velocity[..., -1], "mean"),
            "peak velocity": reading.update.amax(dim=1).double(),
            "innovation": self.steps(reading).mean(dim=1) / rank,
            "answer innovation": reading.fold(tokens, "mean"),
            "distance": self._distance.score({"last": self._centred(reading.last, classes)})[:, 0],
            "distance at the name": self._at_name.score({"name": reading.name})[:, 0],
            "neighbours": self._neighbours(reading.last, classes),
        }
        parts = {"probe": reading.middle, "probe at the name": reading.name}
        return found | {name: probe(parts[name]) for name, probe in self._probes.items()}

    def _centred(self, states: Tensor, classes: Tensor) -> Tensor:
        """States less the mean of the normal ones of their kind."""
        return states - torch.stack([self._means[int(k)] for k in classes])

    def _neighbours(self, states: Tensor, classes: Tensor) -> Tensor:
        found = torch.zeros(len(states), dtype=torch.float64)
        for k in classes.unique():
            mine, theirs = classes == k, self._normal[self._classes == k]
            gaps = torch.cdist(states[mine].double(), theirs.double())
            found[mine] = gaps.topk(min(N_NEIGHBOURS, len(theirs)), largest=False).values.mean(1)
        return found


def _layers(sketch: Tensor) -> dict[str, Tensor]:
    """Sketches ``(N, L, r)`` as states by block."""
    return {f"block {i + 1}": sketch[:, i] for i in range(sketch.shape[1])}


def fit_probe(normal: Tensor, odd: Tensor, strength: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Log odds of being odd, by logistic regression on standardised states ``(N, D)``."""
    linear = require("sklearn.linear_model", "lab")
    x = torch.cat([normal, odd]).double().numpy()
    y = np.r_[np.zeros(len(normal)), np.ones(len(odd))]
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-9
    model = linear.LogisticRegression(C=strength, max_iter=2000).fit((x - mean) / std, y)

    def score(states: Tensor) -> Tensor:
        z = (states.double().numpy() - mean) / std
        return torch.from_numpy(model.decision_function(z))

    return score

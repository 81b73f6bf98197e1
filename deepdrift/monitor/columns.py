"""Which scores a scorer takes of a batch, and in which columns of one matrix they stand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepdrift.errors import StateError
from deepdrift.scores.chain import ChainSums
from deepdrift.scores.distance import LayerDistance
from deepdrift.scores.plan import Plan, sum_is_finite
from deepdrift.states.inputs import INPUT

BLOCKS = ("innovation", "distance", "relative", "output", "input")


class ScoreColumns:
    """Scores of a batch as one matrix, solved from sums and ready to be read.

    Parameters
    ----------
    sums : ChainSums or None
        Of the layers.
    output : LayerDistance or None
        Of the output layer; with two classes or more its relative distance is one more score.
    given : LayerDistance or None
        Of the statistics of the input.
    wanted : sequence of str
        Of "innovation", "distance" and "relative": what is taken of the layers; the last needs
        labels.
    n_layers : int

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> states = [torch.randn(50, 2, generator=g) for _ in range(3)]
    >>> columns = ScoreColumns(ChainSums().add(states), None, None, ("innovation", "distance"), 3)
    >>> matrix, finite = columns.read(states)
    >>> {name: tuple(block.shape) for name, block in columns.blocks(matrix).items()}, finite
    ({'innovation': (50, 2), 'distance': (50, 3)}, True)
    """

    def __init__(
        self,
        sums: ChainSums | None,
        output: LayerDistance | None,
        given: LayerDistance | None,
        wanted: tuple[str, ...],
        n_layers: int,
    ) -> None:
        distances, steps, pooled = [], [], []
        if sums is not None:
            distances, steps = sums.maps(with_distances="distance" in wanted)
            if "relative" in wanted and sums.labels is not None:
                pooled = sums.pooled_maps()
        extra, has_output = list(enumerate(pooled)), output is not None and output.n_classes > 1
        if has_output:
            extra += [(n_layers, part.maps()[0]) for part in (output, output.pooled())]
        if given is not None:
            extra.append((n_layers + (output is not None), given.maps()[0]))
        self._n_layers = n_layers
        targets = None if sums is None else sums.targets
        self._plan = Plan(distances, steps, extra, targets=targets)
        self._plan.lay_out(torch.device("cpu"))

        # columns of the plan: steps, distances, to the whole, output, to its whole, input
        first, whole = len(steps), len(steps) + len(distances)
        end = whole + len(pooled)
        taken = {
            "innovation": range(first),
            "distance": range(first, whole),
            "relative": range(first, first + len(pooled)),
            "output": range(end, end + has_output),
            "input": range(end + 2 * has_output, end + 2 * has_output + (given is not None)),
        }
        self._widths = {name: len(taken[name]) for name in BLOCKS if taken[name]}
        self.n_columns = sum(self._widths.values())
        self._taken = torch.tensor([k for name in BLOCKS for k in taken[name]], device="cpu")
        minus = [*range(whole, end), *range(end + 1, end + 1 + has_output)]
        self._minus = torch.tensor(minus, dtype=torch.int64, device="cpu")
        self._relative = slice(whole, whole + len(minus))

    def read(self, states: list[Tensor]) -> tuple[Tensor, bool]:
        """Scores ``(N, K)``, float64, and whether all of the states are known to be finite.

        Parameters
        ----------
        states : list of Tensor
                Of the layers, then of the output layer and the input if there are such.
        """
        device = states[0].device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                found, finite = self._plan.read(states)
        else:
            found, finite = self._plan.read(states)
        if "output" not in self._widths:
            spare = states[self._n_layers :]  # an output layer that no score reads
            finite = finite and all(sum_is_finite(v) for v in spare)
        if len(self._minus):
            taken = found[:, self._taken]
            taken[:, self._relative] -= found[:, self._minus]
            if not finite:  # infinite where it cannot be computed
                relative = taken[:, self._relative]
                taken[:, self._relative] = relative.nan_to_num(math.inf, math.inf, -math.inf)
            found = taken
        return found, finite

    def blocks(self, matrix: Tensor) -> dict[str, Tensor]:
        """The columns of each block, by name."""
        parts = matrix.split_with_sizes(list(self._widths.values()), 1)
        return dict(zip(self._widths, parts, strict=True))


def invalid_rows(states: dict[str, Tensor]) -> dict[str, Tensor]:
    """Layers with NaN or infinity -> which samples ``(N,)`` hold them."""
    rows = {k: (~torch.isfinite(v)).any(dim=1).cpu() for k, v in states.items()}
    return {k: row for k, row in rows.items() if bool(row.any())}


def infinite_where_invalid(
    score: Tensor, p_values: Tensor, states: dict[str, Tensor]
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Scores infinite and p-values 0 of samples with NaN or infinity, and the layers of these."""
    invalid = invalid_rows(states)
    if invalid:  # others may hide the NaN of one layer (ReLU, pooling): the sample is invalid
        rows = torch.stack(list(invalid.values())).any(dim=0)
        score, p_values = score.masked_fill(rows, math.inf), p_values.masked_fill(rows, 0.0)
    return torch.where(score.isnan(), math.inf, score), p_values, tuple(invalid)


def split_states(
    states: dict[str, Tensor], output_layer: str | None, watch_input: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The watched layers, and beside them the output layer and the input if there are such."""
    others = {}
    if output_layer is not None:
        others[output_layer] = "pass output_layer=None if the model does not run it"
    if watch_input:
        others[INPUT] = "watch_input=False leaves it out"
    if not others:
        return states, {}
    for name, remedy in others.items():
        if name not in states:
            raise StateError(f"states: expected {name!r} among them, got {list(states)}; {remedy}")
    layers = {k: v for k, v in states.items() if k not in others}
    return layers, {k: states[k] for k in others}


def check_chain(score: str, states: dict[str, Tensor]) -> None:
    """Refuse a single layer for a score of steps."""
    if score in ("innovation", "velocity") and len(states) < 2:
        raise StateError(
            f"states: score={score!r} needs at least two layers, got {list(states)}; watch more "
            "layers or use score='distance'"
        )


def check_widths(known: dict[str, int], states: dict[str, Tensor]) -> None:
    """Refuse states of other layers or widths than those that are known."""
    widths = {k: v.shape[1] for k, v in states.items()}
    if known and list(widths.items()) != list(known.items()):
        raise StateError(
            f"states: expected layers of widths {known} as fitted, got {widths}; "
            + _why_other_widths(known, widths)
        )


def _why_other_widths(fitted: dict[str, int], found: dict[str, int]) -> str:
    """What may be the cause of states of other layers or widths, and the remedy."""
    if fitted.keys() == found.keys():
        return "with pooling='flatten' the size of the input must not change"
    if {k.split("#")[0] for k in fitted} == {k.split("#")[0] for k in found}:
        return "a layer ran another number of times: inputs must be of the length that was fitted"
    return (
        "other layers ran: a model in train mode may skip some (call model.eval()), or this input "
        "takes another way through it"
    )

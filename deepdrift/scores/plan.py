"""All squared lengths of a batch at once: the maps of many layers laid out for few operations.

A network of a millisecond is scored by some forty small operations or not at all. Narrow layers
that follow one another share one block matrix. A wide layer keeps its own maps, where memory counts
and not the number of calls.

The maps are exact. Keeping only the k largest canonical correlations of a step would read
``2 k D`` numbers in place of ``1.5 D^2``; on the shipped networks that lost up to 0.035 AUROC at
k = D / 12, and 0.014 at D / 2, so it is not done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from deepdrift.scores.maps import WIDE, DistanceMap, StepMap, nearest

_FEW = 256  # numbers that are sooner added up in Python
_MOST_GAPS = 1 << 18  # numbers that points against class means may fill at once


@dataclass(frozen=True)
class _Job:
    """One column of scores: a map, and which states it reads (a step: source and target)."""

    map: DistanceMap | StepMap
    reads: tuple[int, ...]

    @property
    def width_before(self) -> int:
        return len(self.map.source) if isinstance(self.map, StepMap) else 0

    def squared(self, states: Sequence[Tensor]) -> Tensor:
        return self.map.squared(*(states[i] for i in self.reads))


class Plan:
    """Distances, steps and further distances of a batch as columns of one matrix.

    Parameters
    ----------
    distances : sequence of DistanceMap
        Of states 0, 1, ...; may be empty.
    steps : sequence of StepMap
        From state 0 to 1, 1 to 2, ...; may be empty.
    extra : sequence of (int, DistanceMap)
        Further distances, each with the number of its state.
    targets : sequence of int, optional
        State that each step leads into, from the one before; by default 1, 2, ...

    Examples
    --------
    >>> from deepdrift.scores.chain import ChainSums
    >>> g = torch.Generator().manual_seed(0)
    >>> a, b = torch.randn(50, 2, generator=g), torch.randn(50, 3, generator=g)
    >>> plan = Plan(*ChainSums().add([a, b]).maps())
    >>> plan.squared([a, b]).shape  # the step, and the distance of two layers
    torch.Size([50, 3])
    """

    def __init__(
        self,
        distances: Sequence[DistanceMap],
        steps: Sequence[StepMap],
        extra: Sequence[tuple[int, DistanceMap]] = (),
        *,
        targets: Sequence[int] | None = None,
    ) -> None:
        into = range(1, len(steps) + 1) if targets is None else targets
        jobs = [_Job(step, (i - 1, i)) for i, step in zip(into, steps, strict=True)]
        jobs += [_Job(part, (i,)) for i, part in enumerate(distances)]
        jobs += [_Job(part, (i,)) for i, part in extra]
        self._jobs = jobs
        self._laid_out: _LaidOut | None = None

    def squared(self, states: Sequence[Tensor]) -> Tensor:
        """Squared lengths ``(N, K)``, float64, on the CPU: steps, distances, extra.

        NaN or infinite where a state that is read is not finite, or too large.
        """
        return self.read(states)[0]

    def read(self, states: Sequence[Tensor]) -> tuple[Tensor, bool]:
        """The same, and whether all of it is finite: then all states that are read are."""
        if not self._jobs:
            return torch.empty(len(states[0]), 0, dtype=torch.float64, device="cpu"), True
        laid_out = self._laid_out
        if laid_out is None or laid_out.device != states[0].device:
            laid_out = self.lay_out(states[0].device)
        found = [part.squared(states) for part in laid_out.parts]
        columns = found[0] if len(found) == 1 else torch.cat(found, dim=1)
        if laid_out.order is not None:
            columns = columns[:, laid_out.order]
        columns = columns.cpu()
        if sum_is_finite(columns):
            return columns, True
        # a block of zeros turns one infinite state into NaN everywhere: each layer by itself then
        columns = torch.stack([job.squared(states) for job in laid_out.jobs], dim=1).cpu()
        return columns, sum_is_finite(columns)

    def lay_out(self, device: torch.device) -> _LaidOut:
        """Build the matrices on a device; `read` does it for a device that is new to it."""
        jobs = [_Job(job.map.to(device), job.reads) for job in self._jobs]
        groups: list[tuple[list[int], int]] = []  # jobs, and the width of the states they end at
        for end in sorted({job.reads[-1] for job in jobs}):
            mine = [k for k, job in enumerate(jobs) if job.reads[-1] == end]
            width = max(jobs[k].map.width for k in mine)
            width += max(0, *(jobs[k].width_before - WIDE for k in mine))  # a wide source: alone
            if groups and groups[-1][1] + width <= WIDE:
                groups[-1] = groups[-1][0] + mine, groups[-1][1] + width
            else:
                groups.append((mine, width))
        order, parts = [], []
        for mine, width in groups:
            mine = sorted(mine)  # as they are asked for, if there is one group only
            part = (_Block if width <= WIDE else _Apart)([jobs[k] for k in mine])
            parts.append(part)
            order += [mine[k] for k in part.order]
        places = torch.tensor(order, device="cpu").argsort()
        same = bool((places == torch.arange(len(places), device="cpu")).all())
        # in one assignment: another thread reads the old one or the new one, whole
        self._laid_out = _LaidOut(device, jobs, parts, None if same else places.to(device))
        return self._laid_out


class _LaidOut(NamedTuple):
    """A plan on one device."""

    device: torch.device
    jobs: list[_Job]
    parts: list[_Apart | _Block]
    order: Tensor | None


class _Apart:
    """The jobs of one wide state, each by itself."""

    def __init__(self, jobs: list[_Job]) -> None:
        self.order, self._jobs = list(range(len(jobs))), jobs

    def squared(self, states: Sequence[Tensor]) -> Tensor:
        return torch.stack([job.squared(states) for job in self._jobs], dim=1)


class _Block:
    """The jobs of some narrow states as one block matrix."""

    def __init__(self, jobs: list[_Job]) -> None:
        plain = [k for k, job in enumerate(jobs) if _n_means(job.map) == 1]
        self.order = plain + [k for k in range(len(jobs)) if k not in plain]
        jobs = [jobs[k] for k in self.order]
        self._reads = sorted({i for job in jobs for i in job.reads})
        centres, places, total = self._places(jobs)
        rows, offsets = [], []
        for job in jobs:
            (matrix, offset), centre = _affine(job.map), torch.cat(_centres(job.map))
            at = torch.cat([torch.arange(*places[i], device="cpu") for i in job.reads]).to(
                centre.device
            )
            row = matrix.new_zeros(len(matrix), total)
            row[:, at] = matrix
            gap = centres[at].double() - centre.double()  # of another rounding of one mean
            rows.append(row)
            offsets.append((offset.double() + matrix.double() @ gap).float())
        self._centre, self._offset = centres, torch.cat(offsets)
        self._matrix = torch.cat(rows).T.contiguous()
        widths = [len(row) for row in rows]
        self._cut = sum(widths[: len(plain)])
        self._sums = _indicator(widths[: len(plain)]).to(centres.device)
        self._class_sums = _indicator(widths[len(plain) :]).to(centres.device)
        self._class_widths = widths[len(plain) :]
        self._class_means = [job.map.means for job in jobs[len(plain) :]]
        same = len({len(m) for m in self._class_means}) == 1
        self._all_means = torch.cat(self._class_means, dim=1) if same else None
        allowances = torch.tensor(
            [job.map.allowance for job in jobs], dtype=torch.float64, device="cpu"
        )
        self._allowance = allowances.to(centres.device) if bool(allowances.any()) else None

    def _places(self, jobs: list[_Job]) -> tuple[Tensor, dict[int, tuple[int, int]], int]:
        """Centres of all states that are read, where each of them lies, and their total width."""
        known = {}
        for job in jobs:
            known |= dict(zip(job.reads, _centres(job.map), strict=True))
        places, total = {}, 0
        for i in self._reads:
            places[i] = (total, total + len(known[i]))
            total += len(known[i])
        return torch.cat([known[i] for i in self._reads]), places, total

    def squared(self, states: Sequence[Tensor]) -> Tensor:
        x = torch.cat([states[i] for i in self._reads], dim=1).float()
        y = torch.addmm(self._offset, x - self._centre, self._matrix)
        single = (y[:, : self._cut] if self._class_means else y).double()
        found = single.mul_(single) @ self._sums  # `square_` is another kernel, not in any cache
        if self._class_means:
            found = torch.cat([found, self._to_classes(y[:, self._cut :])], dim=1)
        if self._allowance is not None:
            found = (found - self._allowance).clamp_(min=0)
        return found

    def _to_classes(self, points: Tensor) -> Tensor:
        means = self._all_means
        if means is not None and len(points) * means.numel() <= _MOST_GAPS:
            gaps = (points[:, None] - means).double().square_()
            return (gaps @ self._class_sums).amin(dim=1)
        parts = points.split(self._class_widths, dim=1)
        found = [nearest(p, m) for p, m in zip(parts, self._class_means, strict=True)]
        return torch.stack(found, dim=1)


def sum_is_finite(columns: Tensor) -> bool:
    """Whether the sum of a matrix is finite; of a short row it is taken without a kernel."""
    few = len(columns) == 1 and columns.shape[1] <= _FEW
    return math.isfinite(sum(columns.tolist()[0]) if few else columns.sum())


def _n_means(part: DistanceMap | StepMap) -> int:
    return len(part.means) if isinstance(part, DistanceMap) else 1


def _centres(part: DistanceMap | StepMap) -> tuple[Tensor, ...]:
    return (part.centre,) if isinstance(part, DistanceMap) else (part.source, part.target)


def _affine(part: DistanceMap | StepMap) -> tuple[Tensor, Tensor]:
    """Matrix and offset; a distance to a single mean is the length of an affine map."""
    if isinstance(part, StepMap):
        return torch.cat([part.predict, part.white], dim=1), part.offset
    single = len(part.means) == 1
    return part.white, -part.means[0] if single else torch.zeros_like(part.centre)


def _indicator(widths: list[int]) -> Tensor:
    """Matrix ``(sum of widths, K)`` that adds up the columns of each part."""
    sums = torch.zeros(sum(widths), len(widths), dtype=torch.float64, device="cpu")
    for k, part in enumerate(torch.arange(len(sums), device="cpu").split(widths) if widths else ()):
        sums[part, k] = 1
    return sums

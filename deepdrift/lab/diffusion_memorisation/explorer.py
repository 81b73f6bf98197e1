"""Two explorers: samples over training beside their nearest images, and a map of membership."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures import GREY, VERMILLION, percent_axis
from deepdrift.lab.diffusion_memorisation import figures
from deepdrift.lab.diffusion_memorisation.runs import ONSET, Run
from deepdrift.lab.diffusion_memorisation.trial import STAGES, level_name, stage_names

SHOWN = 6
MEASURES = {
    "loss": "loss",
    "norm": "norm",
    "velocity": "depth_velocity",
    "innovation": "depth_innovation",
    "level velocity": "level_velocity",
}


def _by_name(runs: Sequence[Run], pictures: bool = False) -> dict[str, Run]:
    found = {run.name: run for run in runs if run.pictures.size or not pictures}
    if not found:
        what = "run with pictures" if pictures else "run"
        raise ExplorerError(f"runs: expected at least one {what}, got none")
    return found


class TrainingExplorer(Explorer):
    """Samples from the same noise over training, each above its nearest training image.

    Left: pictures, in a frame where a sample is a copy. Right: the share of copies among 400.

    Parameters
    ----------
    runs : sequence of Run
        Those without pictures are left out.
    """

    _panels = (2.2, 1.0)

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = _by_name(runs, pictures=True)
        longest = max(len(run.steps) for run in self._runs.values())
        self._start(
            {
                "checkpoint": number_control("checkpoint", 1, 1, longest, 1),
                "run": choice_control("run", list(self._runs)),
            }
        )

    def _at(self, checkpoint: int, run: str) -> tuple[Run, int]:
        found = self._runs[run]
        return found, min(checkpoint, len(found.steps)) - 1

    def _sentence(self, checkpoint: int, run: str) -> str:
        found, k = self._at(checkpoint, run)
        share, low, high, _ = found.copied[k]
        framed = int(figures.is_copy(found, k)[:SHOWN].sum())
        return (
            f"{run}, step {found.steps[k]:,}: {share:.0%} [{low:.0%}, {high:.0%}] of 400 samples "
            f"are copies; of the {SHOWN} shown {framed}."
        )

    def _draw(self, axes: list[Any], checkpoint: int, run: str) -> None:
        left, right = axes
        found, k = self._at(checkpoint, run)
        rows = {"sample": found.pictures[k, :SHOWN], "nearest": found.nearest[k, :SHOWN]}
        figures.draw_rows(left, rows, figures.is_copy(found, k)[:SHOWN])
        left.set_title(f"step {found.steps[k]:,}")
        right.fill_between(found.steps, *found.copied[:, 1:3].T, color=VERMILLION, alpha=0.2)
        right.plot(found.steps, found.copied[:, 0], color=VERMILLION, linewidth=2)
        right.plot(found.steps[k], found.copied[k, 0], "o", color=VERMILLION, markersize=10,
                   clip_on=False)  # fmt: skip
        figures.draw_steps(right, found.steps[::2])
        right.set_xlim(found.steps[0] * 0.8, found.steps[-1] * 1.25)
        ticks = [t for t in (100, 1600, 25600) if t <= found.steps[-1]]
        right.set_xticks(ticks, [f"{t:,}" for t in ticks])
        right.set(ylim=(-0.03, 1.03))
        percent_axis(right.yaxis, 5)
        right.set_title("copies of 400")


class MemoryMap(Explorer):
    """AUROC (x 100) of held-out images against members by noise level, training step and stage.

    Above 50 a quantity is larger for held-out images, below for members; frames as in
    `deepdrift.lab.diffusion_memorisation.figures.draw_map`.

    Parameters
    ----------
    runs : sequence of Run
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = _by_name(runs)
        self._start(
            {
                "measure": choice_control("measure", list(MEASURES)),
                "stage": number_control("stage", 3, 1, len(STAGES), 1),
                "run": choice_control("run", list(self._runs)),
            }
        )

    def _place(self, measure: str, stage: int) -> tuple[str, int]:
        """Quantity, and which stage of its table: a step leads into a stage, the loss has none."""
        quantity = MEASURES[measure]
        if quantity == "loss":
            return quantity, 0
        if quantity.startswith("depth"):
            return quantity, max(stage - 2, 0)
        return quantity, stage - 1

    def strongest(self, **values: Any) -> tuple[float, str, int]:
        """AUROC farthest from a coin on the map, its noise level, and the training step."""
        v = self._values_at(values)
        run = self._runs[v["run"]]
        quantity, stage = self._place(v["measure"], v["stage"])
        table = run.auroc[quantity][:, :, stage, 0]
        j, k = np.unravel_index(int(np.abs(table - 0.5).argmax()), table.shape)
        return float(table[j, k]), level_name(quantity, int(k)), int(run.steps[j])

    def _sentence(self, measure: str, stage: int, run: str) -> str:
        quantity, place = self._place(measure, stage)
        value, level, step = self.strongest(measure=measure, stage=stage, run=run)
        found = self._runs[run]
        table = found.auroc[quantity][:, :, place, 0].T
        none, few = (int(figures.told_before(found, table, s).sum()) for s in (0.0, ONSET))
        return (
            f"{run}, {measure}, {stage_names(quantity)[place]}: farthest from a coin {value:.2f} "
            f"(level {level}, step {step:,}); beyond 0.9 before a copy: {none} cells, before 10 % "
            f"copies: {few}."
        )

    def _draw(self, axes: list[Any], measure: str, stage: int, run: str) -> None:
        (ax,) = axes
        quantity, place = self._place(measure, stage)
        title = f"{measure}, {stage_names(quantity)[place]}: AUROC x 100, orange: larger for others"
        figures.draw_map(ax, self._runs[run], quantity, place, title)
        ax.yaxis.label.set_color(GREY)

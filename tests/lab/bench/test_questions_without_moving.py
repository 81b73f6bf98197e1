"""Every explorer answers for other values without moving anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made import CNN, LINES, NETWORKS, SHIFTS, VIT, MadeDrift, after, capitals, rungs, slides, trace
from made_runs import made_run

from deepdrift.alarms.diagnosis import LayerEvidence
from deepdrift.alarms.findings import Evidence, find
from deepdrift.lab.alarms.explorer import LiveMonitor
from deepdrift.lab.alarms.streams import DriftStream
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.confidence_under_shift.explorer import PromiseExplorer, ReliabilityExplorer
from deepdrift.lab.diagnosis.clinic import Case
from deepdrift.lab.diagnosis.explorer import GuessTheFault
from deepdrift.lab.diagnosis.faults import FAULTS
from deepdrift.lab.diffusion_memorisation.explorer import MemoryMap, TrainingExplorer
from deepdrift.lab.dime.explorer import PlaneExplorer
from deepdrift.lab.explanations_under_shift.explorer import MapExplorer
from deepdrift.lab.fair_comparison.explorer import ComparisonExplorer
from deepdrift.lab.fair_comparison.protocol import Scores
from deepdrift.lab.fair_comparison.table import Comparison
from deepdrift.lab.hidden_states.explorer import LayerPicker
from deepdrift.lab.innovation.explorer import ShiftExplorer
from deepdrift.lab.language_models.explorer import CoverageExplorer, Microscope
from deepdrift.lab.mmd.explorer import MMDExplorer
from deepdrift.lab.reinforcement_learning.explorer import AlarmExplorer, Scrubber
from deepdrift.lab.start_here.explorer import ThresholdExplorer
from deepdrift.lab.thresholds.explorer import FalseAlarmExplorer

RNG = np.random.default_rng(0)
NORMAL, STRANGE = RNG.gamma(4, size=200), RNG.gamma(6, size=150)


def threshold(**options):
    return ThresholdExplorer(NORMAL, {"digits": STRANGE, "noise": STRANGE[:50] + 3}, **options)


def layers():
    sets = {name: {"stem": RNG.normal(m, 1, (60, 3)), "head": RNG.normal(m, 1, (60, 5))}
            for name, m in (("clothing", 1.0), ("digits", 0.2))}  # fmt: skip
    other = {n: {k: abs(x) for k, x in states.items()} for n, states in sets.items()}
    return LayerPicker({"mean": sets, "largest": other})


def growing():
    scores = {s: {k: RNG.gamma(9, 1 + g * k, 80) for k in range(4)}
              for s, g in (("velocity", -0.1), ("innovation", 0.3))}  # fmt: skip
    return ShiftExplorer({"blur": scores, "noise": scores}, severity=1)


def monitor():
    def stream(onset, seed):
        fused = np.random.default_rng(seed).normal(size=40)
        fused[onset or 40 :] += 3
        return DriftStream(np.column_stack([fused / 2, fused]), fused, fused > 3, onset, ("a", "b"))

    return LiveMonitor({"abrupt": stream(15, 0), "stationary": stream(None, 1)}, step=20)


def mmd():
    g = torch.Generator().manual_seed(0)
    pairs = {k: (torch.randn(40, 3, generator=g), torch.randn(40, 3, generator=g) + m)
             for k, m in (("pixels", 0.3), ("states", 0.8))}  # fmt: skip
    return MMDExplorer(pairs, sizes=[20, 40], n_permutations=99)


def plane():
    fit, cal, new = (RNG.normal(size=(n, 5)) * [4, 3, 2, 1, 1] for n in (100, 120, 80))
    return PlaneExplorer(fit, cal, new, {"wide": 2 * new[:30], "moved": new[:30] + 3}, rank=2)


def comparison():
    kinds = {"new classes": "near", "digits": "far", "blur 1": "corruption", "blur 5": "corruption"}

    def table(names, seed):
        rng = np.random.default_rng(seed)
        values = {name: {"test": rng.normal(size=60)} | {k: rng.normal(g, size=60) for k in kinds}
                  for name, g in names.items()}  # fmt: skip
        return Comparison.of([Scores(values, {name: {0.05: 1.6} for name in names}, kinds)])

    gains = {"fused": 1.2, "energy": 0.6, "kNN": 0.9}
    return ComparisonExplorer({"CNN": table(gains, 0), "ViT": table(gains, 1)})


def game():
    profiles = {"dead_rows": [9.0, 8.0, 2.0], "weight_noise": [0.3, 9.0, 6.0], "blur": [4, 9, 6]}
    found = {
        k: find(Evidence(tuple(map(LayerEvidence, "abc", map(float, v)))))
        for k, v in profiles.items()
    }
    return GuessTheFault([Case(FAULTS[k], 3, 0, None, d, d) for k, d in found.items()], 2)


def alarms():
    """Two faults at two severities, their scores jumping at 8 or at 12, and two clean episodes."""
    broken = [trace(after(8 if f == "lag" else 12), f, s, lost=19)
              for f in ("lag", "wind") for s in (3, 5) for _ in "ab"]  # fmt: skip
    return AlarmExplorer([*broken, trace([1.0] * 20, ""), trace(after(19), "")], LINES)


def scrubber():
    episodes = {"A": trace(after(8), lost=19), "B": trace(after(12), "wind")}
    return Scrubber(episodes, {"cartpole": 10.0})


# how to make it, a move of every control, a value no control can take, other questions
EXPLORERS = {
    "threshold": (threshold, {"threshold": 7.5, "shift": "noise"}, {"threshold": -5}, ["counts"]),
    "layer": (layers, {"layer": "head", "pooling": "largest"}, {"layer": "neck"}, []),
    "shift": (growing, {"severity": 3, "score": "innovation", "shift": "noise"}, {"severity": 4},
              ["auroc"]),
    "false alarms": (lambda: FalseAlarmExplorer(NORMAL, n_draws=20),
                     {"alpha": 0.1, "n": 60, "draw": 7, "rule": "quantile"}, {"rule": "luck"},
                     ["rates"]),
    "live": (monitor, {"step": 39, "stream": "stationary", "theta_high": 2.0, "theta_low": 0.5,
                       "theta_slope": 0.2, "window_size": 10, "raise_after": 2, "clear_after": 3,
                       "detector": "cusum"}, {"step": 40}, ["log_lines"]),
    "mmd": (mmd, {"features": "states", "n": 20, "sigma": 0.5, "permutations": 59}, {"n": 30},
            ["point", "effects"]),
    "plane": (plane, {"rank": 4, "alpha": 0.1, "distance": "within", "strangers": "moved"},
              {"rank": 6}, ["curves", "scores"]),
    "comparison": (comparison, {"network": "ViT", "shift": "blur", "rival": "kNN"},
                   {"rival": "fused"}, ["difference"]),
    "maps": (lambda: MapExplorer(MadeDrift(), {CNN: rungs(0.2), VIT: rungs(0.4)}),
             {"explanation": "ViT, rollout", "fault": "gaussian_noise", "severity": 5,
              "pairs": "prediction kept"}, {"severity": 6}, ["overlap"]),
    "reliability": (lambda: ReliabilityExplorer(NETWORKS, SHIFTS, {"CNN": 2.0, "ViT": 1.0}),
                    {"severity": 1, "bins": 7, "shift": "gaussian_noise", "network": "ViT",
                     "temperature": True}, {"bins": 31}, ["test"]),
    "promise": (lambda: PromiseExplorer(NETWORKS, SHIFTS),
                {"wrong": 12, "score": "fused", "shift": "gaussian_noise", "network": "ViT"},
                {"wrong": 0}, ["promise"]),
    "alarms": (alarms, {"fault": "wind", "signal": "hidden velocity", "severity": 3, "line": 4.0,
                        "raise_after": 2, "low": 0.2, "clear_after": 5, "episode": 2},
               {"raise_after": 0}, ["outcomes"]),
    "scrubber": (scrubber, {"episode": "B", "step": 10, "stop": True}, {"step": -1}, []),
    "microscope": (lambda: Microscope(slides("Kenya", "Peru"), np.ones(30)),
                   {"country": "Peru", "answer": "right", "block": 3, "unexplained": True},
                   {"block": 31}, ["velocity"]),
    "coverage": (lambda: CoverageExplorer(capitals()),
                 {"answered": 70, "score": "first", "template": "list"}, {"answered": 0},
                 ["coverage", "counts"]),
    "training": (lambda: TrainingExplorer([made_run(), made_run(64)]),
                 {"checkpoint": 3, "run": "64 images, seed 0"}, {"checkpoint": 5}, []),
    "memory map": (lambda: MemoryMap([made_run(), made_run(64, shares=(0, 0, 0, 0.5))]),
                   {"measure": "norm", "stage": 4, "run": "64 images, seed 0"}, {"stage": 6},
                   ["strongest"]),
    "game": (game, {"choice": "inside"}, {"choice": "gremlins"}, []),
}  # fmt: skip


@pytest.fixture(params=EXPLORERS)
def case(request):
    make, *rest = EXPLORERS[request.param]
    return make(), *rest


def everything(app):
    """All that a reader sees, and all that code can ask."""
    boxes = [child.value for row in app.view.children for child in getattr(row, "children", ())
             if hasattr(child, "value")]  # fmt: skip
    seen = [getattr(app, name).value for name in ("status", "lamp", "log") if hasattr(app, name)]
    return app.values, bytes(app.image.value), boxes, seen, app.summary()


def test_every_control_of_every_explorer_is_moved_here(case):
    app, moves, _, _ = case
    assert moves.keys() == app.values.keys()
    assert all(app.values[name] != value for name, value in moves.items())


def test_the_sentence_elsewhere_is_the_one_after_moving_there(case):
    app, moves, _, _ = case
    before, drawn = everything(app), []
    app._draw = lambda *a, paint=app._draw, **k: (drawn.append(1), paint(*a, **k))
    one_by_one = {name: app.summary(**{name: value}) for name, value in moves.items()}
    there = app.summary(**moves)
    assert everything(app) == before and not drawn
    assert there != before[-1] and app.summary(**app.values) == before[-1]
    assert app.set(**moves).summary() == there and drawn == [1]
    if "choice" not in moves:  # a guess cannot be taken back
        start = before[0]
        for name, value in moves.items():
            assert app.set(**start).set(**{name: value}).summary() == one_by_one[name]
        assert everything(app.set(**start)) == before


def test_other_questions_take_values_too(case):
    app, moves, _, questions = case
    before = everything(app)
    elsewhere = {name: getattr(app, name)(**moves) for name in questions}
    here = {name: getattr(app, name)() for name in questions}
    assert everything(app) == before
    app.set(**moves)
    for name in questions:
        np.testing.assert_equal(vars_of(getattr(app, name)()), vars_of(elsewhere[name]))
        with pytest.raises(AssertionError):
            np.testing.assert_equal(vars_of(here[name]), vars_of(elsewhere[name]))


def vars_of(answer):
    if not hasattr(answer, "__dataclass_fields__"):
        return answer
    return {k: v.numpy() if torch.is_tensor(v) else v for k, v in vars(answer).items()}


def test_impossible_values_are_refused_and_nothing_moves(case):
    app, moves, impossible, questions = case
    before = everything(app)
    for ask in (app.summary, *(getattr(app, name) for name in questions)):
        with pytest.raises(ExplorerError, match=next(iter(impossible))):
            ask(**moves | impossible)
        with pytest.raises(ExplorerError, match="speed: no such control; this explorer has "):
            ask(speed=3)
    assert everything(app) == before


def test_the_ends_of_a_logarithmic_slider_are_said_as_they_would_be_shown():
    app = ThresholdExplorer(NORMAL, STRANGE, log=True)
    for end in (min(NORMAL.min(), STRANGE.min()), max(NORMAL.max(), STRANGE.max())):
        assert app.summary(threshold=end) == app.set(threshold=end).summary()

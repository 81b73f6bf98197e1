"""The tables of notebook 08: words and numbers from the registry and the stored comparison."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.fair_comparison.detectors import DETECTORS, FUSED
from deepdrift.lab.fair_comparison.protocol import Scores
from deepdrift.lab.fair_comparison.table import GROUPS, Comparison
from deepdrift.lab.fair_comparison.text_table import TextTable

__all__ = [
    "difference_table",
    "interval_table",
    "largest_gap",
    "league_order",
    "league_table",
    "loss_table",
    "of_family",
    "score_table",
    "span",
    "verdict",
    "winner_counts",
    "winner_table",
    "wrapped",
]

Tables = Mapping[str, Comparison]
COLUMNS = dict(zip(GROUPS, ("mean", "near", "far", "sensor"), strict=True))
SIDES = ("fused", "its parts", "published and Gaussians", "no network")


def score_table() -> TextTable:
    """Every score of the registry with its card, in the order of the registry.

    Examples
    --------
    >>> score_table().column("score")[:2]
    ['fused', 'fused, without input']
    """
    header = ["score", "it looks at", "formula", "needs labels", "what to do with it"]
    rows = [
        [name, d.card.looks_at, d.card.formula, d.card.labels, d.card.advice]
        for name, d in DETECTORS.items()
    ]
    return TextTable(header, rows, bold=[FUSED])


def of_family(*families: str) -> list[str]:
    """Names of the scores of these families, in the order of the registry.

    Examples
    --------
    >>> of_family("trivial")
    ['pixel statistics', 'input norm', 'gradient energy', 'random']
    """
    return [name for name, d in DETECTORS.items() if d.family in families]


def wrapped(text: str, width: int = 95) -> str:
    """A long sentence in lines that no page breaks again; no line ends inside an interval.

    Examples
    --------
    >>> print(wrapped("one two three", width=9))
    one two
        three
    """
    kept = re.sub(r"\[[^]]*\]", lambda found: found.group().replace(" ", "\xa0"), text)
    return textwrap.fill(kept, width, subsequent_indent="    ").replace("\xa0", " ")


def largest_gap(live: Scores, stored: Comparison, training: int = 0) -> tuple[int, float]:
    """How many AUROCs a live run and one stored training share, and how far apart they are."""
    gaps = [
        abs(live.auroc(name, key).value - float(stored.by_training(name, key)[training]))
        for name in live.detectors
        for key in live.kinds
    ]
    return len(gaps), max(gaps)


# --- who wins -----------------------------------------------------------------------------------


def winner_counts(table: Comparison) -> dict[str, int]:
    """How many of the single shifts each of `SIDES` wins."""
    counts = dict.fromkeys(SIDES, 0)
    ours, blind = of_family("ours"), of_family("trivial")
    for shift in table.shifts:
        name = table.ranking(shift)[0][0]
        side = SIDES[0] if name == FUSED else SIDES[1] if name in ours else SIDES[2]
        counts[SIDES[3] if name in blind else side] += 1
    return counts


def winner_table(tables: Tables) -> TextTable:
    """`winner_counts`, a network a row."""
    rows = [[name, *map(str, winner_counts(table).values())] for name, table in tables.items()]
    return TextTable(["shifts won by", *SIDES], rows)


def league_order(tables: Tables) -> list[str]:
    """All scores, the best mean over the networks first; those that miss in one come last."""
    names = list(dict.fromkeys(d for table in tables.values() for d in table.detectors))

    def place(name: str) -> tuple[int, float]:
        found = [t.auroc(name).value for t in tables.values() if name in t.detectors]
        return len(tables) - len(found), -sum(found) / len(found)

    return sorted(names, key=place)


def league_table(tables: Tables, caption: str) -> TextTable:
    """AUROC in hundredths, scores down, groups of shifts across; orange above a coin, purple below.

    The best of a column is bold. Scores that do not apply to a network have dashes there.
    """
    colour_map = figures.matplotlib.colormaps["PuOr_r"]
    names, header, colours, marked = league_order(tables), ["score"], {}, set()
    rows = [[name] for name in names]
    for network, t in tables.items():
        for group in [g for g in GROUPS if g in t.rows]:
            header.append(f"{network} {COLUMNS[group]}")
            best = t.ranking(group)[0][0]
            for i, name in enumerate(names):
                known = name in t.detectors
                value = round(100 * t.auroc(name, group).value) if known else None
                rows[i].append("–" if value is None else str(value))
                if value is not None:
                    shade = colour_map(0.5 + 0.8 * (value / 100 - 0.5))
                    colours[i, len(header) - 1] = figures.matplotlib.colors.to_hex(shade)
                if name == best:
                    marked.add((i, len(header) - 1))
    return TextTable(header, rows, (), caption, colours, frozenset(marked))


def loss_table(tables: Tables, name: str, rivals: Sequence[str]) -> TextTable:
    """For every shift the best rival that is surely better than ``name``, and the difference.

    Surely: the interval over test images lies below 0. A dash where no rival is.
    """
    lost = {
        network: {
            row: (rival, gap)
            for row, rival, gap in t.losses(name, rivals=[r for r in rivals if r in t.detectors])
        }
        for network, t in tables.items()
    }
    header, rows = ["shift"], []
    for network in tables:
        header += [f"{network}: better", f"{name} minus it"]
    for shift in next(iter(tables.values())).shifts:
        words = [shift.replace("_", " ")]
        for found in lost.values():
            rival, gap = found.get(shift, ("–", "–"))
            words += [rival, str(gap)]
        rows.append(words)
    return TextTable(header, rows)


# --- intervals ----------------------------------------------------------------------------------


def span(estimate: Estimate) -> str:
    """An interval without its middle.

    Examples
    --------
    >>> span(Estimate(0.5, 0.4, 0.6, 10, 10))
    '[0.400, 0.600]'
    """
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"


def interval_table(tables: Tables, names: Iterable[str], row: str = GROUPS[0]) -> TextTable:
    """AUROC of some scores with both intervals, over test images and over trainings."""
    header = ["score"]
    for network in tables:
        header += [f"{network} [over images]", "over trainings"]
    rows = []
    for name in names:
        words = [name]
        for t in tables.values():
            words += [str(t.auroc(name, row)), span(t.over_trainings(name, row=row))]
        rows.append(words)
    return TextTable(header, rows, bold=[FUSED])


def verdict(table: Comparison, a: str, b: str, row: str = GROUPS[0]) -> str:
    """Whether a is ahead of b, behind or tied over images; "open" if trainings may turn it."""
    gap, over = table.difference(a, b, row), table.over_trainings(a, b, row)
    if gap.low <= 0 <= gap.high:
        return "tie"
    return ("ahead" if gap.low > 0 else "behind") + (", open" if over.low <= 0 <= over.high else "")


def difference_table(tables: Tables, lines: Iterable[tuple[str, str, str]]) -> TextTable:
    """AUROC of a minus AUROC of b on a row, with both intervals, for each network.

    Parameters
    ----------
    lines : iterable of (a, b, row)
        Two scores, and a shift or group.
    """
    header, rows = ["first minus second", "on"], []
    for network in tables:
        header += [f"{network} [over images]", "over trainings", "first is"]
    for a, b, row in lines:
        words = [f"{a} − {b}", "new classes" if row == "near" else row]
        for t in tables.values():
            gap, over = t.difference(a, b, row), t.over_trainings(a, b, row)
            words += [str(gap), span(over), verdict(t, a, b, row)]
        rows.append(words)
    return TextTable(header, rows)

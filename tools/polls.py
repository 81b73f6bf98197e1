"""Hold docs/polls.md against the notebooks: every **Predict.** has its options and wrong answers.

    python tools/polls.py            # what is missing, left over, or stands in another section
    python tools/polls.py --write    # move entries to where their question stands now

An entry belongs to the question that is most like its own first words. `--write` keeps its text,
gives a question without entry one that says TODO, and puts entries without question at the end
under "Left over", to be used or thrown away by hand.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path
from typing import NamedTuple

import workspace

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "polls.md"
PREDICT = re.compile(r"\*\*Predict\.?\*\*")
SECTION = re.compile(r"^## (\d+)(?: ·|\.) (.+)$")
LEFT_OVER = "## Left over"
TODO = "   - TODO: A ... · B ... · **C ...**\n   - Often said: TODO"
ALIKE = 0.5  # from here on two questions are the same, reworded


class Question(NamedTuple):
    """One prediction: where it stands, and what it asks."""

    notebook: str  # its first heading, '03 · Thresholds'
    file: str
    section: str  # '5 · Five ways to break the promise'
    text: str


class Entry(NamedTuple):
    """One item of the page, without its number."""

    notebook: str
    section: str
    text: str  # the question, then the indented lines below it

    @property
    def question(self) -> str:
        return " ".join(re.split(r"\n\s+- ", self.text)[0].split())


def plain(heading: str) -> str:
    return re.sub(r"[*`$]", "", heading).strip()


def questions(folder: Path) -> list[Question]:
    """Every prediction of the lessons, in order."""
    found = []
    for path in sorted(folder.glob("[0-9]*.ipynb")):
        notebook, section = path.stem, ""
        for cell in workspace.parse(path)["cells"]:
            if cell.get("cell_type") != "markdown":
                continue
            for paragraph in re.split(r"\n\s*\n", "".join(cell["source"])):
                if title := re.match(r"# (.+)", paragraph):
                    notebook = plain(title[1])
                for line in paragraph.splitlines():
                    if heading := SECTION.match(line):
                        section = f"{heading[1]} · {plain(heading[2])}"
                for asked in PREDICT.split(paragraph)[1:]:
                    found.append(Question(notebook, path.name, section, " ".join(asked.split())))
    return found


def entries(page: str) -> list[Entry]:
    """Every item of the page, in order."""
    found: list[Entry] = []
    notebook = section = ""
    for line in page.splitlines():
        if heading := re.match(r"## \[?(.+?)(?:\]\(|$)", line):
            notebook, section = heading[1], ""
        elif line.startswith("### "):
            section = line[4:]
        elif item := re.match(r"\d+\. (.+)", line):
            found.append(Entry(notebook, section, item[1]))
        elif line.startswith("   ") and found:
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line}")
    return found


def likeness(question: Question, entry: Entry) -> float:
    """Between 0 and 1: how much of the words is shared, a little more in the same notebook."""
    ours = re.findall(r"\w+", entry.question.lower())
    theirs = re.findall(r"\w+", question.text.lower())[: len(ours) + 5]
    words = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    return words + 0.05 * (question.notebook[:2] == entry.notebook[:2])


def matched(asked: list[Question], items: list[Entry]) -> dict[int, int]:
    """Index of the entry of each question, best pairs first."""
    pairs = [(likeness(q, e), -i, -j) for i, q in enumerate(asked) for j, e in enumerate(items)]
    found: dict[int, int] = {}
    for alike, i, j in sorted(pairs, reverse=True):
        if alike >= ALIKE and -i not in found and -j not in found.values():
            found[-i] = -j
    return found


def rewritten(page: str, asked: list[Question]) -> str:
    """The page with every entry under the notebook and section in which its question stands."""
    items = entries(page)
    pairs = matched(asked, items)
    lines = [page.split("\n## ")[0].rstrip()]
    notebook = section = ""
    for i, question in enumerate(asked):
        if question.notebook != notebook:
            notebook, section = question.notebook, ""
            lines.append(f"\n## [{notebook}](../notebooks/{question.file})")
        if question.section != section:
            section, number = question.section, 0
            lines.append(f"\n### {section}\n")
        number += 1
        text = items[pairs[i]].text if i in pairs else f"{question.text}\n{TODO}"
        lines.append(f"{number}. {text}")
    if rest := [e for j, e in enumerate(items) if j not in pairs.values()]:
        lines.append(f"\n{LEFT_OVER}\n")
        lines += [f"{k}. {entry.text}" for k, entry in enumerate(rest, 1)]
    return "\n".join(lines) + "\n"


def differences(page: str, asked: list[Question]) -> list[str]:
    """What a person has to do, in words; empty where the page is in order."""
    items = entries(page)
    pairs = matched(asked, items)
    told = [
        f"no entry: {q.notebook}, section {q.section}: {q.text[:70]}"
        for i, q in enumerate(asked)
        if i not in pairs
    ]
    for j, entry in enumerate(items):
        if j not in pairs.values():
            told.append(f"no question (any more): {entry.question[:70]}")
        if "TODO" in entry.text:
            told.append(f"not written yet: {entry.question[:70]}")
    if not told and rewritten(page, asked) != page:
        told.append("entries stand under another heading or in another order: --write moves them")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="move entries, and add TODOs")
    write = parser.parse_args().write
    try:
        page, asked = PAGE.read_text(encoding="utf-8"), questions(ROOT / "notebooks")
        if write:
            page = rewritten(page, asked)
            workspace.write(PAGE, page)
    except (OSError, ValueError) as error:
        print(f"polls: cannot read or write: {error}", file=sys.stderr)
        return 1
    told = differences(page, asked)
    for line in told or [f"{PAGE.name}: {len(asked)} predictions, each with an entry"]:
        print(line)
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The tool that holds the polls against the notebooks: it finds, moves, and never throws away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import polls as tool
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]

INTRO = "# Polls\n\nAsk first."
FIRST = (
    "How many of 1,000 digits does it name with confidence?\n"
    "   - A none · B dozens · **C hundreds**\n"
    "   - Often said: A, since confidence is taken\n"
    "     for familiarity."
)
SECOND = (
    "Does the first layer see noise?\n   - A no · **B yes** · C later\n   - Often said: A: early."
)
PAGE = f"""{INTRO}

## [00 · Start](../notebooks/00_start.ipynb)

### 1 · A confident mistake

1. {FIRST}

### 2 · Where

1. {SECOND}
"""


def save(folder: Path, name: str, *texts: str) -> None:
    folder.mkdir(exist_ok=True)
    cells = [cell for text in texts for cell in (new_markdown_cell(text), new_code_cell("1"))]
    nbformat.write(new_notebook(cells=cells), folder / name)


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    save(
        folder,
        "00_start.ipynb",
        "# 00 · Start\n\nA promise.",
        "**Reading.** So.\n\n## 1 · A *confident* mistake\n\nWords.\n\n"
        "**Predict.** How many of 1,000\ndigits does it name with confidence?\n\nMore words.",
        "## 2 · Where",
        "**Predict.** Does the first layer see noise?",
        "### Exercise 1 · Count\n\nPredict the number.",
    )
    return folder


def test_questions_are_found_with_their_places(notebooks):
    assert tool.questions(notebooks) == [
        tool.Question(
            "00 · Start",
            "00_start.ipynb",
            "1 · A confident mistake",
            "How many of 1,000 digits does it name with confidence?",
        ),
        tool.Question(
            "00 · Start", "00_start.ipynb", "2 · Where", "Does the first layer see noise?"
        ),
    ]


def test_entries_are_read_with_all_their_lines():
    assert tool.entries(PAGE) == [
        tool.Entry("00 · Start", "1 · A confident mistake", FIRST),
        tool.Entry("00 · Start", "2 · Where", SECOND),
    ]
    assert tool.entries(PAGE)[0].question == FIRST.splitlines()[0]


def test_a_page_in_order_stays_byte_for_byte(notebooks):
    asked = tool.questions(notebooks)
    assert tool.differences(PAGE, asked) == []
    assert tool.rewritten(PAGE, asked) == PAGE


def test_entries_move_with_their_questions(notebooks):
    """Another notebook, another section, another order, and a question reworded."""
    save(
        notebooks,
        "00_start.ipynb",
        "# 00 · Start",
        "## 1 · Layers\n\n**Predict.** Does the first layer see the noise?",
    )
    save(
        notebooks,
        "01_next.ipynb",
        "# 01 · Next",
        "## 1 · Mistakes\n\n**Predict.** How many of the 1,000 digits are named with confidence?",
    )
    asked = tool.questions(notebooks)
    assert tool.differences(PAGE, asked) == [
        "entries stand under another heading or in another order: --write moves them"
    ]
    page = tool.rewritten(PAGE, asked)
    assert (
        page
        == f"""{INTRO}

## [00 · Start](../notebooks/00_start.ipynb)

### 1 · Layers

1. {SECOND}

## [01 · Next](../notebooks/01_next.ipynb)

### 1 · Mistakes

1. {FIRST}
"""
    )
    assert tool.differences(page, asked) == []


def test_a_new_question_gets_a_todo_and_a_lost_entry_is_kept(notebooks):
    save(
        notebooks,
        "00_start.ipynb",
        "# 00 · Start",
        "## 1 · New\n\n**Predict.** What is the p-value of nine?",
        "**Predict.** Does the first layer see noise?",
    )
    asked = tool.questions(notebooks)
    assert tool.differences(PAGE, asked) == [
        "no entry: 00 · Start, section 1 · New: What is the p-value of nine?",
        "no question (any more): How many of 1,000 digits does it name with confidence?",
    ]
    page = tool.rewritten(PAGE, asked)
    assert page.endswith(
        f"1. What is the p-value of nine?\n{tool.TODO}\n2. {SECOND}\n\n## Left over\n\n1. {FIRST}\n"
    )
    assert tool.differences(page, asked) == [
        "not written yet: What is the p-value of nine?",
        "no question (any more): How many of 1,000 digits does it name with confidence?",
    ]
    assert tool.rewritten(page, asked) == page


def test_the_command_says_that_the_page_is_in_order():
    command = [sys.executable, str(ROOT / "tools" / "polls.py")]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    count = len(tool.questions(ROOT / "notebooks"))
    assert (result.returncode, result.stdout) == (
        0,
        f"polls.md: {count} predictions, each with an entry\n",
    )

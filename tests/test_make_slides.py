"""Slides: which cells, in which order, and as HTML that fetches nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import make_slides as tool
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
SHOWN = f'src="data:image/png;base64,{PIXEL}"'


def text(source: str, *tags: str) -> dict:
    return new_markdown_cell(source, metadata={"tags": list(tags)} if tags else {})


def code(source: str, *outputs: dict, tags: tuple[str, ...] = ()) -> dict:
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def stdout(words: str) -> dict:
    return new_output("stream", name="stdout", text=words)


def figure(alt: str | None = None, words: str = "<Figure size 800x300 with 1 Axes>") -> dict:
    metadata = {"image/png": {"alt": alt, "width": 800}} if alt else {}
    data = {"image/png": PIXEL, "text/plain": words}
    return new_output("display_data", data=data, metadata=metadata)


def made(*cells: dict) -> list[tuple[str, str]]:
    return list(map(tuple, tool.slides(new_notebook(cells=list(cells)), Path("."))))


def test_tagged_cells_become_slides_and_a_heading_begins_another():
    slides = made(
        text("# 03 · Thresholds\n\nA promise.", "slide"),
        code("import deepdrift", stdout("ready")),
        text("**Reading.** So it is.\n\n## 1 · Count `p`\n\n**Predict.** How many?", "slide"),
        code("plot(x)", stdout("2 < 3\n"), figure("Two bars"), tags=("slide",)),
        text("Not shown.\n\n## 2 · More"),
        text("**In short.** Two.", "slide"),
        code("assert True", tags=("guard",)),
    )
    assert slides == [
        ("", "<h1>03 · Thresholds</h1>\n<p>A promise.</p>\n"),
        ("", '<p class="reading"><strong>Reading.</strong> So it is.</p>\n'),
        (
            "",
            "<h2>1 · Count <code>p</code></h2>\n"
            '<p class="predict"><strong>Predict.</strong> How many?</p>\n',
        ),
        (
            "1 · Count p",
            f'<pre>2 &lt; 3</pre>\n<figure><img alt="Two bars" {SHOWN}></figure>',
        ),
        ("2 · More", '<p class="short"><strong>In short.</strong> Two.</p>\n'),
    ]


def test_without_tags_title_headings_predictions_pictures_and_what_was_seen():
    slides = made(
        text("# 03 · Thresholds\n\nA promise."),
        code("print(1)", stdout("1")),
        text("## 1 · Count\n\nFirst.\n\nSecond.\n\n**Predict.** How many?"),
        code("plot(x)", stdout("2\n"), figure("Two bars")),
        text("**Reading.** Two.\n\n### Detail\n\nWords.\n\n**Predict.** And now?"),
        text("## You saw\n\n- Two."),
        text("## Questions\n\n1. Why?"),
        text("Contents | [04 →](04_alarms.ipynb)"),
    )
    assert [section for section, _ in slides] == ["", "", "1 · Count", "1 · Count", ""]
    html = [html for _, html in slides]
    assert html[1] == (
        "<h2>1 · Count</h2>\n<p>First.</p>\n"
        '<p class="predict"><strong>Predict.</strong> How many?</p>\n'
    )
    colon = tool.abridged("## 2 · Sum\n\nIt is:\n\n$$x$$\n\nThird.")
    assert colon == "## 2 · Sum\n\nIt is:\n\n$$x$$"
    assert html[2] == f'<figure><img alt="Two bars" {SHOWN}></figure>'
    assert html[3] == '<p class="predict"><strong>Predict.</strong> And now?</p>\n'
    assert html[4] == "<h2>You saw</h2>\n<ul>\n<li>Two.</li>\n</ul>\n"


def test_an_explorer_is_its_picture_and_its_sentence():
    (slide,) = made(code("app", figure(words='At 3 "only" 4 % < 5 %.'), tags=("slide",)))
    words = "At 3 &quot;only&quot; 4 % &lt; 5 %."
    image = f'<img alt="{words}" {SHOWN}>'
    assert slide[1] == f'<figure>{image}<p class="sentence">{words}</p></figure>'


def test_tables_and_values_are_shown_and_errors_are_not():
    table = new_output("execute_result", data={"text/html": "<b>9</b>", "text/plain": "9"})
    value = new_output("execute_result", data={"text/plain": "[1 < 2]"})
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    warning = new_output("stream", name="stderr", text="careful")
    (slide,) = made(code("x", table, value, error, warning, tags=("slide",)))
    assert slide[1] == "<b>9</b>\n<pre>[1 &lt; 2]</pre>"
    assert made(code("x", error, tags=("slide",))) == []


def test_a_number_sign_in_a_fenced_block_is_no_heading():
    source = "One\n```python\n# a comment\n```\n## Two\nwords"
    assert tool.parts(source) == ["One\n```python\n# a comment\n```", "## Two\nwords"]


def test_formulas_become_mathml_and_dollars_in_code_stay():
    html = tool.to_html("A square $x^2$ costs `$5`.\n\n$$\\frac{a}{b}$$", Path("."))
    square, fraction = re.findall(r"<math.*?</math>", html, re.S)
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in square and 'display="inline"' in square
    assert 'display="block"' in fraction and "<mfrac>" in fraction
    assert "<code>$5</code>" in html


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_formula_of_the_lessons_is_understood(path):
    """A command that is not known would stand there with its backslash."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for formula in re.findall(
                r"<math.*?</math>", tool.to_html(cell.source, path.parent), re.S
            ):
                assert "\\" not in formula, formula


def test_links_to_files_become_words_and_addresses_stay():
    html = tool.to_html("[data](../data/README.md) and [1](https://arxiv.org/abs/1)", Path("."))
    address = '<a href="https://arxiv.org/abs/1" target="_blank" rel="noopener">1</a>'
    assert html == f"<p><span>data</span> and {address}</p>\n"


@pytest.mark.parametrize(
    ("html", "outside"),
    [
        ('<img src="https://a.b/c.png">', ['src="https://a.b/c.png"']),
        ("<script>1</script>", ["<script>"]),
        ('<p style="background: url(x.png)">', ['style="background: url(x.png)"']),
        ("<style>@import 'x.css';</style>", ["<style> with @import or url()"]),
        ('<link rel="stylesheet" href="x.css">', ["<link>"]),
        (f"<img {SHOWN}>", []),
        ("<pre>src=&quot;https://a.b&quot; url(x)</pre>", []),
        ('<a href="https://a.b">x</a>', []),
    ],
)
def test_what_would_be_fetched_is_found(html, outside):
    assert tool.fetched(html) == outside


# ---- whole decks ----


def save(folder: Path, *cells: dict) -> Path:
    path = folder / "03_thresholds.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def test_a_deck_holds_reveal_and_its_slides_in_order(tmp_path):
    deck = tool.deck(save(tmp_path, text("# 03 · A & B", "slide"), text("## 1 · A", "slide")))
    assert "<title>03 · A &amp; B</title>" in deck
    assert re.findall(r"<section>.*?</section>", deck, re.S) == [
        '<section><div class="fit"><h1>03 · A &amp; B</h1>\n</div></section>',
        '<section><div class="fit"><h2>1 · A</h2>\n</div></section>',
    ]
    script, style = tool.reveal()
    assert "reveal.js" in script and script in deck and style in deck


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([text("![x](https://a.b/c.png)", "slide")], 'needs something from elsewhere: src="https'),
        ([text("![x](gone.png)", "slide")], 'needs something from elsewhere: src="gone.png"'),
        ([code("x", tags=("slide",))], "has nothing for a slide: tag cells with 'slide'"),
        ([], "has nothing for a slide"),
    ],
)
def test_what_no_slide_can_be_made_of_is_named(tmp_path, cells, words):
    with pytest.raises(tool.SlideError, match=re.escape(words)):
        tool.deck(save(tmp_path, *cells))


@pytest.mark.parametrize("content", ["<<<<<<< HEAD", "[]", json.dumps({"cells": 3})])
def test_a_notebook_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "03_x.ipynb").write_text(content)
    with pytest.raises(tool.SlideError, match=r"03_x\.ipynb is not a readable notebook"):
        tool.deck(tmp_path / "03_x.ipynb")


def test_without_reveal_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tool.SlideError, match=r"sphinx-revealjs is missing.*\"\.\[class\]\""):
        tool.reveal()

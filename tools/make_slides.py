"""Lecture slides from a notebook: one HTML file that works without a network.

Each cell tagged `slide` becomes a slide: text as it stands (a heading inside it begins another
slide), of code its stored outputs. A notebook without such tags gives its title, the heading, first
paragraph and prediction of each section, its pictures, and "You saw".

All is inside the file: reveal.js and its style (from the package sphinx-revealjs), pictures with
their words, formulas as MathML (latex2mathml), which browsers draw themselves. Needs the extra
`class`; `make class` installs it. `tools/classroom.py` calls this for all lessons.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import latex2mathml.converter
import workspace
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TAG = "slide"
FENCE = re.compile(r"^ {0,3}(```|~~~)")
HEADING = re.compile(r"^#{1,6} ")
SECTION = re.compile(r"^## (\d+)(?: ·|\.) ")
PREDICT = re.compile(r"\*\*Predict\b")
MARKED = {"Predict": "predict", "In short": "short", "Reading": "reading"}
LOADED = {"src", "srcset", "data", "poster"}  # attributes by which a browser fetches


class SlideError(Exception):
    """No slides can be made; the message says why and what to do."""


class Slide(NamedTuple):
    """One slide: the section it stands in ('' where its own heading says it), and its HTML."""

    section: str
    html: str


# ---- text ----


class Renderer(IPythonRenderer):
    """Markdown to HTML as JupyterLab shows it, but nothing is left to fetch."""

    def inline_math(self, body: str) -> str:
        return latex2mathml.converter.convert(body)

    def block_math(self, body: str) -> str:
        return latex2mathml.converter.convert(body, display="block")

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """Keep addresses; a link to another file of the repository leads nowhere from a slide."""
        if re.match(r"https?://", url):
            return f'<a href="{escape(url)}" target="_blank" rel="noopener">{text}</a>'
        return f"<span>{text}</span>"

    def paragraph(self, text: str) -> str:
        for word, name in MARKED.items():
            if re.match(rf"<strong>{word}\b", text):
                return f'<p class="{name}">{text}</p>\n'
        return f"<p>{text}</p>\n"


def to_html(markdown: str, folder: Path) -> str:
    """HTML of a text cell; pictures are read from `folder`."""
    renderer = Renderer(
        escape=False, embed_images=True, exclude_anchor_links=True, path=str(folder)
    )
    return MarkdownWithMath(renderer=renderer).render(markdown)


def parts(markdown: str) -> list[str]:
    """A text cut before each heading; a line in a fenced block is none."""
    found, fenced = [[]], False
    for line in markdown.splitlines():
        fenced ^= bool(FENCE.match(line))
        if HEADING.match(line) and not fenced:
            found.append([])
        found[-1].append(line)
    texts = ("\n".join(lines).strip() for lines in found)
    return [text for text in texts if text]


def abridged(part: str) -> str:
    """What a section shows without tags: heading, first paragraph, prediction; else ''.

    A first paragraph that ends in a colon brings the next one, such as a formula or a table.
    """
    paragraphs = re.split(r"\n\s*\n", part)
    questions = [p for p in paragraphs if PREDICT.search(p)]
    if re.match("## You saw", part):
        return part
    if SECTION.match(part):
        first = [p for p in paragraphs[1:] if p not in questions][:2]
        first = first if first and first[0].rstrip().endswith(":") else first[:1]
        return "\n\n".join([paragraphs[0], *first, *questions])
    return "\n\n".join(questions)


class Fetches(HTMLParser):
    """Collects what a browser would load from elsewhere to show a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe"):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            outside = name in LOADED and not (value or "").startswith("data:")
            if outside or (name == "style" and "url(" in (value or "")):
                self.found.append(f'{name}="{value}"')

    def handle_data(self, data: str) -> None:
        if self.get_starttag_text() == "<style>" and re.search(r"@import|url\(", data):
            self.found.append("<style> with @import or url()")


def fetched(html: str) -> list[str]:
    """What a browser would load from elsewhere, as words; empty for HTML that is complete."""
    parser = Fetches()
    parser.feed(html)
    return parser.found


# ---- outputs ----


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def pictured(output: dict, section: str) -> str:
    """A figure, or an explorer's picture with its sentence, with words for who cannot see it."""
    data = output["data"]
    sentence = joined(data.get("text/plain", "<"))
    sentence = "" if sentence.startswith("<") else sentence
    alt = output.get("metadata", {}).get("image/png", {}).get("alt")
    alt = alt or sentence or f"Figure: {section or 'see the notebook'}"
    png = "".join(joined(data["image/png"]).split())
    image = f'<img alt="{escape(alt)}" src="data:image/png;base64,{png}">'
    below = f'<p class="sentence">{escape(sentence)}</p>' if sentence else ""
    return f"<figure>{image}{below}</figure>"


def shown(cell: dict, section: str, pictures_only: bool = False) -> str:
    """HTML of a code cell's outputs, errors left out."""
    found = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data:
            found.append(pictured(output, section))
        elif pictures_only:
            continue
        elif output.get("output_type") == "stream" and output.get("name") == "stdout":
            found.append(f"<pre>{escape(joined(output['text']).rstrip())}</pre>")
        elif "text/html" in data:
            found.append(joined(data["text/html"]))
        elif "text/plain" in data:
            found.append(f"<pre>{escape(joined(data['text/plain']))}</pre>")
    return "\n".join(found)


# ---- the slides ----


def slides(notebook: dict, folder: Path) -> Iterator[Slide]:
    """The slides of a notebook, in order."""
    tagged = any(TAG in cell.get("metadata", {}).get("tags", []) for cell in notebook["cells"])
    section = ""
    for number, cell in enumerate(notebook["cells"]):
        chosen = TAG in cell.get("metadata", {}).get("tags", [])
        if cell.get("cell_type") == "code":
            html = shown(cell, section, not tagged) if chosen or not tagged else ""
            if html:
                yield Slide(section, html)
        elif cell.get("cell_type") == "markdown":
            for part in parts(joined(cell["source"])):
                if part.startswith("## "):
                    section = re.sub(r"[*`$]", "", part.splitlines()[0][3:])
                if not tagged:
                    part = part if number == 0 else abridged(part)
                if part and (chosen or not tagged):
                    own = part.startswith(("# ", "## "))
                    yield Slide("" if own else section, to_html(part, folder))


def section_element(slide: Slide) -> str:
    """A slide as reveal.js wants it."""
    head = f'<div class="section">{escape(slide.section)}</div>\n' if slide.section else ""
    return f'<section>{head}<div class="fit">{slide.html}</div></section>'


def title(notebook: dict, path: Path) -> str:
    """The first heading, '03 · Thresholds', or the file's name."""
    first = joined(notebook["cells"][0].get("source", "")) if notebook["cells"] else ""
    heading = re.search(r"^# (.+)$", first, re.MULTILINE)
    return heading[1].strip() if heading else path.stem


def reveal() -> tuple[str, str]:
    """Source of reveal.js and its style sheet, from the package that ships them."""
    package = importlib.util.find_spec("sphinx_revealjs")  # found, not imported: no Sphinx starts
    folders = package.submodule_search_locations if package else []
    for script in (x for f in folders for x in sorted(Path(f).rglob("dist/reveal.js"))):
        style = script.with_name("reveal.css")
        if style.is_file():
            return script.read_text(encoding="utf-8"), style.read_text(encoding="utf-8")
    missing = "has no reveal.js" if folders else "is missing"
    raise SlideError(f'the package sphinx-revealjs {missing}: python -m pip install -e ".[class]"')


def deck(path: Path) -> str:
    """The HTML file of a notebook's slides."""
    try:
        notebook = workspace.parse(path)
    except ValueError as error:
        raise SlideError(f"{path} is not a readable notebook: {error}") from error
    try:
        found = list(slides(notebook, path.parent))
    except FileNotFoundError as error:
        raise SlideError(
            f"{path.name} shows a picture that is not there: {error.filename}"
        ) from error
    for number, slide in enumerate(found, 1):
        if outside := fetched(slide.html):
            raise SlideError(
                f"{path.name}, slide {number}, needs something from elsewhere: {outside[0]}. "
                "Slides work without a network: make it an output of a cell"
            )
    if not found:
        raise SlideError(f"{path.name} has nothing for a slide: tag cells with {TAG!r}")
    script, style = reveal()
    heads = (
        f'<div class="section">{escape(s.section)}</div>\n' if s.section else "" for s in found
    )
    body = "\n".join(
        f'<section>{head}<div class="fit">{slide.html}</div></section>'
        for head, slide in zip(heads, found, strict=True)
    )
    return PAGE.format(
        title=escape(title(notebook, path)),
        style=style + STYLE,
        body=body,
        script=script.replace("</script", r"<\/script"),
        start=START,
    )


STYLE = """
html, body { background: #fff; }
.reveal { color: #222; font: 30px/1.35 system-ui, "Segoe UI", Helvetica, Arial, "DejaVu Sans",
  sans-serif; }
.reveal .slides { text-align: left; }
.reveal .slides section { height: 100%; box-sizing: border-box; padding: 8px 24px 0; }
.section { font-size: 18px; color: #666; border-bottom: 1px solid #ccc; margin-bottom: 14px; }
.fit { height: 630px; overflow: auto; }
.fit h1 { font-size: 1.5em; line-height: 1.15; margin: 0.9em 0 0.5em; }
.fit h2 { font-size: 1.35em; line-height: 1.15; margin: 0.2em 0 0.5em; }
.fit h3 { font-size: 1.1em; margin: 0.2em 0 0.5em; }
.fit p, .fit ul, .fit ol, .fit table, .fit pre { margin: 0 0 0.6em; }
.fit ul, .fit ol { padding-left: 1.2em; }
.fit .predict { border-left: 0.25em solid #0072b2; background: #eaf3f9; padding: 0.5em 0.7em; }
.fit .short { border-left: 0.25em solid #009e73; background: #e8f5f0; padding: 0.5em 0.7em; }
.fit pre { font: 0.6em/1.4 ui-monospace, Consolas, Menlo, "DejaVu Sans Mono", monospace;
  background: #f6f6f6; padding: 0.7em; overflow: auto; }
.fit code { font-family: ui-monospace, Consolas, Menlo, "DejaVu Sans Mono", monospace;
  font-size: 0.85em; background: #f2f2f2; }
.fit pre code { font-size: 1em; background: none; }
.fit table { border-collapse: collapse; font-size: 0.7em; }
.fit th, .fit td { border-bottom: 1px solid #ddd; padding: 0.25em 0.7em; }
.fit figure { margin: 0 0 0.4em; text-align: center; }
.fit img { width: 100%; max-height: 16.5em; object-fit: contain; }
.fit .sentence { font-size: 0.8em; text-align: left; }
.fit math[display="block"] { margin: 0.5em 0; }
.reveal a { color: #0072b2; }
.reveal .controls, .reveal .progress { color: #0072b2; }
.reveal .slide-number { left: 8px; right: auto; background: none; color: #666; }
.reveal .slide-number a { color: inherit; text-decoration: none; }
"""

# A slide without pictures may have larger letters; one that is too full gets smaller ones, and
# below 45 % it scrolls.
START = """
function fit(slide) {
  const box = slide && slide.querySelector('.fit');
  if (!box) return;
  for (let size = box.querySelector('img') ? 100 : 120; size >= 45; size -= 5) {
    box.style.fontSize = size + '%';
    if (box.scrollHeight <= box.clientHeight && box.scrollWidth <= box.clientWidth) break;
  }
}
async function settle(event) {
  const slide = event.currentSlide;
  await Promise.all([...slide.querySelectorAll('img')].map(i => i.decode().catch(() => 0)));
  fit(slide);
  slide.dataset.settled = 'yes';
}
Reveal.on('ready', settle);
Reveal.on('slidechanged', settle);
Reveal.on('pdf-ready', () => document.querySelectorAll('section').forEach(fit));
Reveal.initialize({ width: 1280, height: 720, margin: 0.02, center: false, hash: true,
  controlsBackArrows: 'visible', slideNumber: 'c/t', transition: 'none' });
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<div class="reveal"><div class="slides">
{body}
</div></div>
<script>
{script}
</script>
<script>{start}</script>
</body>
</html>
"""

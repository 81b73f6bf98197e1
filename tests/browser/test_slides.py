"""A lecturer opens the slides of every lesson with the network off, and shows them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import make_slides
import pytest
import reader
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
REQUIRED = os.environ.get("DEEPDRIFT_REQUIRE_BROWSER") == "1"
SLIDE = "document.querySelector('.reveal .slides > section.present')"
FORMULA = re.compile(r"\\[a-zA-Z]{2,}|\$\$")  # TeX that nobody turned into a formula


@pytest.fixture(scope="module")
def page():
    if reader.find_chromium() is None:
        message = "no Chromium found: install it or name it in the environment variable CHROMIUM"
        pytest.fail(message) if REQUIRED else pytest.skip(message)
    with reader.browser_page() as page:
        page.context.set_offline(True)
        page.set_viewport_size({"width": 1280, "height": 720})
        yield page


def show(page: Page, path: Path) -> tuple[list[str], list[str]]:
    """Open a deck; returns what it asked of the network and its script errors, as they come."""
    foreign, errors = [], []
    own = (path.as_uri(), "data:")
    page.on("request", lambda r: None if r.url.startswith(own) else foreign.append(r.url))
    page.on("websocket", lambda socket: foreign.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function(f"() => {SLIDE}?.dataset.settled === 'yes'")
    return foreign, errors


def faults(page: Page) -> list[str]:
    """What is wrong with the slide in front: cut off, without words, not drawn."""
    return page.evaluate(
        f"""() => {{
            const slide = {SLIDE}, box = slide.querySelector('.fit'), found = [];
            if (box.scrollHeight > box.clientHeight) found.push('longer than the screen');
            if (box.scrollWidth > box.clientWidth) found.push('wider than the screen');
            if (parseFloat(getComputedStyle(box).fontSize) < 13) found.push('letters too small');
            for (const image of slide.querySelectorAll('img'))
                if (!image.alt || !image.naturalWidth || image.getBoundingClientRect().height < 100)
                    found.push('picture: ' + image.alt);
            for (const formula of slide.querySelectorAll('math')) {{
                const place = formula.getBoundingClientRect();
                const drawn = formula.namespaceURI.endsWith('MathML') && place.height > 5;
                if (!drawn || place.width < 3) found.push('formula: ' + formula.textContent);
            }}
            return found; }}"""
    )


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_slides_need_no_network_and_nothing_on_them_is_cut_off(page, path, tmp_path):
    deck = tmp_path / f"{path.stem}.html"
    deck.write_text(make_slides.deck(path), encoding="utf-8")
    foreign, errors = show(page, deck)
    total = page.evaluate("() => Reveal.getTotalSlides()")
    assert total >= 8
    problems, text = [], ""
    for number in range(total):
        page.wait_for_function(f"() => Reveal.getIndices().h === {number}")
        page.wait_for_function(f"() => {SLIDE}.dataset.settled === 'yes'")
        problems += [f"slide {number + 1}: {fault}" for fault in faults(page)]
        text += page.evaluate(f"() => {SLIDE}.innerText") + "\n"
        page.keyboard.press("ArrowRight")
    assert page.evaluate("() => Reveal.isLastSlide()")
    assert problems == []
    assert not FORMULA.search(text), FORMULA.search(text)
    assert foreign == [] and errors == []


def test_a_formula_is_drawn_and_not_spelt(page, tmp_path):
    """A fraction stands above its denominator; as letters in a row it would not."""
    formula = make_slides.to_html("$$\\frac{a}{b}$$\n\nwhere $x^2$ is a square", tmp_path)
    deck = make_slides.PAGE.format(
        title="",
        style=make_slides.STYLE,
        body=f'<section><div class="fit">{formula}</div></section>',
        script=make_slides.reveal()[0],
        start=make_slides.START,
    )
    (tmp_path / "deck.html").write_text(deck, encoding="utf-8")
    foreign, errors = show(page, tmp_path / "deck.html")
    above, below, base, power = page.evaluate(
        """() => [...document.querySelectorAll('mfrac > *, msup > *')]
            .map(e => e.getBoundingClientRect().bottom)"""
    )
    assert above < below - 5 and power < base - 2
    assert foreign == [] and errors == []


def test_what_is_fetched_would_be_noticed(page, tmp_path):
    """The listener itself: a picture from another address is recorded."""
    (tmp_path / "deck.html").write_text(
        '<div class="reveal"><div class="slides"><section class="present" data-settled="yes">'
        '<img src="https://example.invalid/x.png"></section></div></div>'
    )
    foreign, _ = show(page, tmp_path / "deck.html")
    assert foreign == ["https://example.invalid/x.png"]

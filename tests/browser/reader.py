"""JupyterLab in a headless Chromium: what a reader does, as functions.

with start_lab(folder) as base, browser_page() as page:
    watch = watch_page(page, base)
    open_notebook(page, base, "00_start_here.ipynb")
    run_all(page)
    move_slider(page, explorer(page))
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# The news popup asks the network and covers a corner of the page.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}
HUNG = 600  # seconds; the only limit, against what hangs: a slow machine is not a failure
expect.set_options(timeout=1000 * HUNG)
NOTEBOOK = "window.jupyterapp.shell.currentWidget"  # the document in front


def find_chromium() -> str | None:
    """Path of a Chromium: the environment variable CHROMIUM, or the first one on the PATH."""
    names = [os.environ.get("CHROMIUM", ""), *BROWSERS]
    return next((found for name in names if name and (found := shutil.which(name))), None)


@contextmanager
def start_lab(folder: Path, env: dict[str, str] | None = None) -> Iterator[str]:
    """Serve `folder` with a JupyterLab that knows no user settings; yields its address."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp:
        own = Path(tmp)
        for plugin, values in SETTINGS.items():
            package, name = plugin.split(":")
            path = own / "settings" / package / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(values))
        places = {f"JUPYTER_{x}_DIR": str(own / x.lower()) for x in ("CONFIG", "DATA", "RUNTIME")}
        places |= {f"JUPYTERLAB_{x}_DIR": str(own / x.lower()) for x in ("SETTINGS", "WORKSPACES")}
        inherited = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
        command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
        command += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
        command += ["--LabApp.expose_app_in_browser=True"]
        log = own / "lab.log"
        with log.open("w") as out:
            server = subprocess.Popen(
                command, env=inherited | places | (env or {}), stdout=out, stderr=out
            )
        base = f"http://127.0.0.1:{port}"
        try:
            _wait_for_server(server, base, log)
            yield base
        finally:
            server.terminate()
            server.wait(timeout=HUNG)


def _wait_for_server(server: subprocess.Popen, base: str, log: Path) -> None:
    end = time.monotonic() + HUNG
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{base}/api/status", timeout=60).read()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def browser_page() -> Iterator[Page]:
    """A fresh page of a headless Chromium."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=QUIET + ["--no-sandbox"] * root,
            timeout=1000 * HUNG,
        )
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(1000 * HUNG)
            yield page
        finally:
            browser.close()


@dataclass
class Watch:
    """What went wrong on a page: script errors, and requests that left this machine."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def watch_page(page: Page, base: str) -> Watch:
    """Collect a page's errors and its requests to anywhere but `base`."""
    watch = Watch()
    own = (base, base.replace("http", "ws", 1), "data:", "blob:")
    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else watch.foreign.append(r.url))
    page.on("websocket", lambda s: None if s.url.startswith(own) else watch.foreign.append(s.url))
    return watch


def open_notebook(page: Page, base: str, name: str) -> None:
    """Open a notebook and wait until its kernel answers."""
    page.goto(f"{base}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    # This predicate must not be async: a pending Promise would count as true.
    page.wait_for_function(
        f"""() => {{ const app = window.jupyterapp, w = app && {NOTEBOOK}, c = w && w.context;
            return !!(c && c.isReady && c.sessionContext.session?.kernel); }}"""
    )
    page.evaluate(  # evaluate, on the other hand, does await
        f"""async () => {{ await window.jupyterapp.restored;
            await {NOTEBOOK}.context.sessionContext.session.kernel.info; }}"""
    )


def run_all(page: Page, below: bool = False) -> list[int | None]:
    """Run all cells, or those below the active one; raises with the first error of a cell.

    Returns the execution counts.
    """
    command = "notebook:run-all-below" if below else "notebook:run-all-cells"
    page.evaluate(
        f"""() => {{ window.ranAll = null;
            if ({str(below).lower()}) {NOTEBOOK}.content.activeCellIndex += 1;
            window.jupyterapp.commands.execute('{command}')
                .then(String, String).then(result => {{ window.ranAll = result; }}); }}"""
    )
    page.wait_for_function("() => window.ranAll !== null")
    cells = page.evaluate(
        f"""() => {NOTEBOOK}.content.widgets.filter(c => c.model.type === 'code').map(c => ({{
            count: c.model.executionCount,
            error: c.model.outputs.toJSON().filter(o => o.output_type === 'error')
                .map(o => `${{o.ename}}: ${{o.evalue}}`)[0] }}))"""
    )
    errors = [f"code cell {i}: {c['error']}" for i, c in enumerate(cells) if c.get("error")]
    if errors:
        raise AssertionError(errors[0])
    result = page.evaluate("() => window.ranAll")
    assert result == "true", f"run all cells: {result}"
    return [cell["count"] for cell in cells]


def save(page: Page) -> None:
    """Save the notebook in front and wait until its file is written."""
    page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")
    page.wait_for_function(f"() => !{NOTEBOOK}.context.model.dirty")


def explorer(page: Page, number: int = 0) -> Locator:
    """Scroll to the explorer of that number (from 0) and return it, visible."""
    page.evaluate(
        f"""async number => {{ const nb = {NOTEBOOK}.content, places = [];
            nb.widgets.forEach((c, i) => {{ if (c.model.type === 'code' && c.model.outputs.toJSON()
                .some(o => o.data && 'application/vnd.jupyter.widget-view+json' in o.data))
                places.push(i); }});
            if (number >= places.length)
                throw Error(`${{places.length}} cells of this notebook show a widget`);
            nb.activeCellIndex = places[number];
            await nb.scrollToItem(places[number], 'start'); }}""",
        number,
    )
    view = page.locator(".jp-Notebook-cell.jp-mod-active .dd-explorer")
    expect(view).to_be_visible()
    return view


def move_slider(page: Page, view: Locator, key: str = "ArrowRight", slider: int = 0) -> None:
    """Press a key on one slider of an explorer, and wait for its new value."""
    handle = view.locator(".widget-slider .noUi-handle").nth(slider)
    before = handle.get_attribute("aria-valuetext")
    handle.focus()
    page.keyboard.press(key)
    expect(handle).not_to_have_attribute("aria-valuetext", before)


def stored_sentences(path: Path) -> list[str]:
    """What the explorers of a stored notebook say, in order: a picture with a sentence."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [o["data"] for cell in cells for o in cell.get("outputs", []) if "data" in o]
    shown = [d["text/plain"] for d in outputs if {"image/png", "text/plain"} <= set(d)]
    texts = [text if isinstance(text, str) else "".join(text) for text in shown]
    return [text for text in texts if not text.startswith("<")]

"""Binder's settings, given to JupyterLab here: a visitor lands in the first notebook."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import reader
import workspace

ROOT = Path(__file__).resolve().parents[2]


def test_a_visitor_lands_in_the_first_notebook(tmp_path):
    workspace.update(ROOT / "notebooks", tmp_path / "workspace")
    home = tmp_path / ".jupyter"  # into which postBuild copies the file
    home.mkdir()
    shutil.copy(ROOT / ".binder" / "jupyter_server_config.json", home)
    with reader.start_lab(tmp_path, {"JUPYTER_CONFIG_DIR": str(home)}) as base:
        with urllib.request.urlopen(f"{base}/") as answer:
            assert answer.url == f"{base}/lab/tree/workspace/00_start_here.ipynb"

"""The teacher's pages agree with the notebooks, the code and each other."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import classroom
import nbformat
import polls
import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
TEACHING, GLOSSARY, POLLS, README = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("docs/teaching.md", "docs/glossary.md", "docs/polls.md", "README.md")
)
TIME = re.compile(r"^\*\*Time\.\*\* (\d+) min, runs in about (\d+) s .*?, ([\d.]+) GB", re.M)


def number(path: Path) -> str:
    return path.name.split("_")[0]


def first_cell(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[0].source


def rows(page: str, head: str) -> list[list[str]]:
    """Cells of the table whose head line begins so."""
    lines = page[page.index(f"\n| {head}") + 1 :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# ---- links ----


@pytest.mark.parametrize("name", ["docs/teaching.md", "docs/glossary.md", "docs/polls.md"])
def test_every_link_of_the_page_leads_somewhere(name):
    path = ROOT / name
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    assert links
    for link in links:
        file, _, heading = link.partition("#")
        target = (path.parent / file).resolve()
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            assert heading in {h.lower().replace(" ", "-") for h in headings}, link


def test_the_pages_are_found():
    for page in ("docs/teaching.md", "docs/glossary.md", "docs/polls.md"):
        assert f"]({page})" in README, page
        assert page in classroom.PAGES, page
    assert "](docs/teaching.md)" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


# ---- plans ----


def sections(path: Path) -> set[int]:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return {int(n) for n in re.findall(r"^## (\d+)\b", text, re.M)}


def test_every_section_of_the_plans_exists():
    """'03 § 1 to § 3': each number after a notebook's until the next notebook."""
    known = {number(path): sections(path) for path in LESSONS}
    found = re.findall(r"\b(\d\db?) ((?:(?:, | to | and )?§ \d+)+)", TEACHING)
    assert len(found) > 20
    for notebook, named in found:
        assert set(map(int, re.findall(r"\d+", named))) <= known[notebook], f"{notebook} {named}"
    for row in rows(TEACHING, "notebook | after it"):
        left_out = set(map(int, re.findall(r"§ (\d+)", row[-1])))
        assert left_out <= known[re.match(r"\[(\w+)\]", row[0])[1]], row


def test_the_lecture_fills_ninety_minutes_and_the_workshop_four_hours():
    spans = [row[0].split(" to ") for row in rows(TEACHING, "minutes | run")]
    assert [int(a) for a, _ in spans] == [0, *(int(b) for _, b in spans[:-1])]
    assert int(spans[-1][1]) == 90
    spans = [row[0].split(" to ") for row in rows(TEACHING, "time | what")]
    assert [a for a, _ in spans] == ["0:00", *(b for _, b in spans[:-1])]
    assert spans[-1][1] == "4:00"


def test_the_semester_has_every_notebook_and_its_exercises():
    weeks = rows(TEACHING, "week | lecture")
    assert [row[0] for row in weeks] == [str(i) for i in range(1, len(weeks) + 1)]
    for path in LESSONS:
        assert any(re.search(rf"\b{number(path)}\b", row[1]) for row in weeks), path.name
        assert any(f"exercises of {number(path)}" in f"{row[2]} {row[3]}" for row in weeks), (
            path.name
        )


def test_every_polls_name_on_the_plan_is_on_the_list():
    asked = {
        (q.notebook[:2], int(q.section.split()[0])) for q in polls.questions(ROOT / "notebooks")
    }
    named = re.findall(r"[Pp]olls? (?:of )?(\d\d) § (\d+)", TEACHING)
    assert len(named) >= 7
    assert {(notebook, int(section)) for notebook, section in named} <= asked


def test_each_notebook_has_its_goals():
    table = rows(TEACHING, "notebook | after it")
    links = [re.fullmatch(r"\[(\w+)\]\(\.\./notebooks/(.+)\)", row[0]).groups() for row in table]
    assert links == [(number(path), path.name) for path in LESSONS]


def test_the_rubric_has_a_hundred_points_for_the_steps_of_the_assignment():
    table = rows(TEACHING, "step | points")
    assert sum(int(row[1]) for row in table) == 100
    assignment = TEACHING[TEACHING.index("## Assignment") : TEACHING.index("### Rubric")]
    steps = re.findall(r"^(\d+)\. \*\*", assignment, re.M)
    assert [row[0].split()[0] for row in table] == steps == list("12345678")


def test_the_assignments_start_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEACHING, re.S)
    generator = torch.Generator().manual_seed(0)

    def loader(n: int, scale: float = 1.0) -> list:
        x = scale * torch.randn(n, 6, generator=generator)
        return list(zip(x.split(100), (x[:, 0] > 0).long().split(100), strict=True))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)]
    names = {
        "model": nn.Sequential(*layers).eval(),
        "example_batch": torch.randn(4, 6, generator=generator),
        "fit_loader": loader(1000),
        "calibration_loader": loader(1000),
        "test_sets": {"normal": loader(1000), "strange": loader(200, 9.0)},
    }
    exec(code, names)
    normal, strange = capsys.readouterr().out.splitlines()[-2:]
    assert re.match(r"normal: flagged 0\.0[2-8]", normal)
    assert re.match(r"strange: flagged (1\.0|0\.9)", strange)


# ---- the glossary ----


def test_every_name_of_the_glossary_stands_where_its_link_leads():
    entries = [row for part in GLOSSARY.split("\n| word ")[1:] for row in table_rows(part)]
    assert len(entries) > 40
    words = [word.strip() for row in entries for word in row[0].split(",")]
    assert len(words) == len(set(words))
    for word, meaning, code, notebook in entries:
        name, link = re.fullmatch(r"\[`([\w.]+)`\]\(\.\./(.+)\)", code).groups()
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert Path(inspect.getsourcefile(thing)) == ROOT / link, name
            assert thing.__doc__, name
        else:
            assert re.search(rf"^{last}\b.*=", (ROOT / link).read_text(encoding="utf-8"), re.M), (
                name
            )
        assert meaning and notebook in {number(path) for path in LESSONS}, word


def table_rows(part: str) -> list[list[str]]:
    lines = part.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# ---- the polls ----


def test_every_prediction_is_on_the_list_of_polls_and_no_other():
    """If this fails: python tools/polls.py says what to do, --write moves entries."""
    assert polls.differences(POLLS, polls.questions(ROOT / "notebooks")) == []


def test_every_poll_has_options_one_right_answer_and_what_is_often_said():
    for entry in polls.entries(POLLS):
        _, options, said = re.split(r"\n   - ", entry.text)
        letters = re.findall(r"(?:^| |\*\*)([A-D]) ", re.sub(r"\s+", " ", options))
        assert letters == list("ABCD")[: len(letters)] and len(letters) >= 3, entry.question
        (right,) = re.findall(r"\*\*([A-D]) [^*]+\*\*", re.sub(r"\s+", " ", options))
        assert said.startswith("Often said: "), entry.question
        wrong = re.match(r"Often said: ([^.:]*)", said)[1]
        assert right not in re.findall(r"\b[A-D]\b", wrong), entry.question


# ---- times ----


def test_the_readmes_table_says_what_each_first_cell_says():
    """A failing row shows what to write: minutes, seconds, memory."""
    table = rows(README, "notebook | promise")
    links = [re.fullmatch(r"\[.+\]\(notebooks/(.+)\)", row[0])[1] for row in table]
    assert links == [path.name for path in LESSONS]
    for path, row in zip(LESSONS, table, strict=True):
        assert re.fullmatch(r"\d+ \d+ \d\.\d GB", " ".join(row[2:])), path.name
        if said := TIME.search(first_cell(path)):
            assert row[2:] == [said[1], said[2], f"{said[3]} GB"], path.name

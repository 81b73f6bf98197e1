"""The project holds together: one version, one list of dependencies, arrows that point down."""

from __future__ import annotations

import ast
import graphlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import deepdrift

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepdrift"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))

# A room may import from itself and from rooms on lower floors; `lab` may import everything.
FLOORS = [
    {"errors"},
    {"states"},
    {"scores"},
    {"evidence"},
    {"alarms"},
    {"monitor", "baselines"},
    {"vision", "rl", "guard", "diffusion", "attribution", "confidence", "export"},
]
SHARED = ("bench", "data", "networks")  # rooms of the lab that belong to no single notebook
CORE_IMPORTS = {"torch", "numpy", "safetensors"} | sys.stdlib_module_names
HEAVY = [
    "matplotlib",
    "ipywidgets",
    "torchvision",
    "scipy",
    "sklearn",
    "transformers",
    "captum",
    "gymnasium",
    "stable_baselines3",
    "diffusers",
    "pytorch_ood",
]


# ---- dependencies and version ----

CONDA_NAMES = {"pytorch-cpu": "torch"}  # the others have the same name in both worlds
ONLY_ON_PIP = {"pytorch-ood"}


def split_requirement(line: str) -> tuple[str, str]:
    name, constraint = re.fullmatch(r"([A-Za-z0-9-]+)(.*)", line.replace(" ", "")).groups()
    return CONDA_NAMES.get(name, name), constraint


def test_environment_yml_and_pyproject_name_the_same_set():
    lines = [x for x in ENVIRONMENT["dependencies"] if isinstance(x, str)]
    conda = dict(map(split_requirement, lines))
    assert conda.pop("python") == PROJECT["requires-python"]
    conda.pop("pip")
    lab = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["lab"]
    pip = dict(map(split_requirement, lab))
    assert conda == {k: v for k, v in pip.items() if k not in ONLY_ON_PIP}
    assert ONLY_ON_PIP <= pip.keys()
    assert ENVIRONMENT["dependencies"][-1] == {"pip": ["-e .[lab]"]}


def test_torch_is_a_range():
    (torch,) = (line for line in PROJECT["dependencies"] if line.startswith("torch"))
    assert re.fullmatch(r"torch>=\d+\.\d+", torch)


def test_the_extra_all_names_every_other_extra():
    extras = dict(PROJECT["optional-dependencies"])
    (line,) = extras.pop("all")
    assert sorted(re.fullmatch(r"deepdrift\[(.+)\]", line)[1].split(",")) == sorted(extras)


def test_there_is_one_version():
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    stated = re.findall(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text(), re.M)
    assert stated == [deepdrift.__version__]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == deepdrift.__version__


def test_binder_installs_what_make_lab_does_and_opens_the_same_notebook():
    lines = (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8").splitlines()
    installs = [line.split(" install ")[1] for line in lines if "pip install" in line]
    assert installs == [
        "--no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu",
        "--no-cache-dir --editable '.[lab]'",
    ]
    names = {split_requirement(x)[0] for x in PROJECT["optional-dependencies"]["lab"]}
    assert "torchvision" in names and any(x.startswith("torch>") for x in PROJECT["dependencies"])
    version = (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8").strip()
    assert PROJECT["requires-python"] == f">={version.removeprefix('python-')}"
    config = json.loads((ROOT / ".binder" / "jupyter_server_config.json").read_text())
    opened = {section["default_url"] for section in config.values()}
    assert opened == {"/lab/tree/workspace/00_start_here.ipynb"}
    assert "python tools/workspace.py" in lines
    assert "cp .binder/jupyter_server_config.json ~/.jupyter/" in lines


def test_what_the_slides_need_is_tested():
    extras = PROJECT["optional-dependencies"]
    assert set(extras["class"]) <= set(extras["test"])


# ---- the house ----


def module_name(path: Path) -> str:
    """'deepdrift/baselines/mmd.py' -> 'deepdrift.baselines.mmd'."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST, module: str, is_package: bool) -> list[str]:
    """Absolute names that an import statement reaches for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = module.split(".")
            above = above[: len(above) - node.level + is_package]
            base = ".".join([*above, *([base] if base else [])])
        if base in {
            "deepdrift",
            "deepdrift.lab",
        }:  # `from deepdrift import errors` means the module
            return [f"{base}.{alias.name}" for alias in node.names]
        return [base]
    return []


def floor(module: str) -> int:
    name = module.split(".")[1]
    place = [level for level, names in enumerate(FLOORS) if name in names]
    assert place, f"give deepdrift.{name} a place in FLOORS"
    return place[0]


CORE = sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] != "lab")
BELOW_THE_FACE = [p for p in CORE if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", BELOW_THE_FACE, ids=module_name)
def test_arrows_point_down(path):
    module = module_name(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for name in imported(node, module, path.name == "__init__.py"):
            if name.split(".")[0] == "deepdrift":
                assert name != "deepdrift", f"{module} imports the face"
                assert not name.startswith("deepdrift.lab"), f"{module} imports {name}"
                same = name.split(".")[1] == module.split(".")[1]
                below = floor(name) < floor(module)
                assert same or below, f"{module} imports {name}, which is not on a floor below"


def test_no_import_goes_in_a_circle():
    graph = {}
    for path in BELOW_THE_FACE:
        module, package = module_name(path), path.name == "__init__.py"
        found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        graph[module] = {name for node in found for name in imported(node, module, package)}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a circle raises CycleError
    assert order.index("deepdrift.states.pooling") < order.index("deepdrift.states.hooks")


@pytest.mark.parametrize("path", CORE, ids=module_name)
def test_the_core_imports_torch_numpy_safetensors_and_nothing_else_at_import_time(path):
    module = module_name(path)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name in imported(node, module, path.name == "__init__.py"):
            package = name.split(".")[0]
            assert package in CORE_IMPORTS | {"deepdrift"}, f"{module} imports {name}"


def test_the_scan_reads_every_form_of_import():
    source = (
        "import a.b, c\nfrom d.e import f\nfrom . import g\nfrom .h import i\nfrom ..j import k"
    )
    found = [imported(x, "deepdrift.p.m", False) for x in ast.parse(source).body]
    assert found == [["a.b", "c"], ["d.e"], ["deepdrift.p"], ["deepdrift.p.h"], ["deepdrift.j"]]
    (node,) = ast.parse("from . import errors").body
    assert imported(node, "deepdrift.vision", False) == ["deepdrift.errors"]
    (node,) = ast.parse("from . import x").body
    assert imported(node, "deepdrift.p", True) == ["deepdrift.p"]
    (node,) = ast.parse("from deepdrift.lab import data, mmd").body
    assert imported(node, "", False) == ["deepdrift.lab.data", "deepdrift.lab.mmd"]


LAB = sorted((PACKAGE / "lab").rglob("*.py"))
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def topic(path: Path) -> str:
    """'mmd' of 06_mmd.ipynb."""
    return path.stem.split("_", 1)[1]


TOPICS = [topic(path) for path in LESSONS]


def rooms_of_the_lab(names: list[str]) -> set[str]:
    """The lab's rooms that a list of imported modules reaches into."""
    return {name.split(".")[2] for name in names if name.startswith("deepdrift.lab.")}


def test_every_notebook_has_a_room_a_solution_and_exercises():
    rooms = {p.name for p in (PACKAGE / "lab").iterdir() if (p / "__init__.py").exists()}
    assert rooms == {*TOPICS, *SHARED}
    for path, room in zip(LESSONS, TOPICS, strict=True):
        assert (path.parent / "solutions" / path.name).exists()
        assert (PACKAGE / "lab" / room / "exercises.py").exists()


@pytest.mark.parametrize("path", LAB, ids=module_name)
def test_a_topic_reaches_into_other_topics_through_the_shared_rooms_only(path):
    module, package = module_name(path), path.name == "__init__.py"
    parts = module.split(".")
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    reached = rooms_of_the_lab([name for node in found for name in imported(node, module, package)])
    assert reached <= {*SHARED, parts[2] if len(parts) > 2 else ""}


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_notebook_uses_its_own_room_and_the_shared_ones(path):
    for file in (path, path.parent / "solutions" / path.name):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        nodes = (node for source in code for node in ast.walk(ast.parse(source)))
        reached = rooms_of_the_lab([name for node in nodes for name in imported(node, "", False)])
        assert reached <= {*SHARED, topic(path)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_no_file_is_a_drawer(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


def test_tests_stand_where_their_modules_stand():
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        room = path.relative_to(ROOT / "tests").parent
        assert room.name == "browser" or (PACKAGE / room).is_dir(), f"{room} is no room"


def test_import_deepdrift_loads_nothing_heavy():
    code = f"import sys, deepdrift; print([m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(deepdrift.__all__))
def test_a_public_name_resolves_and_is_documented(name):
    thing = getattr(deepdrift, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
        assert text, f"{name} has no docstring of its own"
        assert not text.startswith(f"{name}("), f"{name} has only the docstring dataclass writes"


def test_the_face_lists_each_name_once():
    assert deepdrift.__all__
    assert len(set(deepdrift.__all__)) == len(deepdrift.__all__)
    assert set(deepdrift.__all__) <= set(dir(deepdrift))


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()


# ---- the page that describes the house ----

PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE) + re.findall(r"```\n(.+?)```", PAGE, re.S)
MADE_LATER = {"workspace/", "class/"}  # by `make lab` and `make class`


def test_every_path_on_the_page_exists():
    words = {word for code in CODE for word in re.findall(r"[\w./-]+", code)}
    paths = {word for word in words if "/" in word or re.search(r"\.(py|md|toml|ipynb)$", word)}
    assert {"deepdrift/states/", "notebooks/NN_slug.ipynb", "tests/states/test_hooks.py"} <= paths
    inside = {"__init__.py", "exercises.py", "explorer.py", "figures.py", "test_exercises.py"}
    for path in paths - inside - MADE_LATER - {"monitor/"}:
        for lesson in LESSONS if "slug" in path else LESSONS[:1]:
            name = path.replace("NN_slug", lesson.stem).replace("slug", topic(lesson))
            assert (ROOT / name).exists(), f"{path}: there is no {name}"


def test_every_name_on_the_page_stands_in_the_code():
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    known = {*re.findall(r"\w+", source), *globals(), "ex_NN_K"}
    names = set(re.findall(r"`([A-Za-z_]\w*)(?:\(\))?`", PAGE))
    drawn = re.sub(r"\S*/\S*", "", re.search(r"```\n(.+?)```", PAGE, re.S)[1])
    names |= set(re.findall(r"\b(?:[A-Z]\w+[a-z][A-Z]\w*|[a-z]+_[a-z_]+)\b", drawn))
    assert {"StateScorer", "CHARTS", "FLOORS", "conformal_p_values"} <= names
    assert names <= known, names - known


def test_every_room_stands_on_the_page():
    rooms = [p for p in PACKAGE.iterdir() if (p / "__init__.py").exists()]
    rooms += [PACKAGE / "lab" / name for name in SHARED]
    for room in rooms:
        assert f"| `{room.relative_to(ROOT).as_posix()}/` |" in PAGE


def test_readme_and_contributing_link_the_page():
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "](docs/ARCHITECTURE.md)" in (ROOT / name).read_text(encoding="utf-8")


# ---- the roads in ----


def test_ci_runs_both_targets():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [x for x in lines if x.startswith("make ")] == ["make test", "make test-portable"]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_the_portable_run_does_without_the_processors_own_instructions():
    run = subprocess.run(["make", "-n", "test-portable"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    commands = run.stdout.replace("\\\n", " ").splitlines()
    unit, notebooks = (line for line in commands if "-m pytest" in line)
    assert "--doctest-modules deepdrift tests" in unit
    assert "--nbval" in notebooks and "notebooks/solutions/*.ipynb" in notebooks
    for line in (unit, notebooks):
        assert line.startswith("ATEN_CPU_CAPABILITY=default ")


@pytest.mark.parametrize("name", ["Makefile", "README.md", "CONTRIBUTING.md", "environment.yml"])
def test_every_road_opens_the_workspace(name):
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\", "/")
    opened = re.findall(r"jupyter lab (\S*00_start_here\.ipynb)", text)
    assert opened and set(opened) == {"workspace/00_start_here.ipynb"}
    assert "tools/workspace.py" in text


# ---- what is committed ----

PERSONAL = re.compile(r"/(?:home|Users)/[A-Za-z]|(?<![\w.])/roo[t]/|[A-Z]:\\+Users")
NOT_TEXT = {".npz", ".safetensors", ".png", ".gz"}


def test_the_pattern_of_personal_paths():
    for text in ("/" + "home/ann/x", "'/" + "root/x'", "C:" + "\\\\Users\\\\ann"):
        assert PERSONAL.search(text)
    for text in ("/usr/share/datasets", "repo/root/MNIST", "root/x", "at home/users"):
        assert not PERSONAL.search(text)


def test_no_committed_file_names_a_home_folder():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    files = [f for f in files if f.is_file() and f.suffix not in NOT_TEXT]
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in files
        if (match := PERSONAL.search(file.read_text(encoding="utf-8", errors="replace")))
    ]
    assert not found

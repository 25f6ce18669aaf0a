"""The command line's contract: help, exit codes, what goes to stdout, and the verbs after training."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import openpyxl
import pytest
from planted import TINY_VIT, write_planted_manifest

from faceauth.cli import app
from faceauth.scoring.score_tables import read_scores

VERBS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run_cli):
    """A prepared folder and a run folder, made through the command line."""
    root = tmp_path_factory.mktemp("trained")
    manifest = write_planted_manifest(root / "prepared", groups=40)
    overrides = [
        word
        for override in (*TINY_VIT, "epochs=3", "optimizer.learning_rate=2e-3")
        for word in ("--set", override)
    ]
    done = run_cli("train", "--manifest", manifest, "--output", root / "run", *overrides)
    assert done.exit_code == 0, done.stderr
    return root


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, run_cli):
    done = run_cli(verb, "--help")
    assert done.exit_code == 0
    assert f"Example: faceauth {verb}" in " ".join(done.stdout.split())


def test_no_arguments_show_the_help_and_count_as_wrong_usage(run_cli):
    done = run_cli()
    assert done.exit_code == 2
    for verb in VERBS:
        assert verb in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words", [["prepare"], ["train", "--no-such-flag"], ["no-such-verb"], ["embed", "--seed", "x"]]
)
def test_wrong_usage_has_exit_code_2(words, run_cli):
    done = run_cli(*words)
    assert done.exit_code == 2
    assert done.stderr


def test_evaluate_writes_the_contract(trained, run_cli, tmp_path):
    done = run_cli(
        "evaluate",
        "--model",
        trained / "run",
        "--manifest",
        trained / "prepared",
        "--output",
        tmp_path,
        "--json",
    )
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "metrics.json").read_text())
    assert set(document) >= {
        "split",
        "model",
        "threshold",
        "overall",
        "by_folder",
        "shortcut_auroc",
        "test_reads",
    }
    assert document["overall"]["auroc"]["value"] > 0.9
    assert set(document["by_folder"]) == {"camera", "phone", "gan", "swap"}
    scores = read_scores(tmp_path / "scores.csv")
    assert len(scores) == 8 * 4
    assert {path.suffix for path in tmp_path.iterdir()} >= {
        ".csv",
        ".json",
        ".xlsx",
        ".png",
        ".svg",
        ".parquet",
    }


def test_every_evaluation_of_the_test_split_is_counted(trained, run_cli, tmp_path):
    words = ["evaluate", "--model", trained / "run", "--manifest", trained / "prepared", "--json", "--output"]
    first = json.loads(run_cli(*words, tmp_path / "a").stdout)["test_reads"]
    assert json.loads(run_cli(*words, tmp_path / "b", "--split", "val").stdout)["test_reads"] == first
    assert json.loads(run_cli(*words, tmp_path / "c").stdout)["test_reads"] == first + 1


def test_scores_of_any_tool_get_the_same_figures(trained, run_cli, tmp_path):
    model = ["--model", trained / "run", "--manifest", trained / "prepared"]
    ours = json.loads(run_cli("evaluate", *model, "--output", tmp_path / "ours", "--json").stdout)
    again = run_cli(
        "evaluate", "--scores", tmp_path / "ours" / "scores.csv", "--output", tmp_path / "theirs", "--json"
    )
    theirs = json.loads(again.stdout)
    assert theirs["overall"]["auroc"] == ours["overall"]["auroc"]
    assert [theirs["threshold"][name] for name in ("value", "rule", "chosen_on")] == [0.5, "half", "fixed"]


def test_scores_of_any_tool_take_the_truth_from_a_manifest(trained, run_cli, tmp_path):
    model = ["--model", trained / "run", "--manifest", trained / "prepared"]
    ours = json.loads(run_cli("evaluate", *model, "--output", tmp_path / "ours", "--json").stdout)
    scores = read_scores(tmp_path / "ours" / "scores.csv")
    lines = ["path,verdict"] + [
        f"{path},{1 - p}" for path, p in zip(scores.destination_path, scores.p_fake, strict=True)
    ]
    (tmp_path / "theirs.csv").write_text("\n".join(lines) + "\n", "utf-8")
    told = ["--score-column", "verdict", "--score-means", "p_real", "--manifest", trained / "prepared"]
    done = run_cli("evaluate", "--scores", tmp_path / "theirs.csv", *told, "--output", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert theirs["overall"]["auroc"] == ours["overall"]["auroc"]
    assert theirs["shortcut_auroc"] == ours["shortcut_auroc"]
    assert set(theirs["by_folder"]) == set(ours["by_folder"])


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("thresholds", [{"rule": "half"}]),
        ("thresholds", [{"rule": "half", "value": "low", "chosen_on": "val"}]),
        ("unsure", {"low": 0.1, "height": 3}),
        ("unsure", {"low": "x", "high": 1, "coverage": 0.9, "chosen_on": "val", "n_real": 1, "n_fake": 1,
                    "groups_real": 1, "groups_fake": 1}),
        ("calibration", {"method": "platt", "parameters": {"slope": []}}),
    ],
)  # fmt: skip
def test_a_card_that_no_training_wrote_is_one_message(trained, run_cli, tmp_path, part, content):
    run = shutil.copytree(trained / "run", tmp_path / "run")
    path = run / "checkpoint" / "faceauth.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {part: content}), "utf-8")
    words = ["--model", run, "--manifest", trained / "prepared", "--output", tmp_path / "out", "--limit", 4]
    done = run_cli("evaluate", *words)
    assert done.exit_code == 1, done.stderr
    assert "train again" in done.stderr
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_table_for_people_states_values_intervals_and_n(trained, run_cli, tmp_path):
    done = run_cli(
        "evaluate", "--model", trained / "run", "--manifest", trained / "prepared", "--output", tmp_path
    )
    line = next(line for line in done.stdout.splitlines() if re.match(r"overall\s+auroc\b", line))
    assert "16 real, 16 fake" in line
    assert " to " in line


def test_embed_and_report_make_one_page(trained, run_cli, tmp_path):
    model = ["--model", trained / "run", "--manifest", trained / "prepared"]
    done = run_cli(
        "embed", *model, "--output", tmp_path / "clusters", "--split", "all", "--projection", "pca", "--json"
    )
    assert done.exit_code == 0, done.stderr
    clusters = json.loads(done.stdout)
    assert clusters["n"] == 160
    assert set(clusters["projections"]) == {"pca"}
    assert set(clusters["by_folder"]) == {"camera", "phone", "gan", "swap"}
    done = run_cli("report", trained / "run", tmp_path / "clusters", "--output", tmp_path / "report")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "report" / "index.html")
    workbook = openpyxl.load_workbook(tmp_path / "report" / "report.xlsx")
    assert workbook.sheetnames


def test_a_trial_with_a_limit_scores_that_many(trained, run_cli, tmp_path):
    words = ["evaluate", "--model", trained / "run", "--manifest", trained / "prepared", "--limit", "10"]
    assert run_cli(*words, "--output", tmp_path).exit_code == 0
    assert len(read_scores(tmp_path / "scores.csv")) == 10


def test_models_lists_parameters_and_sources(run_cli):
    listed = {entry["name"]: entry for entry in json.loads(run_cli("models", "--json").stdout)}
    # Published counts without the 1,000-class head: 86 M (DeiT-B, ViT-B), 7.0 M (DenseNet-121), 3.4 M.
    for name, millions in {"deit": 86.1, "vit": 85.8, "densenet": 6.95, "efficientnet_lite0": 3.37}.items():
        assert listed[name]["parameters"] / 1e6 == pytest.approx(millions, rel=0.01)
        assert listed[name]["source"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["evaluate", "--output", "OUT"], 2, "--scores"),
        (["evaluate", "--output", "OUT", "--scores", "x.csv", "--model", "m"], 2, "Leave one of them out"),
        (["evaluate", "--output", "OUT", "--scores", "missing.csv"], 1, "missing.csv"),
        (
            ["evaluate", "--output", "OUT", "--model", "OUT", "--manifest", "PREPARED", "--split", "tset"],
            2,
            "test",
        ),
        (["evaluate", "--output", "OUT", "--model", "OUT", "--manifest", "PREPARED"], 1, "faceauth.json"),
        (
            [
                "evaluate",
                "--output",
                "OUT",
                "--model",
                "RUN",
                "--manifest",
                "PREPARED",
                "--calibration",
                "platt",
            ],
            2,
            "belong to --scores",
        ),
        (["embed", "--output", "OUT", "--model", "RUN", "--manifest", "OUT"], 1, "manifest"),
        (
            ["embed", "--output", "OUT", "--model", "RUN", "--manifest", "PREPARED", "--projection", "tnse"],
            2,
            "tsne",
        ),
        (["report", "missing", "--output", "OUT"], 1, "missing"),
    ],
)
def test_mistakes_get_one_message_and_the_right_code(words, code, said, trained, run_cli, tmp_path):
    places = {"OUT": tmp_path / "out", "PREPARED": trained / "prepared", "RUN": trained / "run"}
    (tmp_path / "out").mkdir()
    done = run_cli(*(places.get(word, word) for word in words))
    assert done.exit_code == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("faceauth: ") == 1


def test_a_failure_with_json_is_json(run_cli, tmp_path):
    done = run_cli("evaluate", "--scores", tmp_path / "none.csv", "--output", tmp_path, "--json")
    assert done.exit_code == 1
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"message", "hint"}
    assert "none.csv" in error["message"]


def test_a_full_disk_is_a_message(trained, run_cli, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("faceauth.verbs.evaluate.write_evaluation", fail)
    done = run_cli(
        "evaluate", "--model", trained / "run", "--manifest", trained / "prepared", "--output", tmp_path
    )
    assert done.exit_code == 1
    assert "the disk is full" in done.stderr


@pytest.mark.launch
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(trained, tmp_path):
    command = [sys.executable, "-m", "faceauth", "train", "--manifest", str(trained / "prepared")]
    command += ["--output", str(tmp_path / "run")]
    for override in (*TINY_VIT, "epochs=60", "early_stop_patience=0"):
        command += ["--set", override]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them, and so this process, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints" / "last").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "Traceback" not in stderr


@pytest.mark.launch
def test_help_comes_at_once(tmp_path):
    """Not a timed test: help must not load what takes seconds to load."""
    code = "import sys; from faceauth.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'transformers', 'sklearn', 'matplotlib', 'PIL', 'numpy'}\n"
    code += "print(sorted(heavy & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_limits_take_rows_evenly(trained, run_cli, tmp_path):
    words = ["evaluate", "--model", trained / "run", "--manifest", trained / "prepared", "--limit", "4"]
    run_cli(*words, "--output", tmp_path)
    assert np.unique(read_scores(tmp_path / "scores.csv").folder).size > 1


@pytest.mark.chain
def test_quickstart_takes_your_own_photos(sample_photos, run_cli, tmp_path):
    overrides = [word for override in (*TINY_VIT, "epochs=1") for word in ("--set", override)]
    done = run_cli("quickstart", "--photos", sample_photos, "--output", tmp_path / "out", *overrides)
    assert done.exit_code == 0, done.stderr
    assert not (tmp_path / "out" / "samples").exists()
    assert "All faces were simulated" not in done.stdout
    assert done.stdout.splitlines()[-1] == f"Report: {tmp_path / 'out' / 'report' / 'index.html'}"

"""The matrix: trained cell by cell, stopped and shared, measured and drawn; what is left out stays out."""

import csv
import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import TINY_VIT
from scipy.stats import norm

import faceauth
from faceauth.config import load_config
from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.errors import ConfigError, FaceAuthError, ManifestError, TrainingError, UsageError
from faceauth.intake.manifest import ManifestRow, read_manifest, write_manifest
from faceauth.locks import claim
from faceauth.scoring.intervals import measure_rates
from faceauth.scoring.scores import Scores, write_scores
from faceauth.studies.matrix import MatrixRow, find_tests, measure_matrix
from faceauth.studies.mean_auroc import measure_mean_auroc
from faceauth.studies.transfer import correlate_detectors, correlate_generators
from faceauth.training.plans import Training
from faceauth.training.settings import TrainSettings
from faceauth.verbs import study_work
from faceauth.verbs.matrix import describe_study, format_matrix, matrix, matrix_of_tables
from faceauth.verbs.study import MatrixSettings, load_study

# Two generators tint to the red and two to the blue: what finds the one takes the other for very real.
TINTS = {"red_a": 1, "red_b": 1, "blue_a": -1, "blue_b": -1}
COLLECTIONS = ("camera", "phone")
TRAINING = (*TINY_VIT, "epochs=3", "optimizer.learning_rate=2e-3")


def write_study_manifest(folder, *, groups=40, seed=0):
    """Writes 32 px crops of noise, of each group one a source; fakes carry the tint of their generator."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(groups):
        split = ("train", "train", "val", "test")[number % 4]
        for source in (*TINTS, *COLLECTIONS):
            label = "fake" if source in TINTS else "real"
            tint = np.array([1, 0, -1]) * TINTS.get(source, 0) * 14
            pixels = rng.normal(128, 20, (32, 32, 3)) + rng.normal(0, 6, 3) + tint
            content = np.clip(pixels, 0, 255).astype(np.uint8)
            sha256 = hashlib.sha256(content.tobytes()).hexdigest()
            path = folder / split / label / source / f"{sha256[:32]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
            rows.append(
                ManifestRow(
                    image_path=f"/photos/{label}/{source}/{number}.jpg",
                    destination_path=path.relative_to(folder).as_posix(),
                    folder=source,
                    split=split,
                    target_class=label,
                    target=int(label == "real"),
                    group=f"person-{number}",
                    sha256=sha256,
                )
            )
    write_manifest(rows, folder)
    return folder


def settings_for(prepared, output, *overrides):
    tiny = [f"train.{line}" for line in TRAINING]
    place = [f"manifest={prepared}", f"output={output}"]
    return load_config(MatrixSettings, None, [*tiny, *place, "draws=200", *overrides])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_study_manifest(tmp_path_factory.mktemp("study") / "prepared")


@pytest.fixture(autouse=True)
def few_figures(request, finished, monkeypatch):
    """Figures take longer than these trainings: most tests do without."""
    if "drawn" not in request.node.name:
        monkeypatch.setattr("faceauth.verbs.matrix.draw_matrix_figures", lambda document, folder: [])


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """The matrix of one training a generator, never stopped; its folder and its document."""
    output = tmp_path_factory.mktemp("finished") / "matrix"
    return output, matrix(settings_for(prepared, output))


def auroc_of(document, training, test):
    found = [c for c in document["cells"] if (c["training"], c["test"]) == (training, test)]
    assert len(found) == 1
    return found[0]["rates"]["auroc"]["value"]


def made_scores(rng, logits_by_source, *, n=30, path="face"):
    """Scores of n faces a source, in groups of two; reals are those whose name begins with 'real'."""
    folders = np.repeat(np.array(list(logits_by_source), dtype=object), n)
    places = np.arange(len(folders))
    logits = np.repeat(list(logits_by_source.values()), n) + rng.normal(size=len(folders))
    return Scores(
        destination_path=np.array([f"{path}{i}" for i in places], dtype=object),
        folder=folders,
        split=np.full(len(folders), "test", dtype=object),
        target=np.array([int(name.startswith("real")) for name in folders]),
        p_fake=1 / (1 + np.exp(-logits)),
        group=np.array([f"g{i // 2}" for i in places], dtype=object),
    )


def test_generators_with_one_trace_transfer_to_each_other_and_cluster(finished):
    _, document = finished
    for training in TINTS:
        for test in TINTS:
            alike = TINTS[training] == TINTS[test]
            assert (auroc_of(document, training, test) > 0.8) == alike, (training, test)
    last = document["correlation"]["generators"]["tree"]["merges"][-1]
    assert {frozenset(members) for members in last["members"]} == {
        frozenset({"red_a", "red_b"}), frozenset({"blue_a", "blue_b"})
    }  # fmt: skip
    agreement = {
        frozenset((pair["first"], pair["second"])): pair["value"]
        for pair in document["correlation"]["trainings"]["correlations"]
    }
    assert agreement[frozenset({"red_a", "red_b"})] > 0 > agreement[frozenset({"red_a", "blue_a"})]


def test_a_cell_says_what_its_detector_learned_from_and_what_it_was_measured_on(finished, prepared):
    _, document = finished
    rows = read_manifest(prepared).in_split("test")
    n_real = sum(row.target == 1 for row in rows)
    assert len(document["cells"]) == len(TINTS) * (1 + len(TINTS) + len(COLLECTIONS))
    for cell in document["cells"]:
        expected = {"all": "partly", "collection": "seen"}.get(cell["kind"])
        assert cell["seen"] == (expected or ("seen" if cell["test"] == cell["training"] else "unseen"))
        auroc = cell["rates"]["auroc"]
        if cell["kind"] == "generator":
            assert (auroc["n_real"], auroc["n_fake"]) == (n_real, n_real // len(COLLECTIONS))
        assert auroc["ci95"][0] <= auroc["value"] <= auroc["ci95"][1]
    for training in document["trainings"]:
        assert training["folders"] == [training["name"], *COLLECTIONS]
        assert training["n_train"] == {"real": 40, "fake": 20}
        assert training["threshold"]["chosen_on"] == "val"
        assert training["test_reads"] == 1


def test_the_summary_averages_over_what_was_not_seen(finished):
    _, document = finished
    for entry in document["summary"]:
        unseen = [name for name in TINTS if name != entry["training"]]
        values = [auroc_of(document, entry["training"], name) for name in unseen]
        assert entry["unseen_generators"]["names"] == sorted(unseen)
        assert entry["unseen_generators"]["mean_auroc"]["value"] == pytest.approx(np.mean(values))
        assert entry["worst_generator"]["auroc"]["value"] == min(values)
    assert len(format_matrix(document)) == len(TINTS)


def test_the_files_hold_the_same_cells(finished):
    output, document = finished
    assert json.loads((output / "matrix.json").read_text()) == document
    with (output / "matrix.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == sum(len(cell["rates"]) for cell in document["cells"])
    line = next(line for line in lines if (line["training"], line["test"]) == ("red_a", "blue_a"))
    assert line["metric"] == "auroc"
    assert float(line["value"]) == auroc_of(document, "red_a", "blue_a")
    for name in ("matrix", "correlation", "agreement"):
        assert (output / f"{name}.png").stat().st_size > 10_000
        assert b"<svg" in (output / f"{name}.svg").read_bytes()[:1000]


def test_a_study_that_was_stopped_goes_on_with_what_is_left(finished, prepared, tmp_path, monkeypatch):
    settings = settings_for(prepared, tmp_path / "matrix")
    trained = []

    def stop_at_the_third(train_settings):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(train_settings.output)
        return study_work_train(train_settings)

    study_work_train = study_work.train
    monkeypatch.setattr(study_work, "train", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        matrix(settings)
    assert len(list((tmp_path / "matrix" / "scores").glob("*.csv"))) == 2
    assert not (tmp_path / "matrix" / "matrix.json").exists()
    monkeypatch.setattr(study_work, "train", lambda s: trained.append(s.output) or study_work_train(s))
    assert matrix(settings) == finished[1]
    assert len(trained) == len(set(trained)) == len(TINTS)
    # Done for good: the same command measures and draws, and neither trains nor reads the test again.
    assert matrix(settings) == finished[1]
    assert len(trained) == len(TINTS)


@pytest.mark.launch
def test_jobs_share_the_work_and_what_a_killed_one_held_is_taken_over(finished, prepared, tmp_path):
    output = tmp_path / "matrix"
    killed = []

    def kill_one_at_the_first_scores():
        while not list(output.glob("scores/*.csv")):
            time.sleep(0.02)
        killed.append(multiprocessing.active_children()[0].pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one_at_the_first_scores, daemon=True)
    killer.start()
    document = matrix(settings_for(prepared, output), jobs=2)
    assert killed
    assert_same_values(document, finished[1])


def assert_same_values(document, other):
    """Compares to six digits: the number of threads may change the last bits of a score."""
    assert len(document["cells"]) == len(other["cells"])
    for cell, same in zip(document["cells"], other["cells"], strict=True):
        assert (cell["training"], cell["test"], cell["seen"]) == (
            same["training"],
            same["test"],
            same["seen"],
        )
        values, others = ({name: r["value"] for name, r in c["rates"].items()} for c in (cell, same))
        assert values == pytest.approx(others, abs=1e-6)


def test_a_training_that_another_process_holds_is_left_to_it(tmp_path):
    path = tmp_path / "claims" / "one.lock"
    hold = (
        "import sys, pathlib; from faceauth.locks import claim\n"
        f"with claim(pathlib.Path({str(path)!r})) as ours:\n    print(ours, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline().strip() == "True"
        with claim(path) as ours:
            assert not ours
        holder.kill()
        holder.wait()
        with claim(path) as ours:
            assert ours


def test_what_is_left_out_is_in_neither_train_nor_val(prepared, tmp_path, monkeypatch):
    read = []
    judged = study_work.train.__globals__["plain_loader"]
    taught = study_work.train.__globals__["train_loader"]
    monkeypatch.setattr(
        "faceauth.train.plain_loader", lambda rows, *a, **k: read.append(rows) or judged(rows, *a, **k)
    )
    monkeypatch.setattr(
        "faceauth.train.train_loader", lambda rows, *a, **k: read.append(rows) or taught(rows, *a, **k)
    )
    settings = settings_for(
        prepared, tmp_path / "matrix", "plan.name=leave_one_out", "plan.families={red: [red_a, red_b]}"
    )
    document = matrix(settings)
    assert [t["name"] for t in document["trainings"]] == ["without red", "without blue_a", "without blue_b"]
    left_out = [{"red_a", "red_b"}, {"blue_a"}, {"blue_b"}]
    assert len(read) == 2 * len(left_out)
    for number, names in enumerate(left_out):
        for rows in read[2 * number : 2 * number + 2]:
            assert {row.folder for row in rows} == {*TINTS, *COLLECTIONS} - names
        _, card = load_checkpoint(tmp_path / "matrix" / document["trainings"][number]["run"])
        assert set(card.generators) == set(TINTS) - names
    seen = {(c["training"], c["test"]): c["seen"] for c in document["cells"]}
    assert seen["without red", "red"] == seen["without red", "red_a"] == "unseen"
    assert seen["without blue_a", "red"] == "seen"


def test_a_left_out_collection_shows_in_the_false_alarms(prepared, tmp_path):
    document = matrix(settings_for(prepared, tmp_path / "matrix", "plan.name=content", "train.epochs=1"))
    first = document["summary"][0]
    assert first["training"] == "without camera"
    assert first["unseen_collections"]["names"] == ["camera"]
    alone = next(c for c in document["cells"] if (c["training"], c["test"]) == ("without camera", "camera"))
    assert alone["seen"] == "unseen"
    rate = first["unseen_collections"]["recall_real"]
    assert rate["value"] == alone["rates"]["recall_real"]["value"]
    assert (rate["n_real"], rate["n_fake"]) == (10, 0)


def test_curves_are_drawn_of_plans_with_sizes(prepared, tmp_path):
    overrides = ("plan.name=data_size", "plan.shares=[0.3, 1.0]", "plan.most_epochs=4", "train.epochs=1")
    document = matrix(settings_for(prepared, tmp_path / "matrix", *overrides))
    small, whole = document["trainings"]
    assert (small["size"], whole["size"]) == (0.3, 1.0)
    assert small["n_train"]["real"] == 0.3 * whole["n_train"]["real"]
    # As many updates, but no more epochs than allowed.
    assert (small["epochs"], whole["epochs"]) == (4, 1)
    assert (tmp_path / "matrix" / "curves.png").stat().st_size > 10_000


def test_a_failed_training_leaves_its_row_empty_and_is_tried_again(prepared, tmp_path, monkeypatch, run_cli):
    settings = settings_for(prepared, tmp_path / "matrix", "train.epochs=1")
    train = study_work.train

    def fail_once(train_settings):
        if train_settings.data.folders[0] == "blue_b":
            raise TrainingError("The loss became nan.")
        return train(train_settings)

    monkeypatch.setattr(study_work, "train", fail_once)
    document = matrix(settings)
    assert document["failed"] == {"blue_b": "its training failed: The loss became nan."}
    cell = next(c for c in document["cells"] if c["training"] == "blue_b")
    assert cell["rates"]["auroc"]["value"] is None
    assert "nan" in cell["rates"]["auroc"]["reason"]
    monkeypatch.undo()
    assert matrix(settings)["failed"] == {}


def test_a_folder_belongs_to_its_study(finished, prepared, tmp_path):
    output, _ = finished
    with pytest.raises(UsageError, match=r"plan\.name.*--overwrite"):
        matrix(settings_for(prepared, output, "plan.name=leave_one_out"))
    with pytest.raises(UsageError, match=r"train\.epochs"):
        matrix(settings_for(prepared, output, "train.epochs=2"))
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match="not empty"):
        matrix(settings_for(prepared, tmp_path))


def test_overwrite_begins_another_study_in_the_same_folder(prepared, tmp_path):
    few = ("plan.generators=[red_a, blue_a]", "train.epochs=1")
    matrix(settings_for(prepared, tmp_path / "matrix", *few))
    document = matrix(
        settings_for(prepared, tmp_path / "matrix", *few, "plan.name=leave_one_out"), overwrite=True
    )
    assert {t["name"] for t in document["trainings"]} == {"without red_a", "without blue_a"}
    assert {path.name for path in (tmp_path / "matrix" / "runs").iterdir()} == {
        "without-red_a", "without-blue_a"
    }  # fmt: skip
    # Generators that were not wanted are not tested either.
    assert [test["name"] for test in document["tests"] if test["kind"] == "generator"] == ["blue_a", "red_a"]


def test_a_leaking_manifest_and_settings_of_the_plan_are_refused(prepared, tmp_path):
    manifest = read_manifest(prepared)
    moved = [dataclasses.replace(row, split="test") if i == 0 else row for i, row in enumerate(manifest.rows)]
    write_manifest(moved, tmp_path / "leaking")
    with pytest.raises(ManifestError, match="leaks"):
        matrix(settings_for(tmp_path / "leaking", tmp_path / "matrix"))
    with pytest.raises(ConfigError, match=r"train\.data\.folders"):
        matrix(settings_for(prepared, tmp_path / "matrix", "train.data.folders=[red_a]"))
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        matrix(settings_for(prepared, tmp_path / "matrix", "train.epoch=3"))
    assert not (tmp_path / "matrix").exists()


def test_generators_without_val_faces_are_named_and_left_out_of_the_trainings(prepared, tmp_path):
    manifest = read_manifest(prepared)
    kept = [row for row in manifest.rows if not (row.folder == "red_a" and row.split == "val")]
    for row in kept:
        target = tmp_path / "prepared" / row.destination_path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(manifest.crop_path(row))
    write_manifest(kept, tmp_path / "prepared")
    described = describe_study(settings_for(tmp_path / "prepared", tmp_path / "matrix"))
    states = {entry["name"]: entry["state"] for entry in described}
    assert states["red_a"] == "its val split has no fake faces"
    assert states["red_b"] == "open"
    assert not (tmp_path / "matrix").exists()


def test_a_limit_makes_a_small_trial_of_everything(prepared, tmp_path):
    study = load_study(settings_for(prepared, tmp_path), limit=12)
    assert len(study.trainings) == len(TINTS)
    for training in study.trainings:
        rows = study.train_rows(training)
        assert 3 <= len(rows) <= 24
        assert {row.folder for row in rows} == {training.name, *COLLECTIONS}


def test_a_launcher_gets_the_script_and_the_settings_of_each_training(prepared, tmp_path, monkeypatch):
    settings = settings_for(prepared, tmp_path / "matrix", "plan.generators=[red_a]", "train.epochs=1")
    study = load_study(settings)
    # Stands in for `accelerate launch`: the training is there already, and what it was told is written down.
    study_work.train(study.settings_of(study.trainings[0]))
    monkeypatch.setattr(study_work, "train", lambda settings: pytest.fail("trained in this process"))
    told = tmp_path / "told.txt"
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    launcher.chmod(0o755)
    assert matrix(settings, launcher=f"{launcher} launch --num_processes 1")["failed"] == {}
    *words, script, flag, config = told.read_text().split()
    assert words == ["launch", "--num_processes", "1"]
    assert Path(script) == Path(faceauth.__file__).parent / "train.py"
    assert flag == "--config"
    assert load_config(TrainSettings, config) == study.settings_of(study.trainings[0])


def test_a_launcher_that_fails_is_a_failed_training(prepared, tmp_path):
    settings = settings_for(prepared, tmp_path / "matrix", "plan.generators=[red_a]")
    with pytest.raises(FaceAuthError, match="ended with code 3"):
        matrix(settings, launcher="sh -c 'exit 3'")


def test_files_of_trainings_stay_in_the_folder_and_never_share_a_name(prepared, tmp_path):
    study = load_study(settings_for(prepared, tmp_path / "matrix"))
    names = ("../a", "a b", "a/b", "A-B", "…", "x" * 300, "con\n")
    odd = dataclasses.replace(study, trainings=tuple(Training(name, ("red_a",)) for name in names))
    files = list(odd.file_names.values())
    assert len({name.casefold() for name in files}) == len(names)
    for training, name in zip(odd.trainings, files, strict=True):
        assert (
            Path(odd.settings_of(training).output).resolve()
            == (tmp_path / "matrix" / "runs" / name).resolve()
        )
        assert Path(name).name == name
        assert len(name) < 100


def test_a_dry_run_lists_the_trainings_and_writes_nothing(run_cli, prepared, tmp_path):
    asked = ("matrix", "--config", "leave_one_out", "--manifest", prepared, "--output", tmp_path / "matrix")
    done = run_cli(*asked, "--dry-run")
    assert done.exit_code == 0, done.output
    for name in TINTS:
        assert f"without {name}" in done.stdout
    described = json.loads(run_cli(*asked, "--dry-run", "--json").stdout)
    assert {entry["state"] for entry in described} == {"open"}
    assert described[0]["n_train"] == {"real": 40, "fake": 60}
    assert not (tmp_path / "matrix").exists()
    both = run_cli(*asked, "--scores", "a.csv")
    assert both.exit_code == 2


def test_tables_of_other_tools_make_the_same_kind_of_matrix(run_cli, tmp_path):
    rng = np.random.default_rng(3)
    for name, shift in (("ours", 3.0), ("theirs", 0.5)):
        scores = made_scores(rng, {"gan": shift, "swap": shift / 2, "real_web": 0.0})
        write_scores(scores, tmp_path / f"{name}.csv")
    done = run_cli(
        "matrix", "--scores", f"A={tmp_path / 'ours.csv'}", "--scores", tmp_path / "theirs.csv",
        "--output", tmp_path / "matrix", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [entry["training"] for entry in document["summary"]] == ["A", "theirs"]
    assert auroc_of(document, "A", "gan") > auroc_of(document, "theirs", "gan")
    assert {cell["seen"] for cell in document["cells"]} == {"unknown"}
    assert document["summary"][0]["unseen_generators"]["mean_auroc"]["value"] is None
    assert document["summary"][0]["generators"]["mean_auroc"]["value"] > 0.8
    with pytest.raises(UsageError, match="Two tables"):
        matrix_of_tables(["a/x.csv", "b/x.csv"], tmp_path / "matrix")


def test_a_table_without_a_source_leaves_that_cell_undefined():
    rng = np.random.default_rng(0)
    rows = [
        MatrixRow("full", made_scores(rng, {"gan": 1.0, "swap": 1.0, "real_web": 0.0})),
        MatrixRow("part", made_scores(rng, {"gan": 1.0, "real_web": 0.0}, path="other")),
    ]
    measured = measure_matrix(rows, find_tests([row.scores for row in rows]), draws=100)
    cell = next(c for c in measured["cells"] if (c["training"], c["test"]) == ("part", "swap"))
    assert cell["rates"]["auroc"]["value"] is None
    assert "swap" in cell["rates"]["auroc"]["reason"]
    assert correlate_detectors(rows)["tree"] is None
    assert correlate_generators(measured)["tree"] is None


def test_the_mean_over_one_generator_is_its_auroc_with_its_interval():
    scores = made_scores(np.random.default_rng(1), {"gan": 1.5, "real_web": 0.0, "real_dfdc": -0.5})
    mean = measure_mean_auroc(scores, ["gan"], draws=1000)
    rate = measure_rates(scores.target, scores.p_fake, groups=scores.group, metrics=("auroc",))["auroc"]
    assert mean.value == pytest.approx(rate.value)
    assert mean.ci95 == pytest.approx(rate.ci95, abs=0.01)
    perfect = made_scores(np.random.default_rng(1), {"gan": 40.0, "real_web": -40.0})
    rate = measure_rates(perfect.target, perfect.p_fake, groups=perfect.group, metrics=("auroc",))["auroc"]
    assert measure_mean_auroc(perfect, ["gan"]).ci95 == pytest.approx(rate.ci95)


def test_the_interval_of_the_mean_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    truth = np.mean(norm.cdf(np.array([0.5, 1.5]) / np.sqrt(2)))
    hits = [
        low <= truth <= high
        for low, high in (
            measure_mean_auroc(
                made_scores(rng, {"gan": 0.5, "swap": 1.5, "real_web": 0.0}), ["gan", "swap"], draws=200
            ).ci95
            for _ in range(150)
        )
    ]
    assert 0.9 <= np.mean(hits) <= 0.995


def test_a_detector_that_is_good_at_everything_makes_no_generators_alike():
    rng = np.random.default_rng(0)
    quality = [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    rows = []
    for number, offset in enumerate(quality):
        bonus = 1.2 if number % 2 else -1.2
        logits = {"gan_a": offset + bonus, "gan_b": offset + bonus, "swap_a": offset - bonus}
        rows.append(MatrixRow(f"detector {number}", made_scores(rng, {**logits, "real_web": 0.0}, n=200)))
    found = correlate_generators(measure_matrix(rows, find_tests([row.scores for row in rows]), draws=100))
    value_of = {frozenset((pair["first"], pair["second"])): pair for pair in found["correlations"]}
    alike, unlike = value_of[frozenset({"gan_a", "gan_b"})], value_of[frozenset({"gan_a", "swap_a"})]
    assert alike["value"] > 0.5 > 0 > unlike["value"]
    assert alike["n"] == len(quality)
    assert alike["ci95"][0] < alike["value"] < alike["ci95"][1]
    assert set(map(frozenset, found["tree"]["merges"][0]["members"])) == {
        frozenset({"gan_a"}),
        frozenset({"gan_b"}),
    }


def test_detectors_that_share_only_the_classes_do_not_agree():
    rng = np.random.default_rng(0)
    logits = {"gan": 4.0, "swap": 2.0, "real_web": -3.0}
    first, second = made_scores(rng, logits, n=300), made_scores(rng, logits, n=300)
    # The same faces in another order, with scores that are the first's but for a little noise.
    order = rng.permutation(len(first))
    third = first.where(order)
    noisy = 1 / (1 + np.exp(-np.log(third.p_fake / (1 - third.p_fake)) - rng.normal(0, 0.2, len(third))))
    rows = [
        MatrixRow("first", first),
        MatrixRow("second", second),
        MatrixRow("third", dataclasses.replace(third, p_fake=noisy)),
    ]
    pairs = correlate_detectors(rows)["correlations"]
    value_of = {(pair["first"], pair["second"]): pair["value"] for pair in pairs}
    assert abs(value_of["first", "second"]) < 0.15
    assert value_of["first", "third"] > 0.95
    assert {pair["n"] for pair in pairs} == {450}

"""Robustness: what is measured at each level, with which intervals, and that stopping it changes nothing."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from planted import TINY_VIT, write_planted_manifest
from scipy.special import expit, logit

from faceauth.degradations.suites import choose_levels
from faceauth.errors import InputError, UsageError
from faceauth.intake.manifest import read_manifest
from faceauth.scoring.metrics import compute_metric
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores
from faceauth.studies.robustness import MEASURED, measure_robustness
from faceauth.studies.robustness_figures import draw_robustness_figures
from faceauth.verbs import robustness as verb
from faceauth.verbs.evaluate import ScoringSettings, list_test_reads
from faceauth.verbs.robustness import robustness

SETTINGS = ScoringSettings(batch_size=16, workers=0, device="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run_cli):
    """A prepared folder of noise in which fakes carry a checkerboard, and a detector that found it."""
    root = tmp_path_factory.mktemp("trained")
    manifest = write_planted_manifest(root / "prepared", groups=40)
    words = [
        word
        for override in (*TINY_VIT, "epochs=4", "optimizer.learning_rate=2e-3")
        for word in ("--set", override)
    ]
    done = run_cli("train", "--manifest", manifest, "--output", root / "run", *words)
    assert done.exit_code == 0, done.stderr
    return root


@pytest.fixture
def without_figures(monkeypatch):
    """Figures take longest, and most tests are not about them."""
    monkeypatch.setattr(verb, "draw_robustness_figures", lambda document, folder: [])


@pytest.fixture
def measure(trained):
    """Runs the verb on the planted val split."""

    def run(output, **options):
        options = {"split": "val", "suite": "quick", "settings": SETTINGS, **options}
        return robustness(trained / "run", trained / "prepared", output, **options)

    return run


def scores_of(n=120, *, gap=1.5, seed=0, groups=None):
    """Scores of as many reals as fakes that overlap somewhat."""
    rng = np.random.default_rng(seed)
    target = np.repeat([1, 0], n // 2)
    names = np.array([f"{i}.png" for i in range(n)], dtype=object)
    return Scores(
        destination_path=names,
        folder=np.array(
            [("phone", "camera")[i % 2] if t else ("gan", "swap")[i % 2] for i, t in enumerate(target)],
            dtype=object,
        ),
        split=np.full(n, "test", dtype=object),
        target=target,
        p_fake=expit(rng.normal(0, 1, n) + gap * (target == 0)),
        group=np.full(n, "", dtype=object) if groups is None else groups,
    )


def worn(scores, amount, seed=1):
    """The same faces, scored with so much noise upon the logit."""
    noise = np.random.default_rng(seed).normal(0, 1, len(scores)) * amount
    return dataclasses.replace(scores, p_fake=expit(logit(scores.p_fake) + noise))


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def width(rate):
    return rate.ci95[1] - rate.ci95[0]


@pytest.mark.usefixtures("without_figures")
def test_a_detector_of_fine_grain_falls_under_blur_and_not_under_brightness(trained, measure, tmp_path):
    # The largest split: an interval of eight groups would say little.
    document = measure(tmp_path, suite="full", only=["blur", "brightness"], split="train")
    assert document["clean"]["auroc"]["value"] > 0.95
    blur, brightness = (document["degradations"][name] for name in ("blur", "brightness"))
    at_2_px = next(at for at in blur["levels"] if at["level"] == 2)
    assert at_2_px["auroc_drop"]["ci95"][0] > 0.1
    for at in brightness["levels"]:
        if 0.6 <= at["level"] <= 1.6:
            assert at["auroc_drop"]["value"] < 0.05
    assert blur["area"]["value"] < brightness["area"]["value"] - 0.1
    assert [at["level"] for at in blur["levels"]] == list(choose_levels("full")["blur"])


def test_what_is_written_is_the_contract(trained, measure, tmp_path):
    document = measure(tmp_path)
    assert document == json.loads((tmp_path / "robustness.json").read_text())
    assert set(document) >= {"model", "split", "suite", "threshold", "clean", "degradations"}
    levels = choose_levels("quick")
    assert list(document["degradations"]) == list(levels)
    for name, curve in document["degradations"].items():
        assert set(curve) == {"unit", "clean_place", "levels", "area"}
        for at, level in zip(curve["levels"], levels[name], strict=True):
            assert at["level"] == level
            assert {*MEASURED, "auroc_drop"} <= set(at)
            scores = read_scores(tmp_path / "scores" / f"{name}_{level:g}.csv")
            for metric in MEASURED:
                value, _ = compute_metric(
                    metric, scores.target, scores.p_fake, threshold=document["threshold"]["value"]
                )
                assert at[metric]["value"] == pytest.approx(value)
    with (tmp_path / "robustness.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["degradation"] for row in rows] == [
        "clean", *(name for name, grid in levels.items() for _ in grid)
    ]  # fmt: skip
    last = document["degradations"][rows[-1]["degradation"]]["levels"][-1]
    assert float(rows[-1]["auroc_drop"]) == last["auroc_drop"]["value"]
    assert float(rows[-1]["auroc gan"]) == last["auroc_by_folder"]["gan"]["value"]
    for name in ("robustness", "robustness_overview", "robustness_decisions"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
        assert (tmp_path / f"{name}.svg").read_text("utf-8").lstrip().startswith("<?xml")


def test_a_run_stopped_between_levels_ends_like_one_never_stopped(measure, tmp_path, monkeypatch):
    monkeypatch.setattr(
        verb, "choose_levels", lambda suite, only: {"jpeg": (75, 30), "gaussian_noise": (5, 15)}
    )
    measure(tmp_path / "whole")
    write_scores, scored = verb.write_scores, []

    def stop_after_three(scores, path):
        write_scores(scores, path)
        scored.append(path.name)
        if len(scored) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(verb, "write_scores", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "robustness.json").exists()
    measure(tmp_path / "stopped")
    assert len(scored) == len(set(scored)) == 4 + 1
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("without_figures")
def test_scores_depend_neither_on_batches_nor_on_workers(measure, tmp_path):
    options = {"suite": "full", "only": ["gaussian_noise", "crop"]}
    measure(tmp_path / "a", **options, settings=SETTINGS)
    other = dataclasses.replace(SETTINGS, batch_size=7, workers=2)
    measure(tmp_path / "b", **options, settings=other)
    for path in (tmp_path / "a" / "scores").iterdir():
        first, again = read_scores(path), read_scores(tmp_path / "b" / "scores" / path.name)
        np.testing.assert_allclose(first.p_fake, again.p_fake, atol=1e-5)
    reseeded = dataclasses.replace(SETTINGS, seed=1)
    measure(tmp_path / "c", **options, settings=reseeded)
    noisy = [read_scores(tmp_path / run / "scores" / "gaussian_noise_40.csv").p_fake for run in "ac"]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3


@pytest.mark.usefixtures("without_figures")
def test_a_run_is_one_reading_of_the_test_split(trained, measure, tmp_path):
    model = tmp_path / "run"
    shutil.copytree(trained / "run", model)

    def reads(**options):
        options = {"split": "test", "settings": SETTINGS, "suite": "genimage", **options}
        document = robustness(model, trained / "prepared", tmp_path / "results", **options)
        assert document["test_reads"] == len(list_test_reads(model))
        return document["test_reads"]

    first = reads()
    assert reads() == first
    assert reads(only=["jpeg"]) == first
    assert reads(suite="quick") == first + 1
    robustness(
        model, trained / "prepared", tmp_path / "val", split="val", suite="genimage", settings=SETTINGS
    )
    assert len(list_test_reads(model)) == first + 1


@pytest.mark.usefixtures("without_figures")
def test_a_folder_with_other_scores_is_refused_until_overwritten(measure, tmp_path):
    measure(tmp_path, only=["jpeg"])
    before = files_of(tmp_path)
    reseeded = dataclasses.replace(SETTINGS, seed=1, limit=10)
    with pytest.raises(UsageError, match="differs in: seed, limit"):
        measure(tmp_path, only=["jpeg"], settings=reseeded)
    assert files_of(tmp_path) == before
    document = measure(tmp_path, only=["jpeg"], settings=reseeded, overwrite=True)
    assert document["clean"]["auroc"]["n_real"] + document["clean"]["auroc"]["n_fake"] == 10


def test_the_command_prints_every_level_with_its_interval(trained, run_cli, tmp_path):
    words = [
        "--model",
        trained / "run",
        "--manifest",
        trained / "prepared",
        "--split",
        "val",
        "--workers",
        "0",
    ]
    words += ["--suite", "genimage", "--degradation", "blur", "--degradation", "jpeg", "--output", tmp_path]
    done = run_cli("robustness", *words)
    assert done.exit_code == 0, done.stderr
    *lines, blank, ruler = done.stdout.splitlines()
    assert (blank, ruler.startswith("A ruler alone")) == ("", True)
    assert [line.split()[:2] for line in lines[3:]] == [
        ["jpeg", "65"], ["jpeg", "30"], ["jpeg", "area"], ["blur", "3"], ["blur", "5"], ["blur", "area"]
    ]  # fmt: skip
    assert all(" to " in line for line in lines[2:])
    again = run_cli("robustness", *words, "--json")
    assert json.loads(again.stdout) == json.loads((tmp_path / "robustness.json").read_text())
    assert run_cli("robustness", *words, "--suite", "quik").exit_code == 2


@pytest.mark.usefixtures("without_figures")
def test_scores_are_calibrated_like_those_that_the_threshold_was_chosen_on(trained, measure, tmp_path):
    raw = trained / "run" / "checkpoint" / "faceauth.json"
    model = tmp_path / "model"
    shutil.copytree(trained / "run" / "checkpoint", model)
    card = json.loads(raw.read_text())

    def clean_scores(temperature, output):
        calibration = {
            "method": "temperature",
            "parameters": {"temperature": temperature},
            "chosen_on": "val",
        }
        (model / "faceauth.json").write_text(json.dumps(card | {"calibration": calibration}))
        robustness(
            model,
            trained / "prepared",
            output,
            split="val",
            suite="genimage",
            only=["blur"],
            settings=SETTINGS,
        )
        return logit(read_scores(output / "scores" / "clean.csv").p_fake)

    once, halved = clean_scores(1.0, tmp_path / "once"), clean_scores(2.0, tmp_path / "halved")
    np.testing.assert_allclose(halved, once / 2, atol=1e-6)


def test_the_drop_is_paired():
    clean = scores_of()
    level = worn(clean, 0.15)
    at = measure_robustness(clean, {"jpeg": {50: level}}, threshold=0.5).curves["jpeg"].levels[0]
    assert at.auroc_drop.value == pytest.approx(
        compute_metric("auroc", clean.target, clean.p_fake)[0]
        - compute_metric("auroc", level.target, level.p_fake)[0]
    )
    # Far narrower than two independent AUROCs would leave it.
    assert width(at.auroc_drop) < 0.5 * width(at.rates["auroc"])
    assert at.auroc_drop.ci95[0] <= at.auroc_drop.value <= at.auroc_drop.ci95[1]


def test_intervals_of_drop_and_area_hold_the_truth_as_often_as_they_say():
    # The truth: AUROCs of two Gaussians whose means are 1.5 apart, before and after noise as large as 1.
    large = scores_of(40_000, seed=99)
    truth = [compute_metric("auroc", s.target, s.p_fake)[0] for s in (large, worn(large, 1.0))]
    held_drop = held_area = 0
    for seed in range(60):
        clean = scores_of(80, seed=seed)
        level = worn(clean, 1.0, seed=1000 + seed)
        # One folder a class, to be quick.
        clean, level = (
            dataclasses.replace(s, folder=np.where(s.target == 1, "real", "fake").astype(object))
            for s in (clean, level)
        )
        measured = measure_robustness(clean, {"jpeg": {50: level}}, threshold=0.5, draws=300, seed=seed)
        curve = measured.curves["jpeg"]
        low, high = curve.levels[0].auroc_drop.ci95
        held_drop += low <= truth[0] - truth[1] <= high
        low, high = curve.area.ci95
        held_area += low <= sum(truth) / 2 <= high
    # Of 60 at 95 %, fewer than 51 are held once in 1,000 times.
    assert min(held_drop, held_area) >= 51


def test_the_area_is_the_mean_height_of_the_curve():
    clean = scores_of()
    levels = {level: worn(clean, amount) for level, amount in ((90, 0.5), (50, 1.0), (20, 4.0))}
    curve = measure_robustness(clean, {"jpeg": levels}, threshold=0.5).curves["jpeg"]
    a = [compute_metric("auroc", s.target, s.p_fake)[0] for s in (clean, *levels.values())]
    assert curve.area.value == pytest.approx((a[0] / 2 + a[1] + a[2] + a[3] / 2) / 3)
    assert curve.area.ci95[0] < curve.area.value < curve.area.ci95[1]


def test_the_clean_pictures_stand_between_darker_and_brighter_ones():
    clean = scores_of()
    levels = {level: worn(clean, amount) for level, amount in ((0.4, 4.0), (0.8, 1.0), (1.6, 2.0))}
    curve = measure_robustness(clean, {"brightness": levels}, threshold=0.5).curves["brightness"]
    a = [compute_metric("auroc", s.target, s.p_fake)[0] for s in (*levels.values(), clean)]
    assert curve.clean_place == 2
    assert curve.area.value == pytest.approx((a[0] / 2 + a[1] + a[3] + a[2] / 2) / 3)


def test_a_degradation_that_does_nothing_has_the_clean_area_and_no_drop():
    clean = scores_of()
    measured = measure_robustness(clean, {"jpeg": {90: clean, 50: clean}}, threshold=0.5)
    curve, auroc = measured.curves["jpeg"], measured.clean["auroc"]
    assert curve.area.value == pytest.approx(auroc.value)
    np.testing.assert_allclose(curve.area.ci95, auroc.ci95, atol=0.012)
    for at in curve.levels:
        assert at.auroc_drop.value == 0
        assert at.auroc_drop.ci95[0] < 0 < at.auroc_drop.ci95[1]


def test_levels_whose_mistakes_have_nothing_in_common_make_the_area_surer():
    clean = scores_of()
    alike = measure_robustness(clean, {"jpeg": dict.fromkeys((90, 50, 20), clean)}, threshold=0.5)
    unlike = {level: scores_of(seed=level) for level in (90, 50, 20)}
    apart = measure_robustness(clean, {"jpeg": unlike}, threshold=0.5)
    assert width(apart.curves["jpeg"].area) < 0.75 * width(alike.curves["jpeg"].area)


def test_copies_of_a_face_make_no_interval_narrower():
    single = scores_of(60)
    groups = np.array([f"person {i}" for i in range(60)], dtype=object)

    def copied(scores):
        columns = {f.name: getattr(scores, f.name) for f in dataclasses.fields(Scores)}
        return Scores(
            **{k: None if v is None else np.repeat(v, 5) for k, v in columns.items() if k != "group"},
            group=np.repeat(groups, 5),
        )

    single = dataclasses.replace(single, group=groups)
    few = measure_robustness(single, {"blur": {3: worn(single, 1.0)}}, threshold=0.5).curves["blur"]
    many = measure_robustness(copied(single), {"blur": {3: copied(worn(single, 1.0))}}, threshold=0.5).curves[
        "blur"
    ]
    assert width(many.area) == pytest.approx(width(few.area), rel=0.1)
    assert width(many.levels[0].auroc_drop) == pytest.approx(width(few.levels[0].auroc_drop), rel=0.1)


def test_a_perfect_detector_that_stays_perfect_is_not_said_to_be_certain():
    target = np.repeat([1, 0], 20)
    perfect = dataclasses.replace(scores_of(40), target=target, p_fake=np.where(target == 1, 0.1, 0.9))
    curve = measure_robustness(perfect, {"jpeg": {50: perfect}}, threshold=0.5).curves["jpeg"]
    assert curve.area.value == 1
    assert 0.5 < curve.area.ci95[0] < 1 == curve.area.ci95[1]
    low, high = curve.levels[0].auroc_drop.ci95
    assert low < 0 < high


def test_one_class_alone_gives_reasons_and_no_numbers(tmp_path):
    reals = scores_of().where(np.arange(120) < 60)
    measured = measure_robustness(reals, {"jpeg": {50: reals}}, threshold=0.5)
    curve = measured.curves["jpeg"]
    for rate in (curve.area, curve.levels[0].auroc_drop, measured.clean["auroc"]):
        assert rate.value is None
        assert "no fake faces" in rate.reason
    assert curve.levels[0].rates["recall_real"].value is not None
    document = {"split": "test", "threshold": {"value": 0.5}, **measured.to_json()}
    json.dumps(document, allow_nan=False)
    drawn = draw_robustness_figures(document, tmp_path)
    assert {path.stem for path in drawn} == {"robustness_decisions"}


def test_scores_of_other_faces_are_refused():
    clean = scores_of()
    with pytest.raises(InputError, match="jpeg at 50"):
        measure_robustness(clean, {"jpeg": {50: clean.where(np.arange(120) > 0)}}, threshold=0.5)


@pytest.mark.usefixtures("without_figures")
def test_a_limit_takes_the_rows_that_evaluate_takes(trained, measure, tmp_path, run_cli):
    limited = dataclasses.replace(SETTINGS, limit=7)
    measure(tmp_path / "robust", only=["jpeg"], settings=limited)
    words = ["--model", trained / "run", "--manifest", trained / "prepared", "--split", "val", "--limit", "7"]
    assert run_cli("evaluate", *words, "--workers", "0", "--output", tmp_path / "plain").exit_code == 0
    ours = read_scores(tmp_path / "robust" / "scores" / "clean.csv")
    theirs = read_scores(tmp_path / "plain" / "scores.csv")
    np.testing.assert_array_equal(ours.destination_path, theirs.destination_path)
    np.testing.assert_allclose(ours.p_fake, theirs.p_fake, atol=1e-6)
    assert len(ours) == 7 < len(read_manifest(trained / "prepared").in_split("val"))

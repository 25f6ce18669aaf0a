"""Plans: what each training learns from, what is left out of it, and shares that lie inside one another."""

import dataclasses
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from faceauth.config import load_config
from faceauth.errors import ConfigError, FaceAuthError, ManifestError, UnknownNameError
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.training.plans import (
    PLANS,
    PlanSettings,
    find_sources,
    make_trainings,
    select_share,
    why_untrainable,
)
from faceauth.verbs.study import MatrixSettings, base_settings, find_study

REALS = ("camera", "phone")
FAKES = ("biggan", "faceswap", "progan", "sdxl", "stylegan")


def row(folder, split="train", group="", label=None):
    label = label or ("real" if folder in REALS else "fake")
    return ManifestRow(
        image_path=f"/photos/{folder}/{group}.jpg",
        destination_path=f"{split}/{label}/{folder}/{group}.png",
        folder=folder,
        split=split,
        target_class=label,
        target=int(label == "real"),
        group=group,
    )


def manifest_of(rows):
    return Manifest(rows=rows, root=Path("prepared"), path=Path("prepared/manifest.xlsx"), sha256="0" * 64)


@pytest.fixture
def manifest():
    rows = [
        row(folder, split, f"{split}-{folder}-{number}")
        for folder in (*REALS, *FAKES)
        for split in ("train", "val", "test")
        for number in range(4)
    ]
    return manifest_of(rows)


def plan(manifest, **settings):
    settings = PlanSettings(**settings)
    return make_trainings(find_sources(manifest, settings), settings)


def folders_by_name(trainings):
    return {training.name: set(training.folders) for training in trainings}


FAMILIES = {"gan": ("biggan", "progan", "stylegan"), "swap": ("faceswap",)}
SETTINGS = {name: {} for name in PLANS.names()} | {"families": {"families": FAMILIES}}


@pytest.mark.parametrize("name", PLANS.names())
def test_every_plan_gives_trainings_of_known_sources_with_names_of_their_own(manifest, name):
    trainings = plan(manifest, name=name, **SETTINGS[name])
    assert len({training.name for training in trainings}) == len(trainings) > 1
    for training in trainings:
        assert set(training.folders) <= {*REALS, *FAKES}
        assert list(training.folders) == sorted(set(training.folders))
        assert set(training.folders) & set(REALS)
        assert set(training.folders) & set(FAKES)
        assert why_untrainable(training, manifest) is None
        assert (training.size is not None) == bool(PLANS.get(name).axis)


def test_one_generator_takes_each_alone_and_families_as_one(manifest):
    trainings = folders_by_name(plan(manifest, families=FAMILIES))
    assert trainings == {
        "gan": {*FAMILIES["gan"], *REALS},
        "swap": {"faceswap", *REALS},
        "sdxl": {"sdxl", *REALS},
    }


def test_leave_one_out_leaves_out_one_and_nothing_else(manifest):
    trainings = folders_by_name(plan(manifest, name="leave_one_out", families=FAMILIES))
    everything = {*FAKES, *REALS}
    assert trainings["without gan"] == everything - set(FAMILIES["gan"])
    assert trainings["without sdxl"] == everything - {"sdxl"}
    assert len(trainings) == 3


def test_families_are_trained_alone_and_all_together(manifest):
    trainings = folders_by_name(plan(manifest, name="families", families=FAMILIES))
    assert list(trainings) == ["all", "gan", "swap"]
    assert trainings["all"] == {*FAKES, *REALS}


def test_content_leaves_out_a_collection_with_its_family(manifest):
    trainings = folders_by_name(
        plan(manifest, name="content", families={"news": ("camera", "faceswap"), "gan": ("progan",)})
    )
    assert trainings == {
        "without news": {*FAKES, "phone"} - {"faceswap"},
        "without phone": {*FAKES, "camera"},
    }


def test_more_generators_hold_those_of_fewer_and_repeats_begin_with_others(manifest):
    trainings = plan(manifest, name="n_generators", counts=(1, 2, 3, 99), repeats=6)
    for repeat in range(6):
        of_repeat = [training for training in trainings if training.seed == repeat]
        assert [training.size for training in of_repeat] == [1, 2, 3, len(FAKES)]
        for smaller, larger in pairwise(of_repeat):
            assert set(smaller.folders) < set(larger.folders)
        assert [len(set(training.folders) & set(FAKES)) for training in of_repeat] == [1, 2, 3, 5]
    assert len({training.folders for training in trainings if training.size == 1}) > 1


def test_shares_of_a_repeat_have_one_seed(manifest):
    trainings = plan(manifest, name="data_size", shares=(1.0, 0.5), repeats=2)
    assert [(t.share, t.seed) for t in trainings] == [(0.5, 0), (1.0, 0), (0.5, 1), (1.0, 1)]
    assert [t.name for t in trainings] == ["50 %, draw 1", "100 %, draw 1", "50 %, draw 2", "100 %, draw 2"]


groups_of_rows = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([*REALS, *FAKES[:3]])), min_size=1, max_size=120
)


@given(groups_of_rows, st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 3))
def test_a_smaller_share_is_part_of_a_larger_and_groups_stay_whole(pairs, one, other, seed):
    rows = [row(folder, group=f"g{group}") for group, folder in pairs]
    small, large = (select_share(rows, share=share, seed=seed) for share in sorted((one, other)))
    assert {r.group for r in small} <= {r.group for r in large}
    for taken in (small, large):
        names = {r.group for r in taken}
        assert taken == [r for r in rows if r.group in names]
        assert {r.folder for r in taken} == {r.folder for r in rows}


@given(st.floats(0.02, 0.98), st.integers(0, 5))
def test_a_share_keeps_every_source_in_proportion(share, seed):
    rows = [row(folder, group=f"{folder}-{number}") for folder in REALS for number in range(60)]
    # A photo and the fakes made from it share a group.
    rows += [row(folder, group=f"camera-{number}") for folder in FAKES for number in range(0, 60, 2)]
    counts = Counter(r.folder for r in select_share(rows, share=share, seed=seed))
    whole = Counter(r.folder for r in rows)
    for folder, n in whole.items():
        # Each set of groups alike is off by less than one group; camera's are of two kinds.
        assert abs(counts[folder] - share * n) <= 2


def test_many_kinds_of_groups_with_one_group_each_are_not_all_taken():
    rows = []
    for number in range(2 ** len(FAKES) - 1):
        made = [folder for bit, folder in enumerate(FAKES) if (number + 1) >> bit & 1]
        rows += [row(folder, group=f"person-{number}") for folder in ("camera", *made)]
    taken = {r.group for r in select_share(rows, share=0.2, seed=0)}
    assert 1 <= len(taken) <= 14


def test_another_seed_takes_other_groups_and_rows_without_a_group_are_their_own():
    rows = [row("camera", group=f"g{number}") for number in range(100)]
    one, other = ({r.group for r in select_share(rows, share=0.5, seed=seed)} for seed in (0, 1))
    assert one != other
    loose = [dataclasses.replace(r, group="") for r in rows]
    assert 45 <= len(select_share(loose, share=0.5, seed=0)) <= 55
    assert select_share(rows, share=1.0, seed=0) == rows


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"name": "one_generater"}, UnknownNameError, "one_generator"),
        ({"generators": ("stylegen",)}, ConfigError, "Did you mean 'stylegan'"),
        ({"families": {"gan": ("stylegen",)}}, ConfigError, "Did you mean 'stylegan'"),
        ({"families": {"a": ("sdxl",), "b": ("sdxl",)}}, ConfigError, "two of"),
        ({"families": {"sdxl": ("progan", "biggan")}}, ConfigError, "another name"),
        ({"name": "families"}, ConfigError, "plan.families"),
        ({"name": "leave_one_out", "generators": ("sdxl",)}, ConfigError, "two or more"),
        ({"name": "content", "families": {"all": REALS}}, ConfigError, "two or more"),
        ({"shares": (0.0, 1.0)}, ConfigError, "plan.shares"),
        ({"counts": ()}, ConfigError, "plan.counts"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why(manifest, settings, error, says):
    with pytest.raises(error, match=says):
        plan(manifest, **settings)


def test_a_source_of_both_classes_is_refused(manifest):
    with pytest.raises(ManifestError, match="sdxl"):
        plan(manifest_of([*manifest.rows, row("sdxl", label="real")]))


def test_a_training_without_a_class_in_val_is_not_possible(manifest):
    rows = [r for r in manifest.rows if not (r.folder == "sdxl" and r.split == "val")]
    training = next(t for t in plan(manifest_of(rows)) if t.name == "sdxl")
    assert why_untrainable(training, manifest_of(rows)) == "its val split has no fake faces"


STUDIES = sorted((Path(__file__).parents[1] / "configs" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_can_be_read_and_says_how_to_start_it(path, manifest):
    assert find_study(path.stem) == path
    settings = load_config(MatrixSettings, path)
    assert settings.plan.name in PLANS.names()
    assert base_settings(settings).detector.weights == "package"
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    for word in ("# Needs", "# Start", "# Change"):
        assert any(line.startswith(word) for line in header), word
    assert f"--config {path.stem} " in "".join(header)


def test_every_plan_has_a_shipped_study_and_an_unknown_one_is_explained():
    assert {load_config(MatrixSettings, path).plan.name for path in STUDIES} == set(PLANS.names())
    with pytest.raises(ConfigError, match="Did you mean 'leave_one_out'"):
        find_study("leave_one_ot")


def test_a_study_changes_single_settings_of_its_training_config():
    overrides = ["train_config=quickstart", "train.epochs=7", "train.data.augment={jpeg: 0.5}"]
    base = base_settings(load_config(MatrixSettings, None, [*overrides, "train.optimizer.weight_decay=1e-3"]))
    assert base.epochs == 7
    assert base.data.augment == {"jpeg": 0.5}
    assert base.optimizer.weight_decay == 1e-3
    assert base.detector.name == "efficientnet_lite0"
    with pytest.raises(FaceAuthError, match=r"train\.output"):
        base_settings(load_config(MatrixSettings, None, ["train.output=elsewhere"]))


def test_the_page_of_studies_has_every_setting_with_its_default():
    page = (Path(__file__).parents[1] / "docs" / "matrix.md").read_text("utf-8")
    written = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", page, re.MULTILINE))
    defaults = dataclasses.asdict(MatrixSettings())
    defaults |= {f"plan.{name}": value for name, value in defaults.pop("plan").items()}
    expected = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
    assert {key: yaml.safe_load(text) for key, text in written.items()} == expected

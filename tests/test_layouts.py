"""Each layout on a miniature tree as the data set's authors publish it."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import save_layout
from upath import UPath

from faceauth.errors import InputError, UnknownNameError, UsageError
from faceauth.intake.manifest import read_manifest
from faceauth.intake.sources.find import find_sources
from faceauth.intake.sources.layout import LAYOUTS, matching_layouts, split_of_name, target_of_name
from faceauth.labels import SPLITS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "layouts.md"

# What lies where, by layout; the root is called as the archive unpacks. Empty files will do: nothing is read.
TREES = {
    "image_folder": (
        "photos",
        ["real/web/12/7.jpg", "real/8.jpg", "fake/swap/12/7.png"],
    ),
    "deepfakeface": (
        "DeepFakeFace",
        [
            "wiki/27/1004027_1979-05-25_2010.jpg",
            "wiki/28/77_1950-01-01_1990.jpg",
            "inpainting/27/1004027_1979-05-25_2010.jpg",
            "insight/27/1004027_1979-05-25_2010.jpg",
            "text2img/27/1004027_1979-05-25_2010.jpg",
        ],
    ),
    "ifakefacedb": ("downloads", ["iFakeFaceDB/000001.jpg", "iFakeFaceDB/part2/000001.jpg"]),
    "million_fake_faces": (
        "1m_faces_00_01",
        ["1m_faces_00/9G6G661H8A.jpg", "1m_faces_01/9G6G661H8A.jpg", "1m_faces_01/QQ.jpg"],
    ),
    "celeba_hq": ("CelebAMask-HQ", ["CelebA-HQ-img/0.jpg", "CelebA-HQ-img/1.jpg", "CelebA-HQ-img/29999.jpg"]),
    "imdb_wiki": (
        "downloads",
        [
            "wiki_crop/27/1004027_1979-05-25_2010.jpg",
            "imdb_crop/01/nm0000001_rm124825600_1899-5-10_1968.jpg",
            "imdb_crop/01/nm0000001_rm3343756032_1899-5-10_1970.jpg",
        ],
    ),
    "faceforensics": (
        "FaceForensics++",
        [
            "original_sequences/youtube/c23/videos/000.mp4",
            "original_sequences/youtube/c23/videos/003.mp4",
            "original_sequences/youtube/c23/videos/500.mp4",
            "original_sequences/actors/c23/videos/01__exit_phone_room.mp4",
            "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
            "manipulated_sequences/Deepfakes/c23/videos/003_000.mp4",
            "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4",
            "manipulated_sequences/Face2Face/c40/images/000_003/0001.png",
            "manipulated_sequences/Face2Face/c40/images/000_003/0002.png",
            "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
        ],
    ),
    "celeb_df": (
        "Celeb-DF-v2",
        [
            "Celeb-real/id0_0000.mp4",
            "Celeb-real/id1_0001.mp4",
            "Celeb-synthesis/id0_id1_0000.mp4",
            "YouTube-real/00170.mp4",
            "YouTube-real/00171.mp4",
        ],
    ),
    "dfdc": (
        "dfdc",
        ["dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4", "dfdc_train_part_1/a2.mp4", "test/t.mp4"],
    ),
    "real_and_fake_140k": (
        "archive",
        [
            f"real_vs_fake/real-vs-fake/{split}/{label}/0000{number}.jpg"
            for number, split in enumerate(("train", "valid", "test"))
            for label in ("real", "fake")
        ],
    ),
    "genimage": (
        "GenImage",
        [
            "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/ai/033_sdv4_00152.png",
            "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train/nature/n01440764_10026.JPEG",
            "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/val/ai/033_sdv4_00152.png",
            "Midjourney/imagenet_midjourney/train/ai/033_midjourney_152.png",
            "Midjourney/imagenet_midjourney/train/nature/n01440764_10026.JPEG",
        ],
    ),
    "forensynths": (
        "dataset",
        [
            "train/airplane/0_real/00001.png",
            "train/airplane/1_fake/00001.png",
            "train/train/0_real/00001.png",
            "test/stylegan/car/0_real/00001.png",
            "test/stylegan/car/1_fake/00001.png",
            "test/biggan/1_fake/00001.png",
            "test/san/0_real/baboon.png",
            "test/san/1_fake/baboon.png",
        ],
    ),
}
DFDC_METADATA = {
    "dfdc_train_part_0": {
        "a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"},
        "b.mp4": {"label": "REAL", "split": "train", "original": None},
        "gone.mp4": {"label": "REAL", "split": "train"},
    },
    "dfdc_train_part_1": {"a2.mp4": {"label": "FAKE", "original": "b.mp4"}},
    "test": {"t.mp4": {"is_fake": 1, "augmentations": []}},
}


@pytest.fixture
def tree(tmp_path):
    """A function that writes the miniature of a layout and returns its root."""

    def write(name, *, besides=()):
        root_name, places = TREES[name]
        root = tmp_path / root_name
        for place in (*places, *besides):
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if name == "dfdc":
            for part, document in DFDC_METADATA.items():
                (root / part / "metadata.json").write_text(json.dumps(document))
        return root

    return write


def listed(root, layout):
    """The files by their path below the root."""
    files = find_sources([str(root)], layout=layout)
    return {file.image_path[len(str(root)) + 1 :]: file for file in files}


def tied(files):
    """The sets of files that `group_rows` ties: by group, by person or, of those without, by key."""
    of_tie = {}
    for place, file in files.items():
        people = [name for name in file.identity.split(";") if name]
        for tie in (file.group, *people, "" if file.is_named else file.key):
            if tie:
                of_tie.setdefault(tie, set()).add(place)
    return {tuple(sorted(places)) for places in of_tie.values() if len(places) > 1}


@pytest.mark.parametrize("name", sorted(TREES))
def test_every_tree_is_listed_whole_and_recognised(name, tree):
    root = tree(name)
    files = listed(root, name)
    passed_over = {"manipulated_sequences/Deepfakes/masks/videos/000_003.mp4"}
    assert set(files) == set(TREES[name][1]) - passed_over
    assert name in matching_layouts(root)
    assert all(file.split in ("", *SPLITS) for file in files.values())
    # The root that an archive is unpacked into may have a folder around it.
    if name not in ("image_folder", "imdb_wiki"):
        assert len(listed(root.parent, name)) == len(files)


def test_every_layout_has_a_tree_here_or_a_test_of_its_own():
    assert set(LAYOUTS.names()) == {*TREES, "huggingface"}


def test_a_layout_is_recognised_by_no_tree_but_its_own(tree, tmp_path):
    for name in TREES:
        others = set(matching_layouts(tree(name))) - {name}
        # Of these the folders also fit a more general layout.
        allowed = {"deepfakeface": {"imdb_wiki"}, "forensynths": {"image_folder"}}.get(name, set())
        assert others <= allowed, name
        for path in tmp_path.iterdir():
            path.rename(path.with_name(f"{name}-{path.name}"))


@pytest.mark.parametrize("name", [name for name in LAYOUTS.names() if name != "image_folder"])
def test_a_folder_of_another_layout_is_one_clear_error_that_names_the_right_one(name, tree):
    root = tree("image_folder")
    with pytest.raises(InputError) as caught:
        find_sources([str(root)], layout=name)
    assert f"not laid out as '{name}': its folders are fake, real" in caught.value.message
    assert "looks for" in caught.value.hint
    assert "--layout image_folder" in caught.value.hint


def test_a_known_data_set_without_its_layout_is_told_so(tree):
    with pytest.raises(InputError, match=r"neither a folder 'real'.*--layout faceforensics"):
        find_sources([str(tree("faceforensics"))])


def test_a_layout_does_not_go_with_named_classes_or_spreadsheets(tree, tmp_path):
    root = tree("celeb_df")
    (tmp_path / "a.csv").write_text("image_path,folder,target\n")
    with pytest.raises(UsageError, match="contradict each other"):
        find_sources([f"real:x={root}"], layout="celeb_df")
    with pytest.raises(UsageError, match="is no folder"):
        find_sources([str(tmp_path / "a.csv")], layout="celeb_df")
    with pytest.raises(UnknownNameError, match="celeb_df"):
        find_sources([str(root)], layout="celebdf")


def test_several_roots_of_one_layout_are_one_list(tree, tmp_path):
    root = tree("million_fake_faces")
    parts = [str(root / "1m_faces_00"), str(root / "1m_faces_01")]
    assert len({file.key for file in find_sources(parts, layout="million_fake_faces")}) == 3


def test_a_groups_file_goes_before_what_a_layout_knows(tree, tmp_path):
    root = tree("deepfakeface")
    (root / "groups.csv").write_text(
        "path,identity\ninsight/27/1004027_1979-05-25_2010.jpg,wiki-1004027;wiki-77\n"
    )
    files = listed(root, "deepfakeface")
    swap = files["insight/27/1004027_1979-05-25_2010.jpg"]
    assert (swap.group, swap.identity) == ("wiki/27/1004027_1979-05-25_2010", "wiki-1004027;wiki-77")
    assert any("wiki/28/77_1950-01-01_1990.jpg" in places and len(places) == 2 for places in tied(files))


@pytest.mark.parametrize("top", ["", "train/", "Training/", "validation/", "test_images/"])
@pytest.mark.parametrize(
    ("real", "fake"),
    [
        ("real", "fake"),
        ("Real", "Fake"),
        ("REAL", "FAKE"),
        ("0_real", "1_fake"),
        ("original", "manipulated"),
        ("real_images", "ai_generated"),
    ],
)
def test_plain_folders_come_in_many_names(top, real, fake, tmp_path):
    for place in (f"{top}{real}/web/1.jpg", f"{top}{real}/2.jpg", f"{top}{fake}/gan/1.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    files = find_sources([str(tmp_path)])
    assert sorted((file.folder, file.target) for file in files) == [("gan", 0), ("real", 1), ("web", 1)]
    assert {file.split for file in files} == {split_of_name(top)}
    assert len({file.key for file in files}) == 2  # web/1 and gan/1 are of one name


def test_exact_names_go_before_those_that_mean_the_same(tmp_path):
    for place in ("real/web/1.jpg", "fake/gan/1.jpg", "original/x/1.jpg", "train/real/1.jpg"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    assert {file.folder for file in find_sources([str(tmp_path)])} == {"web", "gan"}


def test_splits_of_plain_folders_begin_their_names_anew(tmp_path):
    for place in ("train/real/1.jpg", "train/fake/1.jpg", "test/real/1.jpg", "training_real/1.jpg"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    for root, n_tied in ((tmp_path / "train", 1), (tmp_path, 0)):
        assert len(tied(listed(root, "image_folder"))) == n_tied
    (file,) = find_sources([str(tmp_path)])
    assert (file.folder, file.split) == ("real", "train")


@pytest.mark.parametrize(
    ("name", "target", "split"),
    [
        ("real", 1, ""),
        ("1_fake", 0, ""),
        ("training_fake", 0, "train"),
        ("AI", 0, ""),
        ("nature", 1, ""),
        ("valid", None, "val"),
        ("test_set", None, "test"),
        ("real_vs_fake", None, ""),
        ("not_real", None, ""),
        ("train_test", None, ""),
        ("wiki", None, ""),
        ("", None, ""),
        ("27", None, ""),
    ],
)
def test_names_mean_a_class_or_a_split_or_nothing(name, target, split):
    assert (target_of_name(name), split_of_name(name)) == (target, split)


def test_deepfakeface_a_photo_and_its_fakes_are_one_group(tree):
    files = listed(tree("deepfakeface"), "deepfakeface")
    name = "27/1004027_1979-05-25_2010.jpg"
    ours = tuple(sorted(f"{folder}/{name}" for folder in ("wiki", "inpainting", "insight", "text2img")))
    # By the group; and all but text2img, which shows another person, by the person.
    assert tied(files) == {ours, tuple(place for place in ours if not place.startswith("text2img"))}
    assert {(file.folder, file.target) for file in files.values()} == {
        ("wiki", 1), ("inpainting", 0), ("insight", 0), ("text2img", 0)
    }  # fmt: skip
    assert files["text2img/" + name].identity == ""
    assert files["wiki/28/77_1950-01-01_1990.jpg"].identity == "wiki-77"


def test_imdb_wiki_ties_the_photos_of_a_person_and_deepfakeface_knows_the_same_people(tree):
    files = listed(tree("imdb_wiki"), "imdb_wiki")
    (pair,) = tied(files)
    assert all("nm0000001" in place for place in pair)
    assert {file.folder for file in files.values()} == {"imdb", "wiki"}
    wiki = files["wiki_crop/27/1004027_1979-05-25_2010.jpg"]
    fakes = listed(tree("deepfakeface"), "deepfakeface")
    assert wiki.identity == fakes["insight/27/1004027_1979-05-25_2010.jpg"].identity


def test_numbered_folders_with_other_names_in_them_are_not_imdb_wiki(tmp_path):
    (tmp_path / "00").mkdir()
    (tmp_path / "00" / "holiday.jpg").touch()
    with pytest.raises(InputError, match="not laid out as 'imdb_wiki'"):
        find_sources([str(tmp_path)], layout="imdb_wiki")


@pytest.mark.parametrize("name", ["million_fake_faces", "ifakefacedb", "real_and_fake_140k"])
def test_where_names_merely_count_nothing_is_tied(name, tree):
    assert tied(listed(tree(name), name)) == set()


def test_the_140k_have_official_splits(tree):
    files = listed(tree("real_and_fake_140k"), "real_and_fake_140k")
    assert {(file.split, file.folder, file.target) for file in files.values()} == {
        (split, folder, target) for split in SPLITS for folder, target in (("ffhq", 1), ("stylegan", 0))
    }


def test_celeba_hq_has_people_and_splits_if_the_lists_are_there(tree):
    root = tree("celeba_hq")
    assert {(file.identity, file.split, file.target) for file in listed(root, "celeba_hq").values()} == {
        ("", "", 1)
    }
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx  orig_idx  orig_file\n0 119612 119613.jpg\n1 162770 162771.jpg\n29999 182637 182638.jpg\n"
    )
    (root / "CelebA-HQ-img" / "identity_CelebA.txt").write_text("119613.jpg 2880\n162771.jpg 2880\n1.jpg 5\n")
    files = listed(root, "celeba_hq")
    assert [(file.identity, file.split) for file in files.values()] == [
        ("celeba-2880", "train"), ("celeba-2880", "val"), ("", "test")
    ]  # fmt: skip
    assert tied(files) == {("CelebA-HQ-img/0.jpg", "CelebA-HQ-img/1.jpg")}
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("idx\nx y\n")
    with pytest.raises(InputError, match="the line 'x y'"):
        find_sources([str(root)], layout="celeba_hq")


def test_masks_beside_celeba_hq_are_no_photos(tree):
    root = tree("celeba_hq", besides=["CelebAMask-HQ-mask-anno/0/00000_hair.png", "CelebA-HQ-img/cover.png"])
    assert len(listed(root, "celeba_hq")) == 3
    assert len(listed(root.rename(root.with_name("CelebA-HQ")), "celeba_hq")) == 3


def test_faceforensics_pairs_actors_and_official_splits(tree):
    root = tree("faceforensics")
    files = listed(root, "faceforensics")
    fake = files["manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"]
    assert (fake.folder, fake.target, fake.identity, fake.split) == ("Deepfakes", 0, "ffpp-000;ffpp-003", "")
    frames = [file for place, file in files.items() if "/images/" in place]
    assert {file.identity for file in frames} == {"ffpp-000;ffpp-003"}
    assert len({file.key for file in frames}) == 2
    actors = [file.identity for file in files.values() if file.identity.startswith("dfd")]
    assert actors == ["dfd-01;dfd-02", "dfd-01"]
    assert not any("500.mp4" in places for group in tied(files) for places in group)
    (root / "splits").mkdir()
    for split, pairs in {
        "train": [["000", "003"]],
        "val": [["720", "672"]],
        "test": [["500", "600"]],
    }.items():
        (root / "splits" / f"{split}.json").write_text(json.dumps(pairs))
    split_of = {place.rpartition("/")[2]: file.split for place, file in listed(root, "faceforensics").items()}
    assert split_of["000.mp4"] == split_of["003_000.mp4"] == split_of["0001.png"] == "train"
    assert split_of["500.mp4"] == "test"
    assert split_of["01__exit_phone_room.mp4"] == ""


def test_faceforensics_a_pair_across_two_official_splits_has_none(tree):
    root = tree("faceforensics")
    (root / "train.json").write_text('[["000", "001"]]')
    (root / "test.json").write_text('[["003", "002"]]')
    files = listed(root, "faceforensics")
    assert files["original_sequences/youtube/c23/videos/000.mp4"].split == "train"
    assert files["manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"].split == ""


def test_faceforensics_frames_are_taken_instead_of_their_videos(tree):
    root = tree("faceforensics", besides=["original_sequences/youtube/c23/images/000/0001.png"])
    youtube = [place for place in listed(root, "faceforensics") if "youtube" in place]
    assert youtube == ["original_sequences/youtube/c23/images/000/0001.png"]


@pytest.mark.parametrize(
    "content", ['{"000": "003"}', '["000"]', '[["000"]]', "[[0, 3]]", "[", "[" * 100_000]
)
def test_faceforensics_hostile_splits_are_one_message(content, tree):
    root = tree("faceforensics")
    (root / "val.json").write_text(content)
    with pytest.raises(InputError, match=r"val\.json"):
        find_sources([str(root)], layout="faceforensics")


def test_celeb_df_people_groups_and_the_list_of_tests(tree):
    root = tree("celeb_df")
    files = listed(root, "celeb_df")
    assert {file.split for file in files.values()} == {""}
    assert tied(files) == {
        ("Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4"),
        ("Celeb-real/id1_0001.mp4", "Celeb-synthesis/id0_id1_0000.mp4"),
    }
    (root / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    assert {place: file.split for place, file in listed(root, "celeb_df").items()} == {
        "Celeb-real/id0_0000.mp4": "train",
        "Celeb-real/id1_0001.mp4": "train",
        "Celeb-synthesis/id0_id1_0000.mp4": "test",
        "YouTube-real/00170.mp4": "test",
        "YouTube-real/00171.mp4": "train",
    }


def test_celeb_df_frames_are_of_their_video(tree):
    places = [f"YouTube-real/frames/00170/00{number}.png" for number in (1, 2)]
    root = tree("celeb_df", besides=[*places, "Celeb-synthesis/id0_id1_0000/12.jpg"])
    (root / "List_of_testing_videos.txt").write_text("1 YouTube-real/00170.mp4\n")
    files = listed(root, "celeb_df")
    assert {files[place].split for place in places} == {"test"}
    assert {files[place].group for place in places} == {files["YouTube-real/00170.mp4"].group}
    assert files["Celeb-synthesis/id0_id1_0000/12.jpg"].identity == "celeb-df-id0;celeb-df-id1"


def test_dfdc_classes_groups_and_splits_come_from_the_metadata(tree, caplog):
    root = tree("dfdc", besides=["dfdc_train_part_0/a/0001.png", "dfdc_train_part_0/unknown.mp4"])
    files = listed(root, "dfdc")
    assert {place: (file.target, file.group, file.split) for place, file in files.items()} == {
        "dfdc_train_part_0/a.mp4": (0, "dfdc/b", "train"),
        "dfdc_train_part_0/a/0001.png": (0, "dfdc/b", "train"),
        "dfdc_train_part_0/b.mp4": (1, "dfdc/b", "train"),
        "dfdc_train_part_1/a2.mp4": (0, "dfdc/b", "train"),
        "test/t.mp4": (0, "dfdc/t", "test"),
    }
    assert {file.folder for file in files.values()} == {"dfdc_real", "dfdc_fake"}
    assert "1 files that its metadata.json does not name" in caplog.text
    assert len(listed(root / "dfdc_train_part_0", "dfdc")) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "REAL or FAKE"),
        ("{}", "REAL or FAKE"),
        ('{"a.mp4": 3}', "REAL or FAKE"),
        ('{"version": "1.0"}', "REAL or FAKE"),
        ('{"a.mp4": {"label": "FAKE"}, "b.mp4": {"label": "MAYBE"}}', "'b.mp4' no label"),
        ("{", "no JSON"),
        ("\udcff", "cannot be read"),
    ],
)
def test_dfdc_hostile_metadata_is_one_message(content, says, tree):
    root = tree("dfdc")
    (root / "dfdc_train_part_0" / "metadata.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=says):
        find_sources([str(root)], layout="dfdc")


def test_a_list_of_absurd_size_is_not_read(tree, monkeypatch):
    monkeypatch.setattr("faceauth.intake.sources.layout.MAX_LIST_BYTES", 10)
    with pytest.raises(InputError, match="at most 10 are read"):
        find_sources([str(tree("dfdc"))], layout="dfdc")


def test_genimage_ties_one_photo_of_several_generators_and_nothing_else(tree):
    files = listed(tree("genimage"), "genimage")
    assert tied(files) == {tuple(place for place in sorted(files) if "nature" in place)}
    assert {(file.folder, file.target, file.split) for file in files.values()} == {
        ("sdv4", 0, "train"), ("sdv4", 0, "val"), ("midjourney", 0, "train"), ("imagenet", 1, "train")
    }  # fmt: skip


def test_genimage_takes_one_generator_alone(tree):
    root = tree("genimage") / "Midjourney" / "imagenet_midjourney"
    assert {file.folder for file in listed(root, "genimage").values()} == {"midjourney", "imagenet"}


def test_forensynths_generators_categories_and_splits(tree):
    root = tree("forensynths")
    files = listed(root, "forensynths")
    assert {place: (file.folder, file.split) for place, file in files.items()} == {
        "train/airplane/0_real/00001.png": ("progan_real", "train"),
        "train/airplane/1_fake/00001.png": ("progan", "train"),
        "train/train/0_real/00001.png": ("progan_real", "train"),
        "test/stylegan/car/0_real/00001.png": ("stylegan_real", "test"),
        "test/stylegan/car/1_fake/00001.png": ("stylegan", "test"),
        "test/biggan/1_fake/00001.png": ("biggan", "test"),
        "test/san/0_real/baboon.png": ("san_real", "test"),
        "test/san/1_fake/baboon.png": ("san", "test"),
    }
    # Super-resolution makes a fake of each photo; elsewhere names count.
    assert tied(files) == {("test/san/0_real/baboon.png", "test/san/1_fake/baboon.png")}


@pytest.mark.parametrize(
    ("inner", "folders"),
    [
        ("test", {"stylegan", "stylegan_real", "biggan", "san", "san_real"}),
        ("test/stylegan", {"stylegan", "stylegan_real"}),
        ("test/biggan", {"biggan"}),
        ("train", {"progan", "progan_real"}),
    ],
)
def test_forensynths_takes_any_part_of_its_tree(inner, folders, tree):
    files = listed(tree("forensynths") / inner, "forensynths")
    assert {file.folder for file in files.values()} == folders


@pytest.mark.parametrize("name", sorted(TREES))
def test_layouts_lie_behind_urls_too(name, tree):
    root = UPath(f"memory://layouts/{name}/{TREES[name][0]}")
    local = tree(name)
    for path in local.rglob("*"):
        if path.is_file():
            (root / path.relative_to(local).as_posix()).write_bytes(path.read_bytes() or b"x")
    far = {file.image_path[len(str(root)) + 1 :]: file for file in find_sources([str(root)], layout=name)}
    assert {place: replace(file, address=None, image_path="") for place, file in far.items()} == {
        place: replace(file, address=None, image_path="") for place, file in listed(local, name).items()
    }
    root.fs.rm(root.path, recursive=True)


def test_the_official_split_of_a_layout_reaches_the_manifest(tmp_path, run_cli):
    root = tmp_path / "real_vs_fake" / "real-vs-fake"
    for number, (split, label) in enumerate(itertools.product(("train", "valid", "test"), ("real", "fake"))):
        save_layout(root, {f"{split}/{label}": 4}, start=4 * number)
    done = run_cli(
        *("prepare", tmp_path, "--layout", "real_and_fake_140k", "--splits", "official", "--balance", "none"),
        *("--face-detector", "whole", "--image-size", "64", "--output", tmp_path / "out"),
    )
    assert done.exit_code == 0, done.stderr
    rows = read_manifest(tmp_path / "out").rows
    assert len(rows) == 24
    assert {(row.split, split_of_name(row.image_path.split("/")[-3])) for row in rows} == {
        (split, split) for split in SPLITS
    }
    assert {(row.folder, row.target) for row in rows} == {("ffhq", 1), ("stylegan", 0)}
    summary = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert summary["settings"]["layout"] == "real_and_fake_140k"


def test_the_layout_that_the_documents_write_works(tmp_path, monkeypatch):
    monkeypatch.setattr(LAYOUTS, "_parts", dict(LAYOUTS._parts))
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile(code, PAGE.name, "exec"), {})
    for place in ("days/monday/12.jpg", "days/monday/13.jpg", "swaps/monday/12.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    files = listed(tmp_path, "camera_trap")
    assert tied(files) == {("days/monday/12.jpg", "swaps/monday/12.png")}
    assert matching_layouts(tmp_path) == ["camera_trap"]


def test_the_plain_folders_that_the_documents_show_are_tied_as_they_say(tmp_path):
    (block,) = re.findall(r"^```text\n(archive.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for place in block.split():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    files = listed(tmp_path / "archive", "image_folder")
    assert {file.folder for file in files.values()} == {"real", "stylegan"}
    assert tied(files) == {("train/fake/stylegan/00001.jpg", "train/real/00001.jpg")}


def test_a_laid_out_folder_without_images_says_so(tmp_path):
    (tmp_path / "Celeb-real").mkdir()
    with pytest.raises(InputError, match="has no images"):
        find_sources([str(tmp_path)], layout="celeb_df")


def test_names_of_any_bytes_pass_through_every_layout(tree):
    for name in ("faceforensics", "celeb_df", "genimage", "million_fake_faces"):
        root = tree(name)
        for path in [path for path in root.rglob("*") if path.is_file()]:
            odd = path.with_name("=\udcff\n" + path.name)
            path.rename(odd)
        for file in find_sources([str(root)], layout=name):
            (file.image_path + file.key + file.group + file.identity).encode()
            assert file.address.path.exists()

import io
import logging
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceauth.errors import InputError, ManifestError, UsageError
from faceauth.intake.address import Address
from faceauth.intake.crop import perceptual_hash
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.intake.sources import SourceFile
from faceauth.labels import ID2LABEL, SPLITS
from faceauth.splits.assign import assign_splits, parse_ratios
from faceauth.splits.balance import BALANCE_RULES, choose_balanced, spread_evenly
from faceauth.splits.groups import group_rows
from faceauth.splits.leaks import find_leaks, refuse_leaks
from faceauth.splits.near import MAX_BITS_APART, near_duplicate_pairs

SOURCES = [(1, "wiki"), (1, "ffhq"), (0, "insight"), (0, "text2img"), (0, "inpainting")]


def make_row(source, number, *, group="", **facts):
    target, folder = source
    values = {"sha256": f"{number:064x}", **facts}
    name = f"{folder}/{number}.png"
    return ManifestRow(f"/{name}", name, folder, "", ID2LABEL[target], target, group=group, **values)


@st.composite
def grouped_rows(draw):
    found = draw(st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 60)), min_size=1, max_size=120))
    return [make_row(source, i, group=f"person-{group}") for i, (source, group) in enumerate(found)]


ratios_of_all_kinds = st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.5, 0.0, 0.5), (1.0, 0.0, 0.0)])


@settings(max_examples=60)
@given(grouped_rows(), ratios_of_all_kinds, st.integers(0, 5))
def test_no_group_is_in_two_splits_and_all_is_deterministic(rows, ratios, seed):
    splits = assign_splits(rows, ratios=ratios, seed=seed)
    found = defaultdict(set)
    for row, split in zip(rows, splits, strict=True):
        found[row.group].add(split)
    assert all(len(names) == 1 for names in found.values())
    assert set(splits) <= {split for split, ratio in zip(SPLITS, ratios, strict=True) if ratio}
    assert assign_splits(rows, ratios=ratios, seed=seed) == splits
    backwards = assign_splits(rows[::-1], ratios=ratios, seed=seed)
    assert backwards == splits[::-1]


@settings(max_examples=60)
@given(grouped_rows(), ratios_of_all_kinds)
def test_each_source_keeps_its_shares_to_within_two_of_the_largest_groups(rows, ratios):
    splits = assign_splits(rows, ratios=ratios, seed=0)
    largest = max(Counter(row.group for row in rows).values())
    sizes = Counter(row.folder for row in rows)
    found = Counter((row.folder, split) for row, split in zip(rows, splits, strict=True))
    for folder, size in sizes.items():
        for split, ratio in zip(SPLITS, ratios, strict=True):
            assert abs(found[folder, split] - ratio * size) <= 2 * largest + 1


def test_many_small_groups_are_split_almost_exactly_and_otherwise_by_another_seed():
    rows = [make_row(SOURCES[i % 5], i, group=f"photo-{i // 5}") for i in range(1000)]
    splits = assign_splits(rows, ratios=(0.8, 0.1, 0.1), seed=0)
    found = Counter((row.folder, split) for row, split in zip(rows, splits, strict=True))
    for _, folder in SOURCES:
        assert [found[folder, split] for split in SPLITS] == [160, 20, 20]
    assert assign_splits(rows, ratios=(0.8, 0.1, 0.1), seed=1) != splits


def test_gaps_are_named(caplog):
    rows = [make_row(source, i, group="one") for i, source in enumerate(SOURCES)]
    with caplog.at_level(logging.WARNING, logger="faceauth"):
        assign_splits(rows, ratios=(0.8, 0.1, 0.1), seed=0)
    assert "no fake in val, no real in val, no fake in test, no real in test" in caplog.text


def test_ratios_are_three_shares_of_one():
    assert parse_ratios("0.8,0.1,0.1") == (0.8, 0.1, 0.1)
    assert parse_ratios("1, 0, 0") == (1.0, 0.0, 0.0)
    for text in ("", "0.8", "0.8,0.2", "0.8,0.1,0.2", "a,b,c", "nan,0.5,0.5", "2,-0.5,-0.5", "80,10,10"):
        with pytest.raises(UsageError, match="sum to 1"):
            parse_ratios(text)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), min_size=1), st.floats(0, 1))
def test_an_even_spread_sums_to_the_total_and_takes_no_more_than_there_is(sizes, share):
    total = int(share * sum(sizes.values()))
    taken = spread_evenly(sizes, total)
    assert sum(taken.values()) == total
    assert taken.keys() == sizes.keys()
    assert all(0 <= taken[name] <= sizes[name] for name in sizes)
    left_over = [taken[name] for name in sizes if taken[name] < sizes[name]]
    assert max(taken.values()) <= min(left_over, default=max(taken.values())) + 1


def chosen_counts(rows, rule, seed=0):
    keep = choose_balanced(rows, rule=rule, seed=seed)
    return Counter(row.folder for row, kept in zip(rows, keep, strict=True) if kept)


def make_sources(**sizes):
    target_of = {folder: target for target, folder in SOURCES}
    order = list(sizes.items())
    numbers = iter(range(10_000))
    return [
        make_row((target_of[folder], folder), next(numbers), group=f"g{i}")
        for folder, n in order
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("rule", "sizes", "kept"),
    [
        ("generator", (90, 5, 30, 10), (15, 5, 10, 10)),
        ("generator", (9, 0, 30, 10), (8, 0, 4, 4)),
        ("generator", (9, 2, 0, 0), (9, 2, 0, 0)),
        ("class", (90, 5, 30, 10), (35, 5, 30, 10)),
        ("class", (9, 0, 30, 3), (9, 0, 6, 3)),
        ("class", (0, 0, 9, 0), (0, 0, 9, 0)),
        ("none", (9, 0, 30, 0), (9, 0, 30, 0)),
    ],
)
def test_each_rule_balances_as_it_says(rule, sizes, kept):
    folders = ("wiki", "ffhq", "insight", "text2img")
    counts = chosen_counts(make_sources(**dict(zip(folders, sizes, strict=True))), rule)
    assert tuple(counts[folder] for folder in folders) == kept


@settings(max_examples=40)
@given(grouped_rows(), st.integers(0, 3))
def test_balance_by_generator_gives_equal_counts_and_as_many_reals(rows, seed):
    try:
        counts = chosen_counts(rows, "generator", seed)
    except InputError:
        n_real = sum(row.target for row in rows)
        assert n_real < len({row.folder for row in rows if not row.target})
        return
    fakes = [counts[folder] for target, folder in SOURCES if not target and counts[folder]]
    n_real = counts["wiki"] + counts["ffhq"]
    if fakes and n_real:
        assert len(set(fakes)) == 1
        assert n_real == sum(fakes)
        assert len(fakes) == len({row.folder for row in rows if not row.target})


def test_the_choice_is_fixed_by_the_seed_and_keeps_groups_together():
    rows = make_sources(wiki=60, insight=60)
    rows += [make_row((1, "wiki"), 5000 + i, group=f"extra-{i}") for i in range(60)]
    keep = choose_balanced(rows, rule="generator", seed=0)
    assert keep == choose_balanced(rows, rule="generator", seed=0)
    assert keep != choose_balanced(rows, rule="generator", seed=1)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = choose_balanced([rows[i] for i in order], rule="generator", seed=0)
    assert shuffled == [keep[i] for i in order]


def test_a_balance_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match=r"1 real and 4 fake crops of 2 generators.*class, none"):
        choose_balanced(make_sources(wiki=1, insight=2, text2img=2), rule="generator", seed=0)
    assert choose_balanced([], rule="generator", seed=0) == []


def test_every_rule_is_a_function_of_sizes():
    for name in BALANCE_RULES.names():
        fakes, reals = BALANCE_RULES.get(name)({"a": 3, "b": 5}, {"r": 20})
        assert fakes.keys() == {"a", "b"}
        assert 0 < sum(reals.values()) <= 20


@settings(max_examples=30)
@given(st.integers(0, 700), st.integers(0, 2**32 - 1), st.integers(0, 130))
def test_near_duplicates_are_those_of_brute_force(n, seed, limit):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (max(1, n // 3), 32), dtype=np.uint8)
    found = base[rng.integers(0, len(base), n)] ^ np.packbits(
        rng.random((n, 256)) < rng.random() * 0.2, axis=1
    )
    hashes = ["" if rng.random() < 0.05 else row.tobytes().hex() for row in found]
    numbers = [int(text, 16) if text else None for text in hashes]
    expected = {
        (i, j)
        for i in range(0, n, 7)
        for j in range(n)
        if i != j and numbers[i] is not None and numbers[j] is not None
        and (numbers[i] ^ numbers[j]).bit_count() <= limit
    }  # fmt: skip
    pairs = list(near_duplicate_pairs(hashes, max_bits_apart=limit))
    assert len(set(pairs)) == len(pairs)
    assert all(i < j for i, j in pairs)
    both_ways = {*pairs, *((j, i) for i, j in pairs)}
    assert {pair for pair in both_ways if pair[0] % 7 == 0} == expected


def copies(image):
    """The same picture as others would pass it on."""
    for quality in (95, 60, 30):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        yield Image.open(buffer).convert("RGB")
    for side in (64, 150, 400):
        yield image.resize((side, side), Image.Resampling.LANCZOS)
    yield image.point(lambda value: min(255, round(value * 1.1)))


def test_copies_of_a_portrait_are_near_duplicates_and_other_people_are_not(sample_photos):
    paths = sorted((sample_photos / "real").rglob("person-*_0.jpg"))
    assert len(paths) == 4
    images = [Image.open(path).convert("RGB") for path in paths]
    hashes = []
    for image in images:
        hashes += [perceptual_hash(np.asarray(copy)) for copy in (image, *copies(image))]
    people = [i // (len(hashes) // 4) for i in range(len(hashes))]
    pairs = set(near_duplicate_pairs(hashes))
    same = {(i, j) for i in range(len(hashes)) for j in range(i + 1, len(hashes)) if people[i] == people[j]}
    assert same <= pairs
    assert pairs <= same


def make_file(row, *, key="", group="", identity=""):
    return SourceFile(
        row.image_path, row.folder, row.target, key, group, Address(Path(row.image_path)), identity
    )


def grouped(entries):
    """Groups entries of (source, key, named group, sha256, phash)."""
    rows = [
        make_row(source, i, sha256=sha256 or f"{i:064x}", phash=phash)
        for i, (source, _, _, sha256, phash) in enumerate(entries)
    ]
    files = [
        make_file(row, key=key, group=group) for row, (_, key, group, _, _) in zip(rows, entries, strict=True)
    ]
    return group_rows(files, rows)


def test_a_fake_is_tied_to_the_photo_whose_name_it_keeps():
    names, ties = grouped(
        [(SOURCES[0], "27/a", "", "", ""), (SOURCES[2], "27/a", "", "", ""), (SOURCES[3], "27/b", "", "", "")]
    )
    assert names[0] == names[1] == "27/a"
    assert names[2] != names[0]
    assert (ties.same_key, ties.named, ties.same_bytes, ties.look_alike) == (1, 0, 0, 0)


def test_ties_of_all_kinds_are_transitive_and_counted():
    alike = "f" * 62 + "0f"
    names, ties = grouped(
        [
            (SOURCES[0], "a", "", "", ""),
            (SOURCES[2], "a", "", "1" * 64, ""),
            (SOURCES[3], "b", "", "1" * 64, "f" * 64),
            (SOURCES[4], "c", "bob", "", alike),
            (SOURCES[1], "d", "bob", "", ""),
            (SOURCES[1], "e", "", "", "0" * 64),
        ]
    )
    assert names[:5] == ["bob"] * 5
    assert names[5] != "bob"
    assert (ties.named, ties.same_key, ties.same_bytes, ties.look_alike) == (1, 1, 1, 1)


def test_a_named_group_says_more_than_a_file_name():
    names, _ = grouped([(SOURCES[0], "0001", "ann", "", ""), (SOURCES[2], "0001", "bob", "", "")])
    assert names == ["ann", "bob"]


def test_failed_rows_without_hashes_are_tied_to_nothing():
    rows = [make_row(SOURCES[0], i, sha256="", status="unreadable") for i in range(3)]
    names, _ = group_rows([make_file(row, key=f"k{i}") for i, row in enumerate(rows)], rows)
    assert names == ["k0", "k1", "k2"]


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=3), min_size=1, max_size=30),
    st.lists(st.sampled_from(["", "", "", "g1", "g2"]), min_size=30, max_size=30),
)
def test_whoever_shares_a_person_shares_a_group_and_no_split_leaks(people, named):
    rows = [make_row(SOURCES[i % 5], i, sha256=f"{i:016x}" * 4) for i in range(len(people))]
    files = [
        make_file(row, key=f"k{i}", group=named[i], identity=" ; ".join(people[i]))
        for i, row in enumerate(rows)
    ]
    names, ties = group_rows(files, rows)
    assert ties.identity + ties.named == len(rows) - len(set(names))
    for i in range(len(rows)):
        for j in range(i):
            if set(people[i]) & set(people[j]) or named[i] == named[j] != "":
                assert names[i] == names[j]
    rows = [
        replace(row, group=name, identity=file.identity)
        for row, name, file in zip(rows, names, files, strict=True)
    ]
    splits = assign_splits(rows, ratios=(0.6, 0.2, 0.2), seed=0)
    assert not find_leaks(in_splits(rows, splits)).any


def test_people_tie_what_no_group_ties_and_name_it():
    rows = [make_row(SOURCES[i], i) for i in range(3)]
    people = ("zoe", "ann;zoe", "bob")
    files = [make_file(row, key="0001", identity=who) for row, who in zip(rows, people, strict=True)]
    names, ties = group_rows(files, rows)
    assert names == ["ann", "ann", "bob"]
    assert (ties.identity, ties.same_key) == (1, 0)


def in_splits(rows, splits):
    return [replace(row, split=split) for row, split in zip(rows, splits, strict=True)]


def test_each_kind_of_leak_is_found_and_an_example_named():
    hashes = ["0f" * 32, "f0" * 32, "00" * 32, "ff" * 32]
    rows = [make_row(SOURCES[i], i, group=f"g{i}", phash=hashes[i]) for i in range(4)]
    assert not find_leaks(in_splits(rows, ["train", "val", "test", "train"])).any
    same_group = [replace(rows[0], group="x"), replace(rows[1], group="x")]
    same_bytes = [rows[0], replace(rows[1], sha256=rows[0].sha256)]
    nearly = f"{int(rows[0].phash, 16) ^ (2**MAX_BITS_APART - 1):064x}"
    alike = [rows[0], replace(rows[1], phash=nearly)]
    same_person = [replace(rows[0], identity="ann"), replace(rows[1], identity="bob; ann")]
    kinds = (("group", same_group), ("exact", same_bytes), ("near", alike), ("identity", same_person))
    for kind, pair in kinds:
        leaks = find_leaks(in_splits(pair, ["train", "test"]))
        assert leaks.any
        assert leaks.to_json() == {"group": 0, "exact": 0, "near": 0, "identity": 0, kind: 1}
        assert leaks.describe() != "no leaks"
        assert [(row.kind, row.destination_path, row.split) for row in leaks.rows] == [
            (kind, row.destination_path, split) for row, split in zip(pair, ["train", "test"], strict=True)
        ]
        assert leaks.rows_to_json()["leaking_rows_not_listed"] == 0
        assert not find_leaks(in_splits(pair, ["train", "train"])).any
        failed = in_splits([pair[0], replace(pair[1], status="surplus")], ["train", "test"])
        assert not find_leaks(failed).any


def test_offending_rows_stand_side_by_side_and_are_bounded(monkeypatch):
    rows = [make_row(SOURCES[i % 5], i, group=f"g{i % 2}") for i in range(40)]
    rows = in_splits(rows, ["train"] * 30 + ["val"] * 5 + ["test"] * 5)
    leaks = find_leaks(rows)
    assert len(leaks.rows) == leaks.n_rows == 40
    assert {row.destination_path for row in leaks.rows} == {row.destination_path for row in rows}
    assert [row.shared for row in leaks.rows] == ["g0"] * 20 + ["g1"] * 20
    assert {row.split for row in leaks.rows[:3]} == set(SPLITS)
    monkeypatch.setattr("faceauth.splits.leaks.MAX_LISTED_ROWS", 7)
    cut = find_leaks(rows)
    assert cut.rows == leaks.rows[:7]
    assert cut.rows_to_json()["leaking_rows_not_listed"] == 33
    assert len(cut.rows_to_json()["leaking_rows"]) == 7


def test_a_table_without_groups_leaks_by_the_paths_that_sources_share():
    photo = replace(make_row((1, "wiki"), 1, sha256=""), image_path="../wiki/27/1.jpg", split="train")
    fake = replace(make_row((0, "insight"), 2, sha256=""), image_path="../insight/27/1.png", split="test")
    leaks = find_leaks([photo, fake])
    assert leaks.group == ["27/1"]
    assert not find_leaks([photo, replace(fake, image_path="../insight/28/1.png")]).any
    assert not find_leaks([replace(photo, image_path=""), replace(fake, image_path="")]).any
    manifest = Manifest([photo, fake], Path(), Path("a.xlsx"), "")
    with pytest.raises(ManifestError, match="27/1") as caught:
        refuse_leaks(manifest)
    for row in (photo, fake):
        assert f"{row.destination_path} ({row.split})" in caught.value.message
    assert "faceauth audit a.xlsx" in caught.value.hint

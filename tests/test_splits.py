import itertools
import logging
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceauth.errors import InputError, ManifestError, UsageError
from faceauth.intake.manifest import Manifest, ManifestRow
from faceauth.intake.sources.address import Address
from faceauth.intake.sources.source_file import SourceFile
from faceauth.labels import ID2LABEL, SPLITS
from faceauth.splits.assign import (
    assign_splits,
    describe_splits,
    official_splits,
    parse_ratios,
    refuse_without_official,
)
from faceauth.splits.balance import BALANCE_RULES, choose_balanced, spread_evenly
from faceauth.splits.duplicates import find_alike_rows
from faceauth.splits.groups import group_rows
from faceauth.splits.leaks import find_leaks, refuse_leaks
from faceauth.splits.near import MAX_BITS_APART

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


def shares_of(rows, splits):
    """{(target, folder): [share of train, of val, of test]}."""
    sizes = Counter((row.target, row.folder) for row in rows)
    found = Counter((row.target, row.folder, split) for row, split in zip(rows, splits, strict=True))
    return {source: [found[*source, split] / n for split in SPLITS] for source, n in sizes.items()}


def largest_miss(rows, splits, ratios):
    """The largest deviation of any source from the shares that were wanted."""
    shares = shares_of(rows, splits).values()
    return max(abs(got - wanted) for own in shares for got, wanted in zip(own, ratios, strict=True))


@st.composite
def few_groups(draw):
    """Up to 11 groups, each with any number of rows of up to three sources."""
    n_sources = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.tuples(*[st.integers(0, 25)] * n_sources), min_size=1, max_size=11))
    numbers = itertools.count()
    return [
        make_row(SOURCES[2 * source], next(numbers), group=f"g{group}")
        for group, own in enumerate(sizes)
        for source, n in enumerate(own)
        for _ in range(n)
    ]


@settings(max_examples=30)
@given(
    few_groups().filter(bool),
    st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.5, 0.0, 0.5)]),
    st.integers(0, 3),
)
def test_shares_are_met_whenever_any_way_to_split_meets_them(rows, ratios, seed):
    groups = sorted({row.group for row in rows})
    sources = sorted({(row.target, row.folder) for row in rows})
    found = Counter((row.group, row.target, row.folder) for row in rows)
    counts = np.array([[found[group, *source] for source in sources] for group in groups])
    used = [i for i, ratio in enumerate(ratios) if ratio]
    shape = (len(used),) * len(groups)
    ways = np.array(used)[np.stack(np.unravel_index(np.arange(len(used) ** len(groups)), shape), axis=1)]
    best = np.zeros(len(ways))
    for split in used:
        got = (ways == split).astype(float) @ (counts / counts.sum(axis=0))
        best = np.maximum(best, np.abs(got - ratios[split]).max(axis=1))
    splits = assign_splits(rows, ratios=ratios, seed=seed)
    if best.min() <= 0.02:
        assert largest_miss(rows, splits, ratios) <= 0.02 + 1e-9
    shares = describe_splits(rows, splits, ratios=ratios)
    assert bool(shares.missed) == (largest_miss(rows, splits, ratios) > 0.02 + 1e-9)


def hard_case(name):
    """Rows whose groups make it hard to keep shares."""
    rng = np.random.default_rng(7)
    if name == "skewed sizes":
        groups = np.minimum(rng.zipf(1.6, 5_000), 300)
        found = [(SOURCES[i % 5], f"p{group}") for i, group in enumerate(groups)]
    elif name == "videos that span five sources":
        found = [
            (source, f"v{g}") for g in range(120) for source in SOURCES for _ in range(rng.integers(5, 30))
        ]
    elif name == "one giant group":
        found = [(SOURCES[i % 5], "giant" if i < 2_000 else f"g{i}") for i in range(4_000)]
    elif name == "thirty groups":
        found = [(SOURCES[i % 5], f"g{rng.integers(30)}") for i in range(3_000)]
    else:
        found = [((i % 2, f"s{i % 300}"), f"g{rng.integers(4_000)}") for i in range(30_000)]
    return [make_row(source, i, group=group) for i, (source, group) in enumerate(found)]


@pytest.mark.parametrize(
    "name",
    ["skewed sizes", "videos that span five sources", "one giant group", "thirty groups", "300 sources"],
)
@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.1), (0.6, 0.2, 0.2)])
def test_hard_cases_keep_all_shares_to_within_two_points(name, ratios):
    rows = hard_case(name)
    splits = assign_splits(rows, ratios=ratios, seed=0)
    assert largest_miss(rows, splits, ratios) <= 0.02 + 1e-9
    assert describe_splits(rows, splits, ratios=ratios).missed == []
    assert len({(row.group, split) for row, split in zip(rows, splits, strict=True)}) == len(
        {row.group for row in rows}
    )


def test_classes_keep_their_shares_where_small_sources_cannot():
    sources = [(target, f"s{i}") for i in range(40) for target in (0, 1)]
    rows = [make_row(source, i, group=f"g{i}") for i, source in enumerate(sources * 3)]
    splits = assign_splits(rows, ratios=(0.8, 0.1, 0.1), seed=0)
    for target in (0, 1):
        found = Counter(split for row, split in zip(rows, splits, strict=True) if row.target == target)
        assert [found[split] / 120 for split in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_three_groups_of_both_classes_fill_three_splits():
    rows = [make_row(SOURCES[i % 5], i, group=f"g{i % 3}") for i in range(300)]
    assert set(assign_splits(rows, ratios=(0.8, 0.1, 0.1), seed=0)) == set(SPLITS)


def test_another_image_leaves_nearly_all_others_where_they_were():
    rng = np.random.default_rng(0)
    rows = [make_row(SOURCES[i % 5], i, group=f"p{rng.integers(700)}") for i in range(4_000)]
    before = assign_splits(rows, ratios=(0.8, 0.1, 0.1), seed=0)
    for group in ("new", rows[0].group):
        more = [*rows, make_row(SOURCES[0], 9_999, group=group)]
        after = assign_splits(more, ratios=(0.8, 0.1, 0.1), seed=0)
        assert np.mean([a != b for a, b in zip(before, after[:-1], strict=True)]) < 0.05


def test_missed_shares_are_named_with_the_reason(caplog):
    rows = [make_row((1, "wiki"), i, group=f"w{i}") for i in range(200)]
    rows += [make_row((0, "swap"), 1_000 + i, group="swaps" if i < 60 else f"s{i}") for i in range(100)]
    rows += [make_row((0, "tiny"), 2_000 + i, group=f"t{i}") for i in range(4)]
    splits = assign_splits(rows, ratios=(0.2, 0.4, 0.4), seed=0)
    with caplog.at_level(logging.WARNING, logger="faceauth"):
        document = describe_splits(rows, splits, ratios=(0.2, 0.4, 0.4)).to_json()
    assert document["wanted"] == {"train": 0.2, "val": 0.4, "test": 0.4}
    assert document["by_source"].keys() == {"wiki", "swap", "tiny"}
    assert document["by_source"]["wiki"] == {
        "target_class": "real", "n_rows": 200, "n_groups": 200, "train": 0.2, "val": 0.4, "test": 0.4
    }  # fmt: skip
    reasons = {share["source"]: share["reason"] for share in document["missed"]}
    assert reasons == {
        "swap": "its largest group has 60 of 100 rows",
        "tiny": "4 rows cannot be divided that finely",
    }
    for share in document["missed"]:
        assert share["got"] == document["by_source"][share["source"]][share["split"]]
        assert abs(share["got"] - share["wanted"]) > 0.02
    assert "2 of 3 sources miss a share by more than 2 points, such as fake" in caplog.text


def with_official(rows, splits):
    return [replace(make_file(row), split=split) for row, split in zip(rows, splits, strict=True)]


def test_official_splits_are_taken_as_they_are():
    assert parse_ratios("official") == parse_ratios(" Official ") == "official"
    rows = [make_row(SOURCES[i % 5], i, group=f"g{i}") for i in range(6)]
    names = ["train", "val", "test", "train", "val", "test"]
    files = with_official(rows, names)
    refuse_without_official(files)
    assert official_splits(rows, files) == names
    shares = describe_splits(rows, names, ratios="official").to_json()
    assert shares["wanted"] == "official"
    assert shares["missed"] == []
    assert shares["by_source"]["wiki"]["train"] == 0.5


def test_official_splits_are_refused_where_a_file_has_none_or_a_group_is_cut():
    rows = [make_row(SOURCES[i % 5], i, group=f"g{i // 2}") for i in range(6)]
    with pytest.raises(UsageError, match=r"2 of 6 files have no official split, such as /wiki/0\.png"):
        refuse_without_official(with_official(rows, ["", "val", "test", "train", "val", ""]))
    files = with_official(rows, ["train", "train", "val", "test", "test", "train"])
    with pytest.raises(
        InputError, match=r"2 of 3 groups, such as g1 \(val and test\), g2 \(train and test\)"
    ):
        official_splits(rows, files)


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
    return group_rows(files, rows, alike=find_alike_rows(rows))


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
    names, _ = group_rows(
        [make_file(row, key=f"k{i}") for i, row in enumerate(rows)], rows, alike=find_alike_rows(rows)
    )
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
    names, ties = group_rows(files, rows, alike=find_alike_rows(rows))
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
    names, ties = group_rows(files, rows, alike=find_alike_rows(rows))
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


def test_leaking_look_alikes_are_counted_in_full_and_listed_in_part(monkeypatch):
    monkeypatch.setattr("faceauth.splits.leaks.MAX_LISTED_ROWS", 10)
    rows = [make_row(SOURCES[i % 5], i, group=f"g{i}", phash="0f" * 32) for i in range(400)]
    leaks = find_leaks(in_splits(rows, ["train"] * 200 + ["val"] * 150 + ["test"] * 50))
    n_pairs = 200 * 150 + 200 * 50 + 150 * 50
    assert leaks.to_json()["near"] == n_pairs
    assert leaks.n_rows == 2 * n_pairs
    assert len(leaks.near) == len(leaks.rows) == 10
    assert leaks.near[0] == (rows[0].destination_path, rows[200].destination_path)
    assert f"{n_pairs} pairs of look-alikes" in leaks.describe()


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

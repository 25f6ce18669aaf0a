"""Comparing two detectors: pairing, size and power of the test, Holm's correction, and the verb."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceauth.errors import InputError
from faceauth.scoring.scores import Scores, write_scores
from faceauth.studies.comparison import compare_aurocs, compare_decisions, compare_scores, correct_by_holm
from faceauth.studies.comparison_figure import draw_comparison
from faceauth.studies.pairing import pair_scores


def texts(values):
    return np.array(list(values), dtype=object)


def make_pair(*, n=60, gain=0.0, noise=1.0, seed=0, faces_a_group=1):
    """Scores of two detectors that share half of their luck; the first is better by `gain` logits.

    Real faces of one collection and fakes of three generators, n each.
    """
    rng = np.random.default_rng(seed)
    target = np.repeat([1, 0, 0, 0], n)
    shared = rng.normal(size=4 * n)
    of_group = np.repeat(rng.normal(size=4 * n // faces_a_group), faces_a_group)
    columns = {
        "destination_path": texts(f"test/{i}.png" for i in range(4 * n)),
        "folder": np.repeat(texts(["camera", "gan", "swap", "diffusion"]), n),
        "split": texts(["test"] * 4 * n),
        "target": target,
        "group": texts(f"g{i // faces_a_group}" for i in range(4 * n)),
    }
    tables = []
    for better in (gain, 0.0):
        # What one detector sees in a group of faces it sees in all of them.
        own = np.repeat(rng.normal(size=4 * n // faces_a_group), faces_a_group)
        own = own if faces_a_group > 1 else rng.normal(size=4 * n)
        logits = shared + of_group + noise * own + (1.5 + better) * (target == 0)
        tables.append(Scores(p_fake=1 / (1 + np.exp(-logits)), **columns))
    return tables


def shuffled(scores, seed=1):
    return scores.where(np.random.default_rng(seed).permutation(len(scores)))


@pytest.mark.parametrize("faces_a_group", [1, 4])
def test_equal_detectors_are_called_different_in_five_percent(faces_a_group):
    called = {"auroc": [], "balanced_accuracy": []}
    for seed in range(400):
        first, second = make_pair(n=40, seed=seed, faces_a_group=faces_a_group)
        of_both = (first.target, first.p_fake, second.p_fake, first.group)
        called["auroc"].append(compare_aurocs(*of_both).p_value < 0.05)
        if seed % 3 == 0:
            decided = compare_decisions(*of_both, thresholds=(0.6, 0.6), draws=200, seed=seed)
            called["balanced_accuracy"].append(decided["balanced_accuracy"].p_value < 0.05)
    # Four standard errors around 5 % of 400, and of 134.
    assert 0.006 <= np.mean(called["auroc"]) <= 0.094
    assert np.mean(called["balanced_accuracy"]) <= 0.126


def test_a_real_difference_is_found():
    found = {"auroc": 0, "balanced_accuracy": 0}
    for seed in range(40):
        first, second = make_pair(n=100, gain=0.6, noise=0.5, seed=seed)
        of_both = (first.target, first.p_fake, second.p_fake, first.group)
        compared = compare_aurocs(*of_both)
        found["auroc"] += compared.p_value < 0.05 and compared.difference.value > 0
        # Each at the threshold that suits it.
        decided = compare_decisions(*of_both, thresholds=(0.74, 0.68), draws=200)["balanced_accuracy"]
        found["balanced_accuracy"] += decided.p_value < 0.05 and decided.difference.value > 0
    assert found["auroc"] >= 36
    assert found["balanced_accuracy"] >= 28


def test_pairing_sees_more_than_the_two_intervals_beside_each_other():
    first, second = make_pair(n=100, gain=0.4, noise=0.3)
    compared = compare_aurocs(first.target, first.p_fake, second.p_fake, first.group)
    assert compared.first.ci95[0] < compared.second.ci95[1]
    assert compared.difference.ci95[0] > 0


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.3, 0.7)])
def test_a_difference_is_the_first_minus_the_second(thresholds):
    first, second = make_pair(gain=0.5)
    forward = compare_scores(first, second, thresholds=thresholds, draws=50)
    backward = compare_scores(second, first, thresholds=thresholds[::-1], draws=50)
    for name, compared in forward["overall"].items():
        value = compared["first"]["value"] - compared["second"]["value"]
        assert compared["difference"]["value"] == pytest.approx(value), name
        turned = backward["overall"][name]
        assert turned["difference"]["value"] == pytest.approx(-value), name
        assert turned["p_value"] == pytest.approx(compared["p_value"]), name
        low, high = compared["difference"]["ci95"]
        assert turned["difference"]["ci95"] == pytest.approx([-high, -low]), name
        assert low < value < high, name
        # The interval and the p-value are of one test.
        assert (compared["p_value"] < 0.05) == (low > 0 or high < 0), name


def test_rows_are_found_by_their_path_in_any_order():
    first, second = make_pair()
    plain = compare_scores(first, second, thresholds=(0.5, 0.5), draws=50)
    mixed = compare_scores(first, shuffled(second), thresholds=(0.5, 0.5), draws=50)
    assert mixed == plain


def test_each_generator_is_compared_against_all_reals_and_corrected_for_their_number():
    first, second = make_pair(gain=0.4)
    document = compare_scores(first, second)
    assert list(document["by_folder"]) == ["diffusion", "gan", "swap"]
    rows = (first.folder == "gan") | (first.target == 1)
    alone = compare_aurocs(
        first.target[rows], first.p_fake[rows], second.p_fake[rows], first.group[rows]
    ).to_json()
    entries = [entry["auroc"] for entry in document["by_folder"].values()]
    assert {key: entries[1][key] for key in alone} == alone
    assert (alone["difference"]["n_real"], alone["difference"]["n_fake"]) == (60, 60)
    corrected = correct_by_holm([entry["p_value"] for entry in entries])
    assert [entry["p_holm"] for entry in entries] == corrected
    assert any(entry["p_holm"] > entry["p_value"] for entry in entries)


def test_holms_correction_by_hand():
    # Holm 1979: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.04 * 1 (nor this one).
    assert correct_by_holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert correct_by_holm([0.5, 0.9]) == [1.0, 1.0]
    assert correct_by_holm([0.02, None, 0.04]) == pytest.approx([0.04, None, 0.04])
    assert correct_by_holm([]) == []


@given(st.lists(st.none() | st.floats(0, 1), max_size=12))
def test_holms_correction_keeps_the_order_and_is_between_none_and_bonferronis(p_values):
    corrected = correct_by_holm(p_values)
    pairs = [(p, c) for p, c in zip(p_values, corrected, strict=True) if p is not None]
    assert [c is None for c in corrected] == [p is None for p in p_values]
    assert all(p <= c <= min(1.0, p * len(pairs)) for p, c in pairs)
    assert [c for _, c in sorted(pairs)] == sorted(c for _, c in pairs)


def test_detectors_that_treat_all_faces_alike_have_no_p_value():
    first, _ = make_pair()
    document = compare_scores(first, first, thresholds=(0.5, 0.5), draws=50)
    for compared in document["overall"].values():
        assert compared["difference"]["value"] == 0
        assert compared["difference"]["ci95"] is None
        assert compared["p_value"] is None
        assert "alike" in compared["difference"]["reason"]
    assert {entry["auroc"]["p_holm"] for entry in document["by_folder"].values()} == {None}


def test_without_thresholds_there_are_aurocs_and_a_reason():
    overall = compare_scores(*make_pair(), thresholds=(0.5, None))["overall"]
    assert overall["auroc"]["p_value"] is not None
    assert overall["recall_fake"]["difference"]["value"] is None
    assert "metrics.json" in overall["recall_fake"]["difference"]["reason"]
    assert overall["recall_fake"]["first"]["value"] is not None


def changed(scores, **columns):
    return Scores(**({name: getattr(scores, name) for name in scores.__dataclass_fields__} | columns))


def test_tables_of_other_faces_are_refused():
    first, second = make_pair(n=4)
    other_path = second.destination_path.copy()
    other_path[2] = "test/new.png"
    twice = second.destination_path.copy()
    twice[3] = twice[2]
    nameless = second.destination_path.copy()
    nameless[1] = ""
    for broken, words in (
        (second.where(np.arange(16) != 5), "not in the second table, such as test/5.png"),
        (changed(second, destination_path=other_path), "test/2.png"),
        (changed(second, destination_path=twice), "test/2.png stands twice in the second"),
        (changed(second, destination_path=nameless), "Row 1 of the second table has no destination_path"),
        (
            changed(second, target=1 - second.target),
            "target of test/0.png: '1' in the first, '0' in the second",
        ),
        (changed(second, folder=texts(["x"] * 16)), "folder of test/0.png"),
        (changed(second, group=texts(["x"] * 16)), "group of test/0.png"),
    ):
        with pytest.raises(InputError, match=words):
            pair_scores(first, broken)
    with pytest.raises(InputError, match=r"not in the first table, such as test/0\.png"):
        pair_scores(first.where(np.arange(16) > 0), second)


def test_groups_that_only_the_second_table_knows_are_respected():
    first, second = make_pair(faces_a_group=4)
    both, _ = pair_scores(changed(first, group=None), shuffled(second))
    assert both.group.tolist() == first.group.tolist()


def test_the_figure_has_a_row_for_each_generator_and_marks_what_is_clear():
    document = compare_scores(*make_pair(n=100, gain=1.0, noise=0.3))
    figure = draw_comparison(document)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "all fakes"
    assert sorted(labels[1:]) == sorted(document["by_folder"])
    written = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "p < 0.001" in written
    assert f"{document['overall']['auroc']['difference']['value']:+.3f}" in written


def test_the_verb_writes_the_contract(tmp_path, run_cli):
    first, second = make_pair(gain=0.5)
    for name, scores in (("deit", first), ("=dense$net", shuffled(second))):
        write_scores(scores, tmp_path / name / "scores.csv")
        (tmp_path / name / "metrics.json").write_text(json.dumps({"threshold": {"value": 0.625}}))
    output = tmp_path / "compared"
    done = run_cli(
        "compare", tmp_path / "deit", tmp_path / "=dense$net" / "scores.csv", "--output", output, "--json"
    )
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((output / "compare.json").read_text())
    assert {path.name for path in output.iterdir()} == {
        f"compare.{kind}" for kind in ("json", "csv", "png", "svg")
    }
    assert document["second"] == {
        "scores": str(tmp_path / "=dense$net" / "scores.csv"),
        "threshold": 0.625,
    }
    assert set(document["overall"]) == {"auroc", "balanced_accuracy", "recall_fake", "recall_real"}
    for part in (document["overall"], *document["by_folder"].values()):
        for compared in part.values():
            for side in ("first", "second", "difference"):
                assert set(compared[side]) == {"value", "ci95", "n_real", "n_fake", "reason"}
    with (output / "compare.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["on"], row["metric"]) for row in rows] == [
        *(("overall", name) for name in document["overall"]),
        *((folder, "auroc") for folder in document["by_folder"]),
    ]
    assert float(rows[0]["difference"]) == document["overall"]["auroc"]["difference"]["value"]
    table = run_cli("compare", tmp_path / "deit", tmp_path / "=dense$net", "--output", output)
    assert table.exit_code == 0
    assert "first minus second" in table.stdout
    assert f"{document['overall']['auroc']['difference']['value']:+.3f}" in table.stdout


def test_the_verb_says_what_is_missing(tmp_path, run_cli):
    first, second = make_pair(n=4)
    write_scores(first, tmp_path / "a.csv")
    write_scores(second.where(second.folder != "gan"), tmp_path / "b.csv")
    (tmp_path / "empty").mkdir()
    for words, says in (
        (["compare", tmp_path / "empty", tmp_path / "a.csv"], "holds no scores"),
        (["compare", tmp_path / "a.csv", tmp_path / "b.csv"], "not in the second table"),
        (
            ["compare", tmp_path / "a.csv", tmp_path / "a.csv", "--split", "val"],
            "No score is of the split 'val'",
        ),
    ):
        done = run_cli(*words, "--output", tmp_path / "out")
        assert done.exit_code == 1
        assert says in done.stderr
    assert not (tmp_path / "out").exists()

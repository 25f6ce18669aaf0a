import csv
import json
import logging

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceauth.decisions.thresholds import Threshold, choose_threshold
from faceauth.errors import InputError
from faceauth.evaluation.document import evaluate_scores
from faceauth.evaluation.document_files import write_evaluation
from faceauth.evaluation.document_text import describe_evaluation, format_table, format_value
from faceauth.evaluation.figures import draw_evaluation_figures
from faceauth.scoring.by_folder import iterate_folders
from faceauth.scoring.intervals import Rate
from faceauth.scoring.metrics import METRICS, compute_metric
from faceauth.scoring.score_tables import read_scores
from faceauth.scoring.scores import Scores, write_scores
from faceauth.shortcuts.shortcuts import Shortcuts

HALF = Threshold(0.5, "half", "fixed", 0, 0)
RATE_KEYS = {"value", "ci95", "n_real", "n_fake", "reason"}


def texts(values):
    return np.array(list(values), dtype=object)


def make_scores(n=30, *, split="test", group=False, seed=0):
    """Two generators, one easy and one hard, and two real collections."""
    rng = np.random.default_rng(seed)
    folders = ["easy", "hard", "wiki", "=ffhq"]
    shift = {"easy": 0.6, "hard": 0.2, "wiki": 0.0, "=ffhq": 0.0}
    folder = np.repeat(folders, n)
    p_fake = np.clip(rng.uniform(0, 0.5, 4 * n) + [shift[name] for name in folder], 0, 1)
    return Scores(
        destination_path=texts(f"{split}/{i}.png" for i in range(4 * n)),
        folder=texts(folder),
        split=texts([split] * (4 * n)),
        target=np.repeat([0, 0, 1, 1], n),
        p_fake=p_fake,
        group=texts(f"g{i // 3}" for i in range(4 * n)) if group else None,
    )


def assert_same(left, right):
    for name in ("destination_path", "folder", "split", "target", "p_fake"):
        assert getattr(left, name).tolist() == getattr(right, name).tolist(), name
    assert (left.group is None) == (right.group is None)
    if left.group is not None:
        assert left.group.tolist() == right.group.tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("group", [True, False])
def test_a_scores_table_comes_back_as_it_was_written(tmp_path, suffix, group):
    scores = make_scores(group=group)
    path = tmp_path / "new" / f"scores{suffix}"
    write_scores(scores, path)
    assert_same(read_scores(path), scores)
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs",))), st.floats(0, 1), st.sampled_from([0, 1])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_path_and_no_digit_is_lost_in_a_csv(tmp_path_factory, rows):
    paths, p_fake, target = zip(*rows, strict=True)
    n = len(rows)
    scores = Scores(
        texts(paths), texts(paths), texts(["test"] * n), np.array(target), np.array(p_fake, dtype=float)
    )
    path = tmp_path_factory.mktemp("any") / "scores.csv"
    write_scores(scores, path)
    assert_same(read_scores(path), scores)


def test_a_path_that_looks_like_a_formula_stays_as_it_is(tmp_path):
    names = ["=1+1.png", "+x.png", "-y.png", "@z.png"]
    scores = Scores(
        texts(names), texts(["a"] * 4), texts(["test"] * 4), np.array([0, 1, 0, 1]), np.full(4, 0.5)
    )
    write_scores(scores, tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as stream:
        assert [row["destination_path"] for row in csv.DictReader(stream)] == names


@pytest.mark.parametrize(
    "text",
    [
        "p_fake,target\n0.9,0\n0.1,1\n",
        "\ufeffp_fake;target_class\r\n0.9;Fake\r\n0.1;real\r\n",
        "target\tp_fake\textra\n0.0\t9e-1\tx\n1\t0.1\ty\n",
        "p_fake,target,target_class\n0.9,0,fake\n0.1,1,real\n",
    ],
)
def test_tables_of_other_tools_are_read(tmp_path, text):
    path = tmp_path / "theirs.csv"
    path.write_text(text, "utf-8")
    scores = read_scores(path)
    assert scores.p_fake.tolist() == [0.9, 0.1]
    assert scores.target.tolist() == [0, 1]
    assert scores.folder.tolist() == ["fake", "real"]
    assert scores.split.tolist() == ["test", "test"]
    assert scores.group is None


def test_a_parquet_of_other_types_is_read(tmp_path):
    path = tmp_path / "theirs.parquet"
    table = {
        "p_fake": pa.array([0.5, 0.25], pa.float32()),
        "target": pa.array([0.0, 1.0]),
        "folder": ["gan", None],
    }
    pq.write_table(pa.table(table), path)
    scores = read_scores(path)
    assert scores.p_fake.tolist() == [0.5, 0.25]
    assert scores.target.tolist() == [0, 1]
    assert scores.folder.tolist() == ["gan", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p_fakes,target\n0.9,0\n", ["'p_fake'", "'p_fakes'"]),
        ("p_fake,targt\n0.9,0\n", ["'target'", "'targt'"]),
        ("p_fake,target\n0.9,0\n1.2,1\n", ["row 3", "1.2"]),
        ("p_fake,target\nnan,0\n", ["row 2", "nan"]),
        ("p_fake,target\n,0\n", ["row 2"]),
        ('p_fake,target\n"0,9",0\n', ["row 2", "0,9"]),
        ("p_fake,target\n0.9,0\n0.1,2\n", ["row 3", "'2'"]),
        ("p_fake,target_class\n0.9,forged\n", ["row 2", "forged"]),
        ("p_fake,target,target_class\n0.9,0,fake\n0.1,0,real\n", ["Row 3", "target_class"]),
        ("p_fake,target,folder\n0.9,0\n", ["Row 2", "2 cells"]),
        ("p_fake,target,target\n0.9,0,0\n", ["two columns 'target'"]),
        ("", ["empty"]),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_name_and_row(tmp_path, text, words):
    path = tmp_path / "broken.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_scores(path)
    for word in words:
        assert word in str(caught.value)


def test_a_parquet_names_its_row_and_column(tmp_path):
    path = tmp_path / "broken.parquet"
    pq.write_table(pa.table({"p_fake": [0.5, None], "target": [0, 1]}), path)
    with pytest.raises(InputError, match="row 2"):
        read_scores(path)
    pq.write_table(pa.table({"P_fake": [0.5], "target": [0]}), path)
    with pytest.raises(InputError, match="P_fake"):
        read_scores(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.csv", None),
        ("scores.txt", b"p_fake,target\n"),
        ("a.csv", b"\xff\xfe\x00p"),
        ("a.parquet", b"PAR0"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_scores(tmp_path / name)


def test_splits_of_the_original_report_are_renamed_with_a_line_in_the_log(tmp_path, caplog):
    path = tmp_path / "old.csv"
    path.write_text("p_fake,target,split\n0.9,0,train\n0.1,1,test\n0.2,1,dev\n", "utf-8")
    with caplog.at_level(logging.INFO):
        assert read_scores(path).split.tolist() == ["train", "val", "test"]
    assert "original report" in caplog.text


def test_a_record_of_scores_refuses_what_is_no_probability():
    good = make_scores(2)
    with pytest.raises(InputError, match="nan"):
        Scores(good.destination_path, good.folder, good.split, good.target, np.full(8, np.nan))
    with pytest.raises(InputError, match="length"):
        Scores(good.destination_path, good.folder, good.split, good.target, good.p_fake[:3])
    with pytest.raises(InputError, match="target"):
        Scores(good.destination_path, good.folder, good.split, good.target + 1, good.p_fake)


def assert_rate(rate):
    assert set(rate) == RATE_KEYS
    assert rate["value"] is not None or rate["reason"]
    assert rate["ci95"] is None or rate["ci95"][0] <= rate["value"] <= rate["ci95"][1]


def test_metrics_json_has_the_agreed_shape(tmp_path):
    scores = make_scores(group=True)
    shortcuts = Shortcuts(Rate(0.6, (0.5, 0.7), 60, 60), {}, [])
    reads = [{"when": "now", "who": "me"}] * 2
    document = evaluate_scores(
        scores, threshold=HALF, split="test", model="deit", draws=50, test_reads=reads, shortcuts=shortcuts
    )
    write_evaluation(document, scores, tmp_path)
    read = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    agreed = {"split", "model", "threshold", "overall", "by_folder", "shortcut_auroc", "test_reads"}
    assert agreed <= set(read)
    assert (read["split"], read["model"], read["test_reads"]) == ("test", "deit", 2)
    assert read["threshold"] == HALF.to_json()
    assert read["shortcut_auroc"] == shortcuts.overall.to_json()
    assert read["test_read_log"] == reads
    assert list(read["by_folder"]) == ["easy", "hard", "=ffhq", "wiki"]
    for rates in (read["overall"], *read["by_folder"].values()):
        assert list(rates) == METRICS.names()
        for rate in rates.values():
            assert_rate(rate)
    assert_same(read_scores(tmp_path / "scores.csv"), scores)


def test_frames_of_a_video_are_one_piece_of_evidence_and_videos_are_measured(tmp_path):
    n_frames = 5
    one = make_scores(30)
    frames = {
        name: np.repeat(getattr(one, name), n_frames)
        for name in ("destination_path", "folder", "split", "target")
    }
    p_fake = np.clip(np.repeat(one.p_fake, n_frames) + np.tile([-0.1, 0, 0, 0, 0.1], len(one)), 0, 1)
    scores = Scores(**frames, p_fake=p_fake, video=frames["destination_path"])
    document = evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=200)
    alone = evaluate_scores(
        Scores(**frames, p_fake=p_fake), threshold=HALF, split="test", model="m", draws=200
    )

    def width(rate):
        return rate["ci95"][1] - rate["ci95"][0]

    assert width(document["overall"]["auroc"]) > 1.5 * width(alone["overall"]["auroc"])
    assert set(document["pooled"]) == {"mean", "max", "top3"}
    assert document["pooled"]["mean"]["overall"]["auroc"]["n_fake"] == 60
    assert alone["pooled"] == {}


def test_each_degradation_is_measured_on_its_own_pictures(tmp_path):
    scores = make_scores(30)
    done = texts(["", "jpeg_30"] * (len(scores) // 2))
    path = tmp_path / "scores.csv"
    columns = {name: getattr(scores, name) for name in ("folder", "split", "target", "p_fake")}
    write_scores(Scores(scores.destination_path, **columns, degradation=done), path)
    document = evaluate_scores(read_scores(path), threshold=HALF, split="test", model="m", draws=50)
    assert set(document["by_degradation"]) == {"clean", "jpeg_30"}
    keep = done == "jpeg_30"
    measured = document["by_degradation"]["jpeg_30"]["auroc"]
    assert measured["value"] == compute_metric("auroc", scores.target[keep], scores.p_fake[keep])[0]
    assert (measured["n_real"], measured["n_fake"]) == (30, 30)


def test_each_generator_meets_each_collection(tmp_path):
    scores = make_scores(20)
    document = evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=50)
    pairs = {(pair["generator"], pair["collection"]): pair["auroc"] for pair in document["pairs"]}
    assert set(pairs) == {(fake, real) for fake in ("easy", "hard") for real in ("wiki", "=ffhq")}
    keep = np.isin(scores.folder, ["hard", "wiki"])
    value = compute_metric("auroc", scores.target[keep], scores.p_fake[keep])[0]
    assert pairs["hard", "wiki"]["value"] == value
    assert (pairs["hard", "wiki"]["n_real"], pairs["hard", "wiki"]["n_fake"]) == (20, 20)


def test_a_generator_meets_all_reals_and_a_collection_all_fakes():
    scores = make_scores(20)
    document = evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=50)
    by_folder = document["by_folder"]
    assert (by_folder["easy"]["auroc"]["n_real"], by_folder["easy"]["auroc"]["n_fake"]) == (40, 20)
    assert (by_folder["wiki"]["auroc"]["n_real"], by_folder["wiki"]["auroc"]["n_fake"]) == (20, 40)
    kept = (scores.folder == "hard") | (scores.target == 1)
    expected = compute_metric("auroc", scores.target[kept], scores.p_fake[kept])[0]
    assert by_folder["hard"]["auroc"]["value"] == pytest.approx(expected)
    assert by_folder["hard"]["auroc"]["value"] < by_folder["easy"]["auroc"]["value"]


def test_a_folder_name_in_both_classes_is_kept_apart():
    scores = make_scores(5)
    shared = Scores(scores.destination_path, texts(["web"] * 20), scores.split, scores.target, scores.p_fake)
    folders = list(iterate_folders(shared))
    assert [folder.name for folder in folders] == ["web (fake)", "web (real)"]
    assert all(folder.keep.all() for folder in folders)


def test_only_the_rows_of_the_split_are_measured():
    test, val = make_scores(10, seed=0), make_scores(10, split="val", seed=1)
    columns = ("destination_path", "folder", "split", "target", "p_fake")
    joined = Scores(**{name: np.concatenate([getattr(test, name), getattr(val, name)]) for name in columns})
    document = evaluate_scores(joined, threshold=HALF, split="test", model="m", draws=50)
    assert document == evaluate_scores(test, threshold=HALF, split="test", model="m", draws=50)
    with pytest.raises(InputError, match="'val'"):
        evaluate_scores(joined, threshold=HALF, split="holdout", model="m")


def test_one_class_gives_reasons_and_no_number(tmp_path):
    scores = make_scores(10)
    fakes = scores.where(scores.target == 0)
    document = evaluate_scores(fakes, threshold=HALF, split="test", model="m", draws=50)
    assert document["overall"]["auroc"]["value"] is None
    assert document["overall"]["auroc"]["reason"] == "there are no real faces"
    assert document["overall"]["recall_fake"]["value"] is not None
    assert document["shortcut_auroc"]["reason"]
    write_evaluation(document, fakes, tmp_path)
    assert any("no real faces" in row.interval for row in format_table(document))
    stems = {path.stem for path in draw_evaluation_figures(document, fakes, tmp_path)}
    assert stems == {"scores", "scores_by_source", "confusion", "confusion_by_source"}


def test_scores_the_wrong_way_round_are_pointed_out(caplog):
    scores = make_scores(30)
    turned = Scores(scores.destination_path, scores.folder, scores.split, 1 - scores.target, scores.p_fake)
    with caplog.at_level(logging.WARNING):
        evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=50)
        assert not caplog.records
        evaluate_scores(turned, threshold=HALF, split="test", model="m", draws=50)
    assert "fakes below reals" in caplog.text


def test_the_workbook_holds_the_same_numbers_and_no_formula(tmp_path):
    scores = make_scores(10)
    document = evaluate_scores(scores, threshold=HALF, split="test", model="=cmd()\x07", draws=50)
    write_evaluation(document, scores, tmp_path)
    workbook = openpyxl.load_workbook(tmp_path / "metrics.xlsx")
    assert workbook.sheetnames[:2] == ["Overall", "By folder"]
    cells = [cell for sheet in workbook for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]
    assert {"=ffhq", "=cmd()\N{REPLACEMENT CHARACTER}"} <= {cell.value for cell in cells}
    overall = workbook["Overall"]
    rows = {row[0]: row for row in overall.iter_rows(min_row=2, values_only=True)}
    assert rows["auroc"][1:4] == pytest.approx(
        [document["overall"]["auroc"]["value"], *document["overall"]["auroc"]["ci95"]]
    )
    assert overall["B2"].number_format == "0.000"
    assert overall.freeze_panes == "A2"
    assert overall.auto_filter.ref == overall.dimensions


def test_the_table_shows_every_metric_and_every_folder():
    scores = make_scores(10)
    document = evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=50)
    table = format_table(document)
    assert [row.metric for row in table if row.folder == "overall"] == METRICS.names()
    assert {row.folder for row in table} == {"overall", "easy", "hard", "wiki", "=ffhq"}
    easy = next(row for row in table if (row.folder, row.metric) == ("easy", "auroc"))
    rate = document["by_folder"]["easy"]["auroc"]
    assert easy.value == format_value(rate["value"])
    assert easy.interval == " to ".join(map(format_value, rate["ci95"]))
    assert easy.faces == "20 real, 10 fake"


def test_the_ruler_and_the_readings_of_test_are_said_in_words():
    scores = make_scores(20)
    shortcuts = Shortcuts(Rate(0.93, (0.9, 0.95), 60, 60), {}, [])
    said = evaluate_scores(
        scores, threshold=HALF, split="test", model="m", draws=50, test_reads=[{}] * 3, shortcuts=shortcuts
    )
    ruler, reads = describe_evaluation(said)
    assert "0.93 (0.90 to 0.95)" in ruler
    assert "3 times" in reads
    silent = evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=50)
    assert describe_evaluation(silent) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1.000"), (0.9999, ">0.999"), (0.0, "0.000"), (1e-5, "<0.001"), (0.25, "0.250")],
)
def test_only_an_exact_end_of_the_scale_is_written_as_one(number, text):
    assert format_value(number) == text


def test_figures_are_drawn_whole_and_alike_each_time(tmp_path):
    scores = make_scores(20, group=True)
    threshold = choose_threshold(scores.target, scores.p_fake, rule="youden")
    document = evaluate_scores(scores, threshold=threshold, split="test", model="m", draws=50)
    first = draw_evaluation_figures(document, scores, tmp_path / "a")
    second = draw_evaluation_figures(document, scores, tmp_path / "b")
    by_source = {"scores_by_source", "confusion_by_source", "reliability_by_source"}
    stems = {"roc", "det", "scores", "confusion", "folders", "reliability"} | by_source
    assert {path.name for path in first} == {
        f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")
    }
    assert sorted(found.name for found in (tmp_path / "a").iterdir()) == sorted(path.name for path in first)
    for left, right in zip(first, second, strict=True):
        assert left.read_bytes() == right.read_bytes(), left.name
    assert (tmp_path / "a" / "roc.png").read_bytes().startswith(b"\x89PNG")

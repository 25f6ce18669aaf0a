"""The page and the workbook: what they show, what they leave out, and what data cannot do to them."""

import base64
import json
import logging
import re
from html.parser import HTMLParser

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from faceauth.errors import InputError
from faceauth.report import map as report_map
from faceauth.report.collect import collect
from faceauth.report.faces import thumbnail
from faceauth.report.figures import IntervalRow, interval_chart, training_curves
from faceauth.report.markup import number, script_json, table
from faceauth.report.tables import Rate, Table, as_rate, sources_table
from faceauth.report.verdict_box import verdict_box
from faceauth.report.whole_report import write_report
from faceauth.report.workbook import write_workbook

HOSTILE = "<script>alert('x')</script>"
FORMULA = '=HYPERLINK("http://x.example")'


def rate(value, *, margin=0.02, n_real=200, n_fake=300, reason=None):
    ci95 = None if value is None else [value - margin, min(1.0, value + margin)]
    return {"value": value, "ci95": ci95, "n_real": n_real, "n_fake": n_fake, "reason": reason}


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")


def metrics_document(**changes):
    document = {
        "split": "test",
        "model": "tiny",
        "threshold": {"value": 0.4, "rule": "youden", "chosen_on": "val"},
        "overall": {"auroc": rate(0.912), "accuracy": rate(0.85)},
        "by_folder": {
            "web": {
                "auroc": rate(None, n_fake=0, reason="only real faces"),
                "recall_real": rate(0.9, n_fake=0),
            },
            "gan": {"auroc": rate(0.95), "recall_fake": rate(0.88, n_real=0)},
            HOSTILE: {"auroc": rate(0.71), "recall_fake": rate(0.6, n_real=0)},
        },
        "shortcut_auroc": rate(0.634),
        "test_reads": 1,
    }
    return document | changes


def write_prepared(folder):
    by_folder = {
        name: {"target_class": kind, "status": {"ok": 10, "no_face": 2}, "split": {"train": 8, "test": 2}}
        for name, kind in (("web", "real"), ("gan", "fake"), (HOSTILE, "fake"))
    }
    failures = [{"image_path": FORMULA, "status": "unreadable", "reason": "+1+1"}]
    write(
        folder / "prepare.json",
        {
            "counts": {"by_status": {"ok": 30, "no_face": 6}, "by_folder": by_folder},
            "rates": {"images_per_s": 12.5},
            "seconds": {"crop": 3.25},
            "versions": {"torch": "2.6"},
            "settings": {"margin": 1.3, "splits": [0.8, 0.1, 0.1]},
            "failures": failures,
        },
    )
    write(
        folder / "audit.json",
        {
            "leaks": {"group": 0, "exact": 0, "near": 0},
            "shortcuts": {
                "overall": rate(0.634),
                "by_folder": {"gan": rate(0.58), HOSTILE: rate(0.97)},
                "features": [{"name": "n_bytes", "importance": 0.7}],
            },
        },
    )


def write_run(folder):
    epochs = [
        {
            "event": "epoch",
            "epoch": epoch,
            "updates": 10 * epoch,
            "train_loss": 1 / epoch,
            "val_loss": 1 / epoch + 0.1,
            "val_auroc": None if epoch == 1 else 0.9,
            "learning_rate": 0.001,
            "images_per_s": 30.0,
            "seconds": 2.0,
            "best": epoch <= 3,
        }
        for epoch in range(1, 5)
    ]
    write(folder / "metrics.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in epochs) + '{"event": "ep')
    write(folder / "checkpoint" / "faceauth.json", {"detector": "tiny_vit", "crop": {"margin": 1.3}})


def write_evaluation(folder, **changes):
    write(folder / "metrics.json", metrics_document(**changes))
    rows = [f"test/real/web/{i}.png,web,test,1,{i / 40:.3f}" for i in range(20)]
    rows += [f"test/fake/gan/{i}.png,gan,test,0,{1 - i / 30:.3f}" for i in range(20)]
    write(folder / "scores.csv", "destination_path,folder,split,target,p_fake\n" + "\n".join(rows) + "\n")
    write(
        folder / "figures" / "roc_curve.svg",
        '<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
    )


def write_clusters(folder, *, n=40):
    measure = {"value": 0.8, "ci95": [0.7, 0.9], "meaning": "How pure.", "reason": None}
    source = {
        "n": n // 2,
        "knn_purity": measure,
        "silhouette": measure,
        "spread": measure,
        "nearest_folder": "web",
    }
    write(
        folder / "clusters.json",
        {
            "n": n,
            "layer": "pooled",
            "measures": {"knn_purity": measure},
            "by_folder": {
                "web": source | {"target_class": "real"},
                HOSTILE: source | {"target_class": "fake"},
            },
            "projections": {"tsne": {"trustworthiness": measure}, "umap": {"trustworthiness": measure}},
        },
    )
    rng = np.random.default_rng(0)
    is_real = np.arange(n) % 2 == 0
    columns = {
        "destination_path": [f"test/{i}.png" for i in range(n)],
        "folder": np.where(is_real, "web", HOSTILE),
        "split": ["test"] * n,
        "target": pa.array(is_real.astype(np.int8)),
        "p_fake": pa.array(rng.uniform(size=n).astype(np.float32), mask=np.arange(n) == 0),
    }
    columns |= {
        f"{name}_{axis}": rng.normal(size=n).astype(np.float32) for name in ("tsne", "umap") for axis in "xy"
    }
    pq.write_table(pa.table(columns), folder / "projections.parquet")


@pytest.fixture
def everything(tmp_path):
    folder = tmp_path / "study"
    write_prepared(folder / "prepared")
    write_run(folder / "run")
    write_evaluation(folder / "evaluation")
    write_clusters(folder / "evaluation" / "clusters")
    return folder


def without_plotly(page):
    return page.replace(report_map.plotly_source(), "")


def page_of(*folders, output, **options):
    return without_plotly(write_report(list(folders), output, **options).read_text("utf-8"))


class Elements(HTMLParser):
    """Collects elements with their attributes, text outside scripts, and sections."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    @property
    def sections(self):
        return [attributes["id"] for tag, attributes in self.elements if tag == "section"]


# The page


def test_the_page_shows_every_part_that_was_found(everything, tmp_path):
    shown = Elements(page_of(everything, output=tmp_path / "report"))
    assert shown.sections == [
        "verdict",
        "data",
        "audit",
        "model",
        "training",
        "evaluation",
        "clusters",
        "limits",
    ]
    for words in (
        "0.912",
        "0.634",
        "tiny_vit",
        "the best on val was epoch 3",
        "36 images came in",
        "n_bytes",
    ):
        assert words in shown.text
    assert "Not found" not in shown.text


def test_a_section_appears_only_with_its_data_and_the_rest_is_named(tmp_path):
    write_evaluation(tmp_path / "evaluation")
    shown = Elements(page_of(tmp_path / "evaluation", output=tmp_path / "report"))
    assert shown.sections == ["verdict", "evaluation", "limits"]
    missing = shown.text[shown.text.index("Not found") :].split(".")
    for name in ("prepare", "audit", "faceauth", "metrics", "clusters"):
        assert any(name in part for part in missing)
    assert "metrics.json)" not in shown.text

    write_run(tmp_path / "run")
    shown = Elements(page_of(tmp_path / "run", output=tmp_path / "report"))
    assert shown.sections == ["verdict", "model", "training", "limits"]
    assert "no verdict" in shown.text


def test_the_page_asks_nothing_of_the_network(everything, tmp_path):
    page = page_of(everything, output=tmp_path / "report")
    for tag, attributes in Elements(page).elements:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")) or value == "report.xlsx", (tag, value)
    assert not re.search(
        r"url\(|@import|\bfetch\s*\(|XMLHttpRequest|WebSocket|\bimport\s*\(|sendBeacon", page
    )
    policy = [
        attributes["content"] for tag, attributes in Elements(page).elements if "http-equiv" in attributes
    ]
    assert policy
    assert "default-src 'none'" in policy[0]
    assert "connect-src" not in policy[0]
    assert "http" not in policy[0]


def test_the_drawing_library_is_in_the_page_once_and_only_for_a_map(everything, tmp_path):
    source = report_map.plotly_source()
    assert "</script" not in source.lower()
    write_clusters(everything / "second")
    with_maps = write_report([everything], tmp_path / "a").read_text("utf-8")
    assert with_maps.count(source) == 1
    assert with_maps.count('class="map"') == 2
    without = write_report([everything / "prepared"], tmp_path / "b").read_text("utf-8")
    assert len(without) < 100_000


def test_names_from_data_are_text_everywhere(everything, tmp_path):
    page = page_of(everything, output=tmp_path / "report", crops_root=everything)
    assert HOSTILE not in page
    assert HOSTILE in Elements(page).text
    scripts = [attributes for tag, attributes in Elements(page).elements if tag == "script"]
    # The map's points and the page's own script; plotly's was taken out and leaves its empty element.
    assert len(scripts) == 3
    points = re.search(r'<script type="application/json" id="map-1-points">(.*?)</script>', page, re.DOTALL)
    assert HOSTILE in [source["name"] for source in json.loads(points.group(1))["sources"]]
    # A drawing from a folder is an image: what it says as a script never runs.
    assert "<script>1</script>" not in page


def test_json_inside_a_script_cannot_end_it():
    document = {"</script><!--": ["<", "&", "\u2028", "é"]}
    written = script_json(document)
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == document


def test_the_verdict_sets_the_ruler_beside_the_detector(tmp_path):
    write_evaluation(tmp_path / "good")
    words = Elements(verdict_box(collect([tmp_path / "good"]))).text
    assert "0.892–0.932" in words
    assert "91 of 100 cases" in words
    assert "a ruler alone gets" in words
    assert "0.634" in words
    assert "not clearly better" not in words
    write_evaluation(tmp_path / "bad", shortcut_auroc=rate(0.9))
    assert "not clearly better than a ruler" in Elements(verdict_box(collect([tmp_path / "bad"]))).text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test_reads": 3}, "read 3 times"),
        ({"split": "val"}, "which training has seen or used"),
        ({"overall": {"auroc": rate(0.9, n_real=12)}}, "only 12 real faces"),
        ({"overall": {"auroc": rate(None, reason="only one class")}}, "undefined: only one class"),
        ({"overall": {}}, "AUROC is undefined"),
        ({"by_folder": {"sim_gan": {"auroc": rate(0.9)}}}, "simulated faces"),
    ],
)
def test_the_verdict_says_what_speaks_against_it(tmp_path, changes, says):
    write_evaluation(tmp_path / "sound")
    assert says not in Elements(verdict_box(collect([tmp_path / "sound"]))).text
    write_evaluation(tmp_path / "doubtful", **changes)
    assert says in Elements(verdict_box(collect([tmp_path / "doubtful"]))).text


def test_nearly_perfect_is_not_called_perfect(tmp_path):
    write_evaluation(tmp_path / "e", overall={"auroc": rate(0.9962)})
    assert "99.6 of 100 cases" in Elements(verdict_box(collect([tmp_path / "e"]))).text


def test_scores_of_other_splits_are_left_aside(tmp_path):
    write_evaluation(tmp_path / "e")
    with (tmp_path / "e" / "scores.csv").open("a") as lines:
        lines.write("val/real/elsewhere/1.png,elsewhere,val,1,0.5\n")
    shown = Elements(page_of(tmp_path / "e", output=tmp_path / "report")).text
    assert "n = 20" in shown
    assert "elsewhere" not in shown


def test_leaks_are_part_of_the_verdict(everything):
    write(everything / "prepared" / "audit.json", {"leaks": {"group": 0, "near": 4}, "shortcuts": {}})
    assert "found 4 leaks" in Elements(verdict_box(collect([everything]))).text


def test_two_evaluations_are_told_apart_on_the_page_and_in_the_workbook(tmp_path):
    write_evaluation(tmp_path / "study" / "first")
    write_evaluation(tmp_path / "study" / "second", model="other")
    shown = Elements(page_of(tmp_path / "study", output=tmp_path / "report"))
    assert "study/first" in shown.text
    assert "other, on test" in shown.text
    names = openpyxl.load_workbook(tmp_path / "report" / "report.xlsx").sheetnames
    assert {"All faces, study first", "All faces, study second"} <= set(names)


# What is there, and what is not


def test_a_folder_named_twice_is_read_once(everything):
    collected = collect([everything, everything / "run", everything])
    assert len(collected.runs) == len(collected.evaluations) == 1


def test_nothing_to_report_is_an_error_that_says_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"metrics\.json"):
        write_report([tmp_path / "empty"], tmp_path / "report")
    with pytest.raises(InputError, match="no folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("audit.json", "{"),
        ("audit.json", "[1, 2]"),
        ("prepare.json", '{"counts": 3}'),
        ("scores.csv", "destination_path,p_fake\nx,high\n"),
        ("projections.parquet", "no parquet"),
    ],
)
def test_a_broken_part_is_named_and_the_rest_is_shown(tmp_path, caplog, name, content):
    write_evaluation(tmp_path / "e")
    write_clusters(tmp_path / "e")
    write(tmp_path / "e" / name, content)
    with caplog.at_level(logging.WARNING):
        shown = Elements(page_of(tmp_path / "e", output=tmp_path / "report"))
    assert name in caplog.text
    assert name in shown.text
    assert "0.912" in shown.text


def test_malformed_figures_become_undefined_and_never_a_number():
    for document in (
        None,
        "0.9",
        [],
        {},
        {"value": "0.9"},
        {"value": True},
        {"value": None, "reason": "one class"},
    ):
        assert as_rate(document).value is None
        assert as_rate(document).reason
    assert as_rate({"value": 0.5, "ci95": [0.4, None]}).ci95 is None


def test_undefined_cells_come_with_their_reason():
    shown = sources_table(metrics_document())
    row = next(row for row in shown.rows if row[0] == "web")
    assert row[3].value is None
    assert any("only real faces" in note and "AUROC of web" in note for note in shown.notes)
    assert "–" in Elements(table(shown)).text


def test_a_log_without_auroc_draws_losses_only(everything):
    epochs = collect([everything]).runs[0].epochs
    assert len(epochs) == 4
    assert training_curves(epochs).count("<svg") == 2
    losses = tuple({key: value for key, value in epoch.items() if key != "val_auroc"} for epoch in epochs)
    assert training_curves(losses).count("<svg") == 1
    assert "NaN" not in training_curves(epochs[:1])


def test_intervals_stay_on_their_scale_and_the_undefined_stay_away():
    rows = [IntervalRow("low", Rate(0.31, (0.2, 1.4))), IntervalRow("none", Rate(None))]
    drawn = interval_chart(rows, description="")
    assert "none" not in Elements(drawn).text
    places = [float(place) for place in re.findall(r"(?:left|width):([-\d.]+)%", drawn)]
    assert places
    assert all(0 <= place <= 100 for place in places)
    assert interval_chart(rows[1:], description="") == ""


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0"),
        (12345, "12\u202f345"),
        (0.98765, "0.988"),
        (0.00002, "2.0e-05"),
        (31.26, "31.3"),
    ],
)
def test_numbers_are_written_for_people(value, written):
    assert number(value) == written


# Faces


def test_faces_are_in_the_page_only_on_request(everything, tmp_path):
    (everything / "test").mkdir()
    for i in range(40):
        Image.new("RGB", (200, 200), (i, 90, 90)).save(everything / "test" / f"{i}.png")
    page = page_of(everything, output=tmp_path / "a")
    assert "data:image/jpeg" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert '"faces":{}' in page
    page = page_of(everything, output=tmp_path / "b", crops_root=everything)
    points = json.loads(re.search(r'id="map-1-points">(.*?)</script>', page, re.DOTALL).group(1))
    assert len(points["faces"]) == 40
    face = base64.b64decode(points["faces"]["0"])
    assert face.startswith(b"\xff\xd8")
    assert len(face) < 4_000


def test_no_face_comes_from_outside_the_folder_of_crops(tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for place in (tmp_path / "secret.png", crops / "face.png"):
        Image.new("RGB", (80, 80)).save(place)
    (crops / "link.png").symlink_to(tmp_path / "secret.png")
    (crops / "broken.png").write_bytes(b"\x89PNG\r\n")
    assert thumbnail(crops, "face.png")
    for path in (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "broken.png",
        "none.png",
        "",
        ".",
    ):
        assert thumbnail(crops, path) is None, path


def test_the_worst_mistakes_are_shown_first(everything, tmp_path):
    for kind, name in (("real", "web"), ("fake", "gan")):
        (everything / "test" / kind / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (64, 64)).save(everything / "test" / kind / name / f"{i}.png")
    shown = Elements(page_of(everything, output=tmp_path / "report", crops_root=everything)).text
    reals = shown[shown.index("Reals that it took for fakes") :]
    # Of reals, scores run to 19 / 40; from 0.4 on they are called fake.
    assert "the worst 4 of 4" in reals
    assert reals.index("web, 0.47") < reals.index("web, 0.40")
    fakes = shown[shown.index("Fakes that it took for reals") :]
    assert "the worst 1 of 1" in fakes


def test_a_crowded_map_draws_a_sample_and_says_so(everything, tmp_path, monkeypatch):
    monkeypatch.setattr(report_map, "POINTS_MAX", 30)
    page = page_of(everything, output=tmp_path / "report")
    points = json.loads(re.search(r'id="map-1-points">(.*?)</script>', page, re.DOTALL).group(1))
    assert len(points["source"]) == len(points["projections"][0]["x"]) == 30
    assert [projection["title"] for projection in points["projections"]] == ["t-SNE", "UMAP"]
    assert "30 of 40 faces" in Elements(page).text


# The workbook


def test_no_cell_of_the_workbook_is_a_formula(everything, tmp_path):
    write_report([everything], tmp_path / "report")
    workbook = openpyxl.load_workbook(tmp_path / "report" / "report.xlsx")
    cells = [
        cell for sheet in workbook for row in sheet.iter_rows() for cell in row if cell.value is not None
    ]
    assert all(cell.data_type in ("s", "n") for cell in cells)
    assert FORMULA in [cell.value for cell in cells]
    assert HOSTILE in [cell.value for cell in cells]
    for sheet in workbook:
        assert sheet.freeze_panes == "B2"
        assert sheet.auto_filter.ref.startswith("A1:")
        assert sheet.column_dimensions["A"].width >= 9


def test_the_workbook_holds_values_and_bounds_as_numbers(everything, tmp_path):
    write_report([everything], tmp_path / "report")
    sheet = openpyxl.load_workbook(tmp_path / "report" / "report.xlsx")["All faces"]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][:6] == ("Metric", "Value", "Value, low 95 %", "Value, high 95 %", "Real", "Fake")
    assert rows[1][:6] == ("AUROC", 0.912, pytest.approx(0.892), pytest.approx(0.932), 200, 300)


def test_awkward_titles_and_characters_still_make_a_workbook(tmp_path):
    tables = [
        Table("A/B: [what]? " * 5, ("a",), (("bell \x07",),)),
        Table("a/b: [WHAT]? " * 5, ("a", "b"), (("x", Rate(None)),)),
        Table("", ("a",), ((None,),)),
    ]
    write_workbook(tables, tmp_path / "report.xlsx")
    names = openpyxl.load_workbook(tmp_path / "report.xlsx").sheetnames
    assert len({name.lower() for name in names}) == 3
    assert all(len(name) <= 31 for name in names)

"""Figures of an evaluation: what is drawn, what is said in words, and that awkward data spoils nothing."""

import re
import warnings
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from faceauth.decisions.thresholds import Threshold
from faceauth.evaluation.confusion import draw_confusion, draw_confusion_by_source
from faceauth.evaluation.curves import MAX_POINTS, draw_det, draw_roc, roc_points
from faceauth.evaluation.document import evaluate_scores
from faceauth.evaluation.drawing import (
    MAX_SOURCES,
    complement,
    format_percent,
    list_sources,
    plain,
    short_label,
)
from faceauth.evaluation.figures import draw_evaluation_figures
from faceauth.evaluation.forest import draw_folders
from faceauth.evaluation.histograms import draw_score_histogram, draw_scores_by_source
from faceauth.scoring.by_folder import iterate_folders
from faceauth.scoring.metrics import compute_metric
from faceauth.scoring.scores import Scores

HALF = Threshold(0.5, "half", "fixed", 0, 0)
# From 0 to 1 in steps that make ties likely.
STEPS = st.integers(0, 20).map(lambda step: step / 20)
P_FAKE = arrays(np.float64, st.integers(1, 30), elements=STEPS)


def make_scores(counts, *, seed=0, one_group=()):
    """Scores of sources, {name: (target, n)}; each source is a little easier than the one before."""
    rng = np.random.default_rng(seed)
    folder, target, p_fake, group = [], [], [], []
    for i, (name, (kind, n)) in enumerate(counts.items()):
        logits = rng.normal(-2 if kind else -1 + 4 * i / len(counts), 1.3, n)
        folder += [name] * n
        target += [kind] * n
        p_fake += list(1 / (1 + np.exp(-logits)))
        group += [name if name in one_group else "" for _ in range(n)]
    texts = [
        np.array(column, dtype=object) for column in ([""] * len(folder), folder, ["test"] * len(folder))
    ]
    return Scores(
        *texts, np.array(target), np.array(p_fake), np.array(group, dtype=object) if one_group else None
    )


def quick_document(scores):
    """What figures read of `metrics.json`, with made-up intervals: to measure them takes seconds."""

    def rate(value, reason="there is none"):
        ci95 = None if value is None else [max(0.0, value - 0.05), min(1.0, value + 0.05)]
        n_real = int((scores.target == 1).sum())
        n_fake = len(scores) - n_real
        return {"value": value, "ci95": ci95, "n_real": n_real, "n_fake": n_fake, "reason": reason}

    def rates(rows):
        names = ("auroc", "eer", "recall_fake", "recall_real")
        return {
            name: rate(compute_metric(name, rows.target, rows.p_fake, threshold=0.5)[0]) for name in names
        }

    by_folder = {folder.name: rates(scores.where(folder.keep)) for folder in iterate_folders(scores)}
    threshold = {"value": 0.5}
    return {"split": "test", "threshold": threshold, "overall": rates(scores), "by_folder": by_folder}


def evaluate(scores, **changes):
    return evaluate_scores(scores, threshold=HALF, split="test", model="m", draws=40) | changes


def drawn(figure):
    """Lays a figure out, which a figure without a canvas of pixels is not."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def words_of(figure):
    """All text of a figure, as it is drawn."""
    drawn(figure)
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def overhang(figure):
    """Returns by how many inches what is drawn leaves the figure, on the worst of its four sides."""
    box = figure.get_tightbbox(drawn(figure).get_renderer())
    width, height = figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


def area(x, y):
    """The area under straight lines."""
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


# The curve


@given(real=P_FAKE, fake=P_FAKE)
def test_the_area_under_the_drawn_corners_is_the_auroc(real, fake):
    fpr, tpr = roc_points(real, fake)
    targets = np.array([1] * len(real) + [0] * len(fake))
    auroc, _ = compute_metric("auroc", targets, np.concatenate([real, fake]))
    assert area(fpr, tpr) == pytest.approx(auroc)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(fpr) >= 0)
    assert np.all(np.diff(tpr) >= 0)


@given(real=P_FAKE, fake=P_FAKE, threshold=STEPS)
def test_the_point_of_any_threshold_is_on_the_curve(real, fake, threshold):
    fpr, tpr = roc_points(real, fake)
    x, y = np.mean(real >= threshold), np.mean(fake >= threshold)
    at_x = tpr[np.isclose(fpr, x)]
    assert at_x.min() - 1e-9 <= y <= at_x.max() + 1e-9


def test_a_long_curve_is_drawn_with_few_points_and_ends_where_it_should():
    scores = make_scores({"gan": (0, 30_000), "web": (1, 30_000)})
    document = quick_document(scores)["overall"]
    figure = draw_roc(scores, document["auroc"], document["eer"], threshold=0.5)
    curve = next(line for line in figure.axes[0].lines if line.get_label().startswith("AUROC"))
    assert 100 < len(curve.get_xdata()) <= MAX_POINTS
    assert curve.get_xdata()[0] == 0
    assert curve.get_xdata()[-1] == curve.get_ydata()[-1] == 1
    assert area(curve.get_xdata(), curve.get_ydata()) == pytest.approx(document["auroc"]["value"], abs=2e-4)


def test_the_second_panel_spreads_rare_false_alarms_and_greys_what_was_not_measured():
    scores = make_scores({"gan": (0, 300), "web": (1, 300)})
    document = quick_document(scores)["overall"]
    figure = draw_roc(scores, document["auroc"], document["eer"], threshold=0.5)
    left, right = figure.axes
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "log")
    assert right.get_xlim() == pytest.approx((0.001, 1))
    shade = next(patch for patch in right.patches if patch.get_width() < 0.1)
    assert shade.get_x() + shade.get_width() == pytest.approx(1 / 300)
    drawn(figure)
    assert "10 %" in [tick.get_text() for tick in right.get_xticklabels()]


def test_generators_lie_behind_and_the_hardest_is_named():
    scores = make_scores({"hard": (0, 60), "mid": (0, 60), "easy": (0, 60), "web": (1, 60)})
    document = quick_document(scores)
    sources, _ = list_sources(scores, document)
    overall = document["overall"]
    for figure in (
        draw_roc(scores, overall["auroc"], overall["eer"], threshold=0.5, sources=sources),
        draw_det(scores, overall["eer"], threshold=0.5, sources=sources),
    ):
        words = words_of(figure)
        assert "hardest: hard" in words
        assert "the other 2 generators" in words
        assert max(line.get_zorder() for line in figure.axes[0].lines if line.get_alpha()) < 3


@pytest.mark.parametrize("n", [3, 60, 5_000])
def test_det_ticks_are_percent_and_the_eer_is_on_the_diagonal(n):
    scores = make_scores({"gan": (0, n), "web": (1, n)})
    eer = quick_document(scores)["overall"]["eer"]
    figure = draw_det(scores, eer, threshold=0.5)
    axes = figure.axes[0]
    point = next(line for line in axes.lines if line.get_label().startswith("equal error"))
    assert point.get_xdata() == point.get_ydata()
    drawn(figure)
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert len(ticks) >= 3
    assert all(re.fullmatch(r"[\d.]+ %", tick) for tick in ticks)
    assert "1e" not in "".join(ticks)
    boxes = [tick.get_window_extent() for tick in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


# Counts and shares


def test_the_matrix_shows_counts_shares_and_intervals_that_belong_together():
    scores = make_scores({"gan": (0, 40), "web": (1, 50)})
    overall = evaluate(scores)["overall"]
    words = words_of(draw_confusion(scores, overall, threshold=0.5))
    called_fake = scores.p_fake >= 0.5
    for target, recall in ((1, overall["recall_real"]), (0, overall["recall_fake"])):
        of_class = scores.target == target
        for call in (True, False):
            count = int((of_class & (called_fake == call)).sum())
            assert f"{count:,}" in words
            assert format_percent(count / of_class.sum()) in words
        low, high = (format_percent(bound).removesuffix(" %") for bound in recall["ci95"])
        assert f"{low} to {high}" in words


def test_each_source_has_its_count_and_share_called_fake():
    scores = make_scores({"gan": (0, 40), "swap": (0, 7), "web": (1, 50)})
    document = quick_document(scores)
    sources, n_left_out = list_sources(scores, document)
    words = words_of(draw_confusion_by_source(sources, threshold=0.5, n_left_out=n_left_out))
    for source in sources:
        n_called = int((source.p_fake >= 0.5).sum())
        assert source.called_fake["value"] == pytest.approx(n_called / len(source.p_fake))
        assert f"{n_called} of {len(source.p_fake)}" in words


def test_the_complement_of_a_rate_turns_its_bounds_round():
    rate = {"value": 0.9, "ci95": [0.8, 0.95], "n_real": 3, "n_fake": 0, "reason": None}
    turned = complement(rate)
    assert turned["ci95"] == pytest.approx([0.05, 0.2])
    assert turned["value"] == pytest.approx(0.1)
    assert complement(rate | {"value": None, "ci95": None})["value"] is None


# Sources side by side


def test_the_forest_sorts_and_says_what_lacks_an_interval():
    scores = make_scores(
        {"one": (0, 12), "two": (0, 60), "few": (0, 60), "web": (1, 60), "pix": (1, 60)}, one_group=("one",)
    )
    document = evaluate(scores)
    sources, _ = list_sources(scores, document)
    figure = draw_folders(document, sources[::-1])
    above, below = figure.axes
    labels = [label.get_text() for label in above.get_yticklabels()]
    aurocs = [document["by_folder"][name]["auroc"]["value"] for name in labels[1:]]
    assert labels[0] == "all fakes"
    assert aurocs == sorted(aurocs)
    words = words_of(figure)
    assert any("no interval: all fake faces are of one group" in text for text in words)
    open_markers = [
        line for line in above.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]
    assert [line.get_xdata()[0] for line in open_markers if len(line.get_xdata())] == [
        document["by_folder"]["one"]["auroc"]["value"]
    ]
    alarms = [
        1 - document["by_folder"][label.get_text()]["recall_real"]["value"]
        for label in below.get_yticklabels()[1:]
    ]
    assert alarms == sorted(alarms, reverse=True)
    assert "a ruler alone: plain facts, no face" not in words


def test_the_forest_sets_the_ruler_beside_each_generator():
    scores = make_scores({"gan": (0, 60), "swap": (0, 60), "web": (1, 60)})
    rate = {"value": 0.93, "ci95": None, "n_real": 60, "n_fake": 60, "reason": None}
    document = evaluate(scores, shortcuts={"overall": rate | {"value": 0.71}, "by_folder": {"gan": rate}})
    sources, _ = list_sources(scores, document)
    figure = draw_folders(document, sources)
    hollow = [
        line.get_xdata()[0]
        for line in figure.axes[0].lines
        if line.get_marker() == "D" and len(line.get_xdata())
    ]
    assert sorted(hollow) == [0.71, 0.93]
    assert "a ruler alone: plain facts, no face" in words_of(figure)


def test_more_sources_than_a_screen_shows_leave_out_the_easiest_and_say_so():
    counts = {f"gan_{i}": (0, 6) for i in range(MAX_SOURCES + 5)} | {"web": (1, 6)}
    scores = make_scores(counts)
    document = quick_document(scores)
    sources, n_left_out = list_sources(scores, document)
    assert (len(sources), n_left_out) == (MAX_SOURCES, 6)
    drawn = {source.name for source in sources}
    worst_left_out = max(
        1 - document["by_folder"][name]["recall_fake"]["value"]
        for name in counts
        if name.startswith("gan") and name not in drawn
    )
    assert all(source.error["value"] >= worst_left_out for source in sources if source.target == 0)
    assert any("6 more" in text for text in words_of(draw_folders(document, sources, n_left_out=n_left_out)))


# Whatever the data


AWKWARD = {
    "a_generator_with_a_very_long_name_of_a_model_and_its_version_2.1": (0, 12),
    "$x^{": (0, 3),
    "_hidden": (0, 30),
    "new\nline\x07": (0, 30),
    "<b>&amp;": (1, 30),
    "面部": (1, 12),
}


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize(
    "counts",
    [
        {"gan": (0, 12), "web": (1, 12)},
        AWKWARD,
        {f"generator_{i}_of_many" if i % 3 else f"collection_{i}": (int(i % 3 == 0), 30) for i in range(25)},
    ],
    ids=["two", "awkward", "many"],
)
def test_no_text_leaves_a_figure_and_no_layout_fails(counts):
    scores = make_scores(counts)
    document = quick_document(scores)
    overall = document["overall"]
    sources, _ = list_sources(scores, document)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout")
        for figure in (
            draw_score_histogram(scores, threshold=0.5),
            draw_scores_by_source(sources, threshold=0.5),
            draw_confusion(scores, overall, threshold=0.5),
            draw_confusion_by_source(sources, threshold=0.5),
            draw_roc(scores, overall["auroc"], overall["eer"], threshold=0.5, sources=sources),
            draw_det(scores, overall["eer"], threshold=0.5, sources=sources),
            draw_folders(document, sources),
        ):
            assert overhang(figure) < 0.02


def test_names_in_any_alphabet_and_with_any_sign_are_saved_without_a_word(tmp_path):
    scores = make_scores(AWKWARD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw_evaluation_figures(quick_document(scores), scores, tmp_path)
    drawing = ElementTree.parse(next(path for path in paths if path.name == "folders.svg"))
    assert drawing.getroot().get("width")


@pytest.mark.parametrize("direction", [1, -1], ids=["perfect", "all wrong"])
def test_scores_at_the_ends_of_the_scale_are_drawn(tmp_path, direction):
    scores = make_scores({"gan": (0, 6), "web": (1, 6)})
    p_fake = np.where((scores.target == 0) == (direction > 0), 1.0, 0.0)
    scores = Scores(scores.destination_path, scores.folder, scores.split, scores.target, p_fake)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw_evaluation_figures(quick_document(scores), scores, tmp_path)
    assert {path.stem for path in paths} >= {"roc", "det", "folders"}


def test_every_figure_is_a_picture_and_a_drawing(tmp_path):
    scores = make_scores({"gan": (0, 20), "swap": (0, 20), "web": (1, 20)})
    paths = draw_evaluation_figures(quick_document(scores), scores, tmp_path)
    stems = {"scores", "scores_by_source", "confusion", "confusion_by_source", "roc", "det", "folders"}
    suffixes = (".png", ".svg")
    assert {path.name for path in paths} == {f"{stem}{suffix}" for stem in stems for suffix in suffixes}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                # More than a blank page.
                assert len(picture.convert("RGB").getcolors(2**20) or ()) > 20
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_one_class_alone_has_counts_and_no_curves(tmp_path):
    scores = make_scores({"gan": (0, 20), "swap": (0, 20)})
    stems = {path.stem for path in draw_evaluation_figures(quick_document(scores), scores, tmp_path)}
    assert stems == {"scores", "scores_by_source", "confusion", "confusion_by_source"}


@settings(max_examples=60)
@given(name=st.text(max_size=60), characters=st.integers(8, 40))
def test_a_label_fits_and_holds_no_formula(name, characters):
    label = short_label(name, characters=characters)
    assert len(label.replace(r"\$", "$")) <= characters
    assert not re.search(r"(?<!\\)\$", label.replace("\\\\", ""))
    assert label.replace(r"\$", "$").isprintable() or label == ""
    if len(name) <= characters:
        assert label == plain(name)

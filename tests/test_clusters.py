"""Embeddings, maps and cluster measures, on planted clusters whose separation is known."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from faceauth.clusters import cluster_report, faithfulness
from faceauth.clusters.cluster_report import measure_clusters, write_clusters
from faceauth.clusters.embeddings import Embeddings, read_embeddings, source_names, write_embeddings
from faceauth.clusters.faithfulness import measure_continuity, measure_stability, measure_trustworthiness
from faceauth.clusters.measures import (
    chance_purity,
    feature_space,
    mean_measure,
    measure_separation,
    measure_sources,
    neighbour_purity,
    unit_length,
)
from faceauth.clusters.palette import COLOURS, source_styles
from faceauth.clusters.plane import PROJECTIONS
from faceauth.clusters.plots import draw_projection
from faceauth.clusters.projections import tsne
from faceauth.clusters.sampling import stratified_rows
from faceauth.errors import InputError, UnknownNameError

SOURCES = (("ffhq", 1), ("web", 1), ("gan", 0), ("diffusion", 0))


def planted(*, separation, n_each=40, dimensions=16, sources=SOURCES, group_size=1, seed=0):
    """Gaussian clusters of unit spread, with centres `separation` from the origin, each on its own axis."""
    rng = np.random.default_rng(seed)
    folder = np.repeat(np.array([name for name, _ in sources], dtype=object), n_each)
    features = rng.normal(size=(len(folder), dimensions)).astype(np.float32)
    for i in range(len(sources)):
        features[i * n_each : (i + 1) * n_each, i] += separation
    n = len(folder)
    return Embeddings(
        destination_path=np.array([f"test/{name}/{i}.png" for i, name in enumerate(folder)], dtype=object),
        folder=folder,
        split=np.full(n, "test", dtype=object),
        target=np.repeat(np.array([target for _, target in sources], np.int8), n_each),
        group=np.array([f"person {i // group_size}" for i in range(n)], dtype=object),
        p_fake=rng.uniform(size=n).astype(np.float32),
        features=features,
    )


def space_of(embeddings):
    return feature_space(
        embeddings.features, names=embeddings.folder, is_real=embeddings.target == 1, group=embeddings.group
    )


# Embeddings


def test_embeddings_come_back_as_they_were_written(tmp_path):
    written = planted(separation=3)
    written.p_fake[3] = np.nan
    write_embeddings(written, tmp_path / "deep" / "embeddings.parquet")
    read = read_embeddings(tmp_path / "deep" / "embeddings.parquet")
    for column in ("destination_path", "folder", "split", "group", "target", "features", "p_fake"):
        np.testing.assert_array_equal(getattr(read, column), getattr(written, column))
    assert read.features.dtype == np.float32
    assert read.target.dtype == np.int8


def test_a_missing_score_is_null_in_the_file(tmp_path):
    embeddings = planted(separation=3)
    embeddings.p_fake[:7] = np.nan
    write_embeddings(embeddings, tmp_path / "embeddings.parquet")
    table = pq.read_table(tmp_path / "embeddings.parquet")
    assert table["p_fake"].null_count == 7
    assert pa.types.is_fixed_size_list(table["feature"].type)


def test_embeddings_of_another_tool_may_hold_plain_lists(tmp_path):
    embeddings = planted(separation=3, n_each=3)
    write_embeddings(embeddings, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    lists = pa.array(embeddings.features.astype(float).tolist(), pa.list_(pa.float64()))
    table = table.set_column(table.column_names.index("feature"), "feature", lists)
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=5)
    np.testing.assert_array_equal(read_embeddings(tmp_path / "b.parquet").features, embeddings.features)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("feature", [[1.0, 2.0]] * 11 + [[1.0]], "between 1 and 2 dimensions"),
        ("feature", [[1.0, 2.0]] * 11 + [None], "1 rows have no feature"),
        ("feature", [[1.0, 2.0]] * 11 + [[1.0, float("nan")]], "not finite"),
        ("feature", ["[0.1 0.2]"] * 12, "holds string"),
        ("target", [2] * 12, "1 (real) and 0 (fake)"),
        ("p_fake", [1.5] * 12, "outside [0, 1]"),
    ],
)
def test_embeddings_that_contradict_themselves_are_refused_by_name(tmp_path, column, values, says):
    write_embeddings(planted(separation=3, n_each=3), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    table = table.set_column(table.column_names.index(column), column, pa.array(values))
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(InputError) as caught:
        read_embeddings(tmp_path / "b.parquet")
    assert says in str(caught.value)
    assert "b.parquet" in str(caught.value)


def test_a_missing_column_a_broken_file_and_no_file_are_named(tmp_path):
    write_embeddings(planted(separation=3, n_each=3), tmp_path / "a.parquet")
    pq.write_table(pq.read_table(tmp_path / "a.parquet").drop_columns(["group"]), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    for name, says in (("b", "group"), ("c", "cannot be read"), ("d", "no embeddings file")):
        with pytest.raises(InputError, match=says):
            read_embeddings(tmp_path / f"{name}.parquet")


def test_a_folder_that_both_classes_use_is_two_sources():
    folder = np.array(["web", "web", "gan"], dtype=object)
    assert list(source_names(folder, np.array([1, 0, 0]))) == ["web (real)", "web (fake)", "gan"]


# Samples


def test_a_sample_keeps_shares_and_loses_no_source():
    names = np.array(["big"] * 800 + ["middle"] * 190 + ["tiny"] * 10, dtype=object)
    rows = stratified_rows(names, 100, seed=1)
    assert len(rows) == len(set(rows)) == 100
    counts = {name: int((names[rows] == name).sum()) for name in ("big", "middle", "tiny")}
    assert counts == {"big": 80, "middle": 19, "tiny": 1}
    np.testing.assert_array_equal(rows, stratified_rows(names, 100, seed=1))
    assert set(rows) != set(stratified_rows(names, 100, seed=2))
    assert set(names[stratified_rows(names, 2, seed=0)]) == {"big", "middle", "tiny"}
    np.testing.assert_array_equal(stratified_rows(names, 5_000, seed=0), np.arange(1_000))


# Maps


@pytest.mark.parametrize("name", PROJECTIONS.names())
def test_a_map_is_the_same_for_the_same_seed_and_keeps_far_clusters_apart(name):
    embeddings = planted(separation=12, n_each=12)
    project = PROJECTIONS.get(name)
    places = project(embeddings.features, seed=3)
    assert places.shape == (48, 2)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(places, project(embeddings.features, seed=3))
    on_map = feature_space(
        # A large constant axis, so that bringing rows to unit length leaves distances in proportion.
        np.column_stack([places - places.mean(axis=0), np.full(48, 1e4)]),
        names=embeddings.folder,
        is_real=embeddings.target == 1,
        group=embeddings.group,
    )
    assert np.nanmean(neighbour_purity(on_map, embeddings.folder, n_neighbours=3, seed=0)) > 0.95


@pytest.mark.parametrize("name", PROJECTIONS.names())
def test_five_faces_make_a_map_and_four_do_not(name):
    features = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    assert np.isfinite(PROJECTIONS.get(name)(features, seed=0)).all()
    with pytest.raises(InputError, match="at least 5 faces, there are 4"):
        PROJECTIONS.get(name)(features[:4], seed=0)


@pytest.mark.parametrize("name", PROJECTIONS.names())
def test_features_without_any_difference_are_refused(name):
    with pytest.raises(InputError, match="All 9 features are the same"):
        PROJECTIONS.get(name)(np.ones((9, 4), np.float32), seed=0)


def test_the_way_for_large_inputs_gives_a_map_too(monkeypatch):
    monkeypatch.setattr(tsne, "EXACT_MAX", 100)
    monkeypatch.setattr(tsne, "EARLY_ITERATIONS", 60)
    monkeypatch.setattr(tsne, "ITERATIONS", 60)
    embeddings = planted(separation=9, n_each=30)
    places = tsne.project_tsne(embeddings.features, seed=0)
    assert np.isfinite(places).all()
    assert measure_trustworthiness(unit_length(embeddings.features), places).value > 0.8


# Measures


def test_far_clusters_are_pure_and_coincident_ones_are_at_chance():
    far = measure_separation(space_of(planted(separation=30)), seed=0)
    near = measure_separation(space_of(planted(separation=4)), seed=0)
    none = measure_separation(space_of(planted(separation=0)), seed=0)
    assert far["knn_purity"].value > 0.99
    assert abs(none["knn_purity"].value - none["knn_purity_chance"].value) < 0.06
    low, high = none["knn_purity"].ci95
    assert low < none["knn_purity"].value < high
    assert far["silhouette"].value > near["silhouette"].value > none["silhouette"].value
    assert far["silhouette"].value > 0.6
    assert abs(none["silhouette"].value) < 0.05
    assert far["davies_bouldin"].value < near["davies_bouldin"].value < none["davies_bouldin"].value


def test_faces_that_all_coincide_have_the_purity_of_chance_whatever_their_order():
    embeddings = planted(separation=0, n_each=60)
    embeddings.features[:] = 1
    space = space_of(embeddings)
    for source in measure_sources(space, seed=0).values():
        assert abs(source["knn_purity"].value - 0.25) < 0.1
    measures = measure_separation(space, seed=0)
    assert measures["davies_bouldin"].value is None
    assert "same centre" in measures["davies_bouldin"].reason


def test_the_length_of_features_does_not_count():
    embeddings = planted(separation=5)
    stretched = planted(separation=5)
    stretched.features[:] *= np.random.default_rng(0).uniform(1, 50, size=(len(stretched), 1))
    before, after = (measure_separation(space_of(each), seed=0) for each in (embeddings, stretched))
    assert before["silhouette"].value == pytest.approx(after["silhouette"].value, abs=1e-4)
    assert before["knn_purity"].value == pytest.approx(after["knn_purity"].value, abs=1e-2)


def test_frames_of_the_same_video_are_no_neighbours_of_each_other():
    embeddings = planted(separation=30, n_each=20, sources=SOURCES[:2], group_size=20)
    measures = measure_separation(space_of(embeddings), seed=0)
    # Each source is one video: whoever is left as a neighbour is of the other source.
    assert measures["knn_purity"].value == 0
    assert measures["knn_purity_chance"].value == 0


def test_expected_purity_counts_what_random_labels_would_give():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 60)
    groups = rng.integers(0, 20, 60)
    by_hand = [
        np.mean([labels[j] == labels[i] for j in range(60) if groups[j] != groups[i]]) for i in range(60)
    ]
    np.testing.assert_allclose(chance_purity(labels, groups), by_hand)


def test_an_interval_is_wider_where_faces_come_in_groups():
    values = np.repeat(np.random.default_rng(0).uniform(size=20), 10)
    single = mean_measure(values, np.arange(200), "", seed=0, reason="")
    grouped = mean_measure(values, np.repeat(np.arange(20), 10), "", seed=0, reason="")
    assert single.value == grouped.value
    assert grouped.ci95[1] - grouped.ci95[0] > 2 * (single.ci95[1] - single.ci95[0])


def test_one_source_alone_gives_null_with_a_reason():
    space = space_of(planted(separation=3, sources=SOURCES[:1]))
    for name, measure in measure_separation(space, seed=0).items():
        assert measure.value is None, name
        assert measure.ci95 is None
        assert measure.reason
    source = measure_sources(space, seed=0)["ffhq"]
    assert source["nearest"] is None
    assert source["silhouette"].value is None
    assert source["knn_purity"].value is None
    assert source["spread"].value > 0


def test_each_source_names_its_nearest_and_its_most_central_face():
    embeddings = planted(separation=30)
    # Diffusion moves beside gan, and one web face into the middle of its source.
    gan, diffusion, web = (embeddings.folder == name for name in ("gan", "diffusion", "web"))
    embeddings.features[diffusion, 2] += 29
    central = int(np.flatnonzero(web)[7])
    embeddings.features[central] = embeddings.features[web].mean(axis=0)
    sources = measure_sources(space_of(embeddings), seed=0)
    assert sources["gan"]["nearest"] == "diffusion"
    assert sources["diffusion"]["nearest"] == "gan"
    assert sources["web"]["medoid"] == central
    assert sources["gan"]["nearest_distance"] < sources["web"]["nearest_distance"]
    assert set(sources["gan"]["members"]) == set(np.flatnonzero(gan))


def test_a_source_with_one_face_is_null_and_harms_no_other():
    embeddings = planted(separation=30)
    embeddings.folder[0] = "single"
    sources = measure_sources(space_of(embeddings), seed=0)
    assert sources["single"]["spread"].value is None
    assert sources["single"]["silhouette"].value is None
    assert sources["gan"]["silhouette"].value > 0.5


# Faithfulness of maps


def test_a_true_map_is_trusted_and_a_shuffled_one_is_not():
    features = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    shuffled = np.random.default_rng(1).permutation(features)
    for measure in (measure_trustworthiness, measure_continuity):
        assert measure(features, features).value == pytest.approx(1)
        assert measure(features, shuffled).value < 0.7


def test_continuity_sees_a_torn_cluster_and_trustworthiness_a_false_one():
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(60, 2)).astype(np.float32)
    torn = whole.copy()
    torn[::2, 0] += 50
    assert measure_continuity(whole, torn).value < measure_trustworthiness(whole, torn).value
    assert measure_trustworthiness(torn, whole).value < measure_continuity(torn, whole).value


def test_stability_is_high_for_clear_directions_and_low_for_a_map_of_chance():
    features = planted(separation=0).features
    # Two directions that no tenth of the faces can exchange.
    features[:, 0] *= 40
    features[:, 1] *= 10

    def by_chance(features, *, seed):
        return np.random.default_rng(seed).normal(size=(len(features), 2)).astype(np.float32)

    pca = PROJECTIONS.get("pca")
    assert measure_stability(pca, features, pca(features, seed=0), seed=0).value > 0.9
    assert measure_stability(by_chance, features, by_chance(features, seed=0), seed=0).value < 0.2


def test_stability_says_why_it_was_not_measured(monkeypatch):
    pca = PROJECTIONS.get("pca")
    few = planted(separation=3, n_each=5, sources=SOURCES[:1]).features
    assert "too few" in measure_stability(pca, few, pca(few, seed=0), seed=0).reason
    monkeypatch.setattr(faithfulness, "STABILITY_MAX", 10)
    many = planted(separation=3).features
    assert "above 10 faces" in measure_stability(pca, many, pca(many, seed=0), seed=0).reason


# The whole


def test_what_is_written_can_be_read_by_anyone(tmp_path):
    embeddings = planted(separation=6, n_each=12)
    embeddings.p_fake[0] = np.nan
    document, coordinates = measure_clusters(embeddings, projections=("tsne", "pca"), layer="pooled", seed=1)
    write_clusters(embeddings, document, coordinates, tmp_path)
    read = json.loads((tmp_path / "clusters.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert read["n"] == 48
    assert read["layer"] == "pooled"
    assert set(read["by_folder"]) == {name for name, _ in SOURCES}
    assert read["by_folder"]["gan"]["n"] == 12
    assert read["by_folder"]["gan"]["target_class"] == "fake"
    assert read["by_folder"]["gan"]["medoid"].startswith("test/gan/")
    for measures in (read["measures"], *read["projections"].values()):
        for measure in measures.values():
            assert {"value", "ci95", "meaning"} <= set(measure)
            assert measure["meaning"].endswith(".")
    assert set(read["projections"]["tsne"]) == {"trustworthiness", "continuity", "stability"}
    table = pq.read_table(tmp_path / "projections.parquet")
    assert {"destination_path", "folder", "split", "target", "p_fake"} <= set(table.column_names)
    assert {"tsne_x", "tsne_y", "pca_x", "pca_y"} <= set(table.column_names)
    np.testing.assert_array_equal(table["tsne_x"].to_numpy(), coordinates["tsne"][:, 0])
    assert table["p_fake"].null_count == 1
    for name in ("tsne", "pca"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 600
        assert "n = 48" not in (tmp_path / f"{name}.svg").read_text("utf-8")[:200]
        assert "<svg" in (tmp_path / f"{name}.svg").read_text("utf-8")
    first = (tmp_path / "pca.svg").read_bytes()
    write_clusters(embeddings, document, coordinates, tmp_path)
    assert (tmp_path / "pca.svg").read_bytes() == first


def test_large_inputs_are_measured_on_a_sample_and_say_so(monkeypatch):
    monkeypatch.setattr(cluster_report, "MEASURED_MAX", 60)
    document, coordinates = measure_clusters(planted(separation=30), projections=("pca",), layer="pooled")
    assert document["n"] == 160
    assert document["n_measured"] == 60
    assert any("sample of 60 of 160" in note for note in document["notes"])
    assert coordinates["pca"].shape == (160, 2)
    assert document["by_folder"]["gan"]["n"] == 40
    assert document["measures"]["knn_purity"]["value"] > 0.9


def test_an_unknown_projection_is_refused_before_anything_is_measured():
    with pytest.raises(UnknownNameError, match="tsne"):
        measure_clusters(planted(separation=3), projections=("tsnee",), layer="pooled")


def test_every_source_looks_different_and_shapes_tell_classes_apart():
    names = np.array([f"{kind}{i}" for kind in ("r", "f") for i in range(len(COLOURS) + 3)], dtype=object)
    target = np.array([int(name.startswith("r")) for name in names])
    styles = source_styles(names, target)
    looks = {(style.colour, style.marker) for style in styles.values()}
    assert len(looks) == len(styles) == len(names)
    real = {style.marker for style in styles.values() if style.is_real}
    fake = {style.marker for style in styles.values() if not style.is_real}
    assert not real & fake


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    names = np.array(["$x_{", "_hidden", "a$b$c"] * 4, dtype=object)
    figure = draw_projection(
        np.random.default_rng(0).normal(size=(12, 2)), names=names, target=np.zeros(12, int), title="$oops"
    )
    figure.savefig(tmp_path / "map.png")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 3

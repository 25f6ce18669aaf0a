from dataclasses import replace

import numpy as np
import pytest

from faceauth.intake.manifest import ManifestRow
from faceauth.labels import ID2LABEL
from faceauth.scoring.shortcuts import FEATURES, measure_shortcuts


def make_rows(n=240, seed=0):
    """Rows whose metadata knows nothing of the class."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        width, height = (int(side) for side in rng.integers(300, 1200, 2))
        target = i % 2
        rows.append(
            ManifestRow(
                f"/{i}.jpg",
                f"{i}.png",
                "wiki" if target else ("insight", "text2img")[i // 2 % 2],
                "train",
                ID2LABEL[target],
                target,
                group=f"person-{i // 4}",
                box=(10.0, 10.0, 10.0 + rng.uniform(50, 200), 150.0),
                width=width,
                height=height,
                format=("JPEG", "PNG")[rng.integers(2)],
                jpeg_quality=int(rng.integers(60, 96)),
                n_bytes=int(rng.integers(20_000, 90_000)),
            )
        )
    return rows


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ({"format": "WEBP"}, {"format"}),
        ({"width": 512, "height": 512}, {"width_px", "height_px", "aspect_ratio"}),
        ({"jpeg_quality": 75}, {"jpeg_quality"}),
    ],
    ids=["format", "size", "quality"],
)
def test_a_planted_difference_is_found_and_named(planted, named):
    found = measure_shortcuts([row if row.target else replace(row, **planted) for row in make_rows()])
    assert found.overall.value > 0.93
    assert found.overall.ci95[0] > 0.85
    assert found.features[0][0] in named
    assert found.by_folder.keys() == {"insight", "text2img"}
    assert all(rate.value > 0.9 for rate in found.by_folder.values())


def test_metadata_that_knows_nothing_has_an_interval_around_a_half():
    # A 95 % interval may miss once in a while, and which seed does depends on scikit-learn's release.
    around = 0
    for seed in range(5):
        overall = measure_shortcuts(make_rows(seed=seed), seed=seed).overall
        around += overall.ci95[0] <= 0.5 <= overall.ci95[1]
        assert overall.ci95[0] <= 0.5
        assert (overall.n_real, overall.n_fake) == (120, 120)
    assert around >= 4


def test_too_few_groups_are_undefined_with_a_reason():
    for rows in ([], make_rows(8), [row for row in make_rows() if row.target]):
        found = measure_shortcuts(rows)
        assert found.overall.value is None
        assert "groups of each class" in found.overall.reason
        assert found.to_json()["features"] == []


def test_rows_without_metadata_do_no_harm():
    rows = [replace(row, width=None, height=None, box=None, format="", n_bytes=None) for row in make_rows()]
    found = measure_shortcuts(rows)
    assert 0.4 < found.overall.value < 0.6
    assert {name for name, _ in found.features} == set(FEATURES)

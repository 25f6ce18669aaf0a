"""A large job in parts, each prepared by itself, whose journals and crops are put together."""

import os
import shutil

import pytest
from pictures import save_layout

from faceauth.intake.manifest import read_manifest

FAST = ("--face-detector", "whole", "--image-size", "64", "--workers", "0", "--balance", "none")


@pytest.fixture(autouse=True)
def quick_audit(monkeypatch):
    monkeypatch.setattr("faceauth.shortcuts.shortcuts.FOLDS", 10**6)


def test_parts_that_are_put_together_are_as_if_all_had_been_prepared_at_once(run_cli, tmp_path):
    photos = save_layout(tmp_path / "photos", {"real/wiki/00": 9, "real/wiki/01": 8, "fake/gan": 9})
    (photos / "real/wiki/01/broken.jpg").write_text("no image")
    assert run_cli("prepare", photos, "--output", tmp_path / "whole", *FAST).exit_code == 3

    parts = {
        "part0": [f"real:wiki={photos}/real/wiki/00"],
        "part1": [f"real:wiki={photos}/real/wiki/01", f"fake:gan={photos}/fake/gan"],
    }
    store = tmp_path / "all/.prepare"
    store.mkdir(parents=True)
    for name, sources in parts.items():
        run_cli("prepare", *sources, "--output", tmp_path / name, *FAST)
        part = tmp_path / name / ".prepare"
        shutil.copy(part / "settings.json", store)
        with (store / "journal.jsonl").open("ab") as journal:
            journal.write((part / "journal.jsonl").read_bytes())
        shutil.copytree(part / "crops", store / "crops", copy_function=os.link, dirs_exist_ok=True)

    result = run_cli("prepare", photos, "--output", tmp_path / "all", *FAST)
    assert result.exit_code == 3
    assert "27 of 27 files were done before" in result.stderr
    assert read_manifest(tmp_path / "all").rows == read_manifest(tmp_path / "whole").rows
    parquet = [(tmp_path / name / "manifest.parquet").read_bytes() for name in ("all", "whole")]
    assert parquet[0] == parquet[1]

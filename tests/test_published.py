"""Figures that the documentation prints: they follow from the scores in the repository, by one command."""

import json
import re
import sys
from pathlib import Path

import pytest

from faceauth.evaluation.document_text import format_table, format_value

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
COMMAND = re.compile(r"^faceauth (evaluate --scores docs/scores/\S+ .*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def rederived(run_cli, tmp_path_factory):
    """What the command that stands in the documentation gives."""
    words = COMMAND.search(PAGE).group(1).split()
    words[words.index("--scores") + 1] = str(ROOT / words[words.index("--scores") + 1])
    words[words.index("--output") + 1] = str(tmp_path_factory.mktemp("rederived"))
    done = run_cli(*words, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_every_auroc_of_the_published_table_comes_out_again(rederived):
    made = {
        f"| {row.folder} | {row.value} | {row.interval} | {row.faces} |"
        for row in format_table(rederived)
        if row.metric == "auroc"
    }
    published = set(re.findall(r"^\| .* \| .* \| .* \| \d+ real, \d+ fake \|$", PAGE, re.MULTILINE))
    assert published == made


def test_every_published_threshold_comes_out_again_with_what_it_does(rederived):
    def rate(measured):
        return f"{format_value(measured['value'])} ({' to '.join(map(format_value, measured['ci95']))})"

    for facts in rederived["thresholds"]:
        bounds = " to ".join(map(format_value, facts["ci95"])) if facts["ci95"] else ""
        rates = f"{rate(facts['recall_fake'])} | {rate(facts['recall_real'])}"
        row = f"| `{facts['rule']}` | {format_value(facts['value'])} | {bounds} | {rates} |"
        assert row in PAGE, row


def test_the_embedded_detectors_figures_follow_from_the_scores_in_the_repository():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from embedded_figures import derive, format_figures
    finally:
        sys.path.pop(0)
    page = (ROOT / "docs" / "embedded.md").read_text("utf-8")
    document = derive(ROOT / "docs" / "scores" / "embedded.parquet", own={"stylegan": ("ffhq",)})
    assert format_figures(document) in page


def test_what_becomes_of_sources_left_out_follows_from_the_table_in_the_repository():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from unknown_figures import derive, format_figures
    finally:
        sys.path.pop(0)
    page = (ROOT / "docs" / "embedded.md").read_text("utf-8")
    assert format_figures(derive(ROOT / "docs" / "scores" / "unknown.parquet")) in page

"""What a checkpoint folder from a stranger can and cannot do, and what saving again keeps."""

import json

import pytest
from test_detectors import save, tiny

from faceauth.detectors.checkpoint import load_checkpoint
from faceauth.detectors.folder import TEST_READS_NAME
from faceauth.errors import DetectorError


def change(path, edit):
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content), "utf-8")


def test_code_in_a_checkpoint_folder_is_never_run(tmp_path):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    witness = tmp_path / "it-ran"
    (folder / "stranger.py").write_text(f"open({str(witness)!r}, 'w').close()\n", "utf-8")
    code = {"AutoConfig": "stranger.Config", "AutoModelForImageClassification": "stranger.Model"}
    change(folder / "config.json", lambda config: config.update(auto_map=code, model_type="stranger"))
    with pytest.raises(DetectorError):
        load_checkpoint(folder)
    assert not witness.exists()


@pytest.mark.parametrize(("part", "key"), [("threshold", "value"), ("metrics", "auroc")])
def test_a_card_that_lacks_what_evaluate_needs_says_which(tmp_path, part, key):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    change(folder / "faceauth.json", lambda card: card[part].pop(key))
    with pytest.raises(DetectorError, match=f"lacks '{key}'"):
        load_checkpoint(folder)


def test_better_weights_do_not_undo_that_the_test_split_was_read(tmp_path):
    folder = save(tiny("vit"), tmp_path / "checkpoint")
    (folder / TEST_READS_NAME).write_text('{"who": "me"}\n', "utf-8")
    save(tiny("vit"), folder)
    assert (folder / TEST_READS_NAME).read_text("utf-8") == '{"who": "me"}\n'

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from faceauth.config import find_config, load_config, write_config
from faceauth.errors import ConfigError
from faceauth.training.settings import TrainSettings

SHIPPED = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@dataclass(frozen=True)
class Inner:
    rate: float = field(default=0.1, metadata={"min": 0.0, "max": 1.0})
    name: Literal["sgd", "adamw"] = "sgd"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    epochs: int = field(default=10, metadata={"min": 1})
    title: str = "none"
    loud: bool = False
    sources: tuple[str, ...] | None = None
    chances: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def yaml_file(tmp_path):
    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_a_file_beats_defaults_and_overrides_beat_the_file(yaml_file):
    file = yaml_file("epochs: 3\ninner: {rate: 0.2}\n")
    loaded = load_config(Outer, file, ["inner.rate=0.3", "inner.rate=0.4"])
    assert (loaded.title, loaded.epochs, loaded.inner.rate) == ("none", 3, 0.4)
    assert load_config(Outer, None) == Outer()
    assert load_config(Outer, yaml_file("# nothing\n")) == Outer()


@pytest.mark.parametrize("text", ["inner: {rate: 1e-4}", "inner: {rate: '1e-4'}", "inner: {rate: 0.0001}"])
def test_numbers_are_numbers_however_yaml_reads_them(yaml_file, text):
    assert load_config(Outer, yaml_file(text)).inner.rate == 1e-4
    assert load_config(Outer, None, ["inner.rate=1e-4"]).inner.rate == 1e-4


def test_lists_mappings_and_null_are_taken(yaml_file):
    loaded = load_config(Outer, yaml_file("sources: [a, b]\nchances: {flip: 1}\noptions: {deep: [1, x]}\n"))
    assert loaded.sources == ("a", "b")
    assert loaded.chances == {"flip": 1.0}
    assert loaded.options == {"deep": [1, "x"]}
    assert load_config(Outer, None, ["sources=null"]).sources is None


def test_all_errors_are_reported_at_once_and_name_the_close_match(yaml_file):
    file = yaml_file(
        "epoch: 3\nloud: 5\ninner: {rat: 0.5, rate: 2, name: adam}\n"
        "chances: {flip: often}\nsources: [a, [b]]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, file)
    message = str(caught.value)
    for part in ("'epoch' is no setting. Did you mean 'epochs'?", "'inner.rat'", "Did you mean 'rate'?"):
        assert part in message
    assert "'inner.rate' is 2, but must be at most 1.0" in message
    assert "'inner.name' is 'adam', but must be one of 'sgd', 'adamw'" in message
    assert "'loud' is 5, but must be true or false" in message
    assert "'chances.flip' is 'often', but must be a number" in message
    assert "'sources[1]' is ['b'], but must be a text" in message
    assert str(file) in message


@pytest.mark.parametrize(
    "override",
    [
        "epochs=0",
        "epochs=2.5",
        "epochs=true",
        "epochs=.inf",
        "epochs=many",
        "inner.rate=.nan",
        "inner.rate=.inf",
        "inner.rate=-0.1",
        "inner.rate=null",
        "inner=3",
        "inner.rate.deep=1",
        "title=2024-02-30",
        "title=[1",
        "title=",
        "sources=abc",
        "sources={a: 1}",
        "chances=[1]",
        "chances={flip: often}",
        "epochs",
        "=3",
        "options=" + "[" * 5000,
    ],
)
def test_a_wrong_override_is_one_clear_error(override):
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, None, [override])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "title: !!python/object/apply:os.system ['true']",
        "!!python/object:builtins.object {}",
        "- a\n- b\n",
        "just text",
        "epochs: [1",
        "title: 2024-13-45",
        "? [a]\n: b\n",
    ],
)
def test_a_file_that_is_no_settings_is_refused(yaml_file, text):
    with pytest.raises(ConfigError):
        load_config(Outer, yaml_file(text))


def test_a_file_that_is_no_text_or_a_folder_is_refused(tmp_path):
    (tmp_path / "noise.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    for path in (tmp_path / "noise.yaml", tmp_path):
        with pytest.raises(ConfigError):
            load_config(Outer, path)


def test_aliases_that_grow_without_end_make_no_long_message(yaml_file):
    lines = ["chances:", "  a: &a [x, x, x, x, x, x, x, x, x]"]
    for old, new in ("ab", "bc", "cd", "de", "ef", "fg", "gh"):
        lines.append(f"  {new}: &{new} [{', '.join([f'*{old}'] * 9)}]")
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, yaml_file("\n".join(lines)))
    assert len(str(caught.value)) < 4000


def test_settings_survive_writing_and_reading(tmp_path):
    wanted = Outer(inner=Inner(rate=1e-5), sources=("a", "1"), title="nein: é", chances={"flip": 0.5})
    write_config(wanted, tmp_path / "kept.yaml")
    assert load_config(Outer, tmp_path / "kept.yaml") == wanted


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_loads_by_path_and_by_name(path, tmp_path):
    settings = load_config(TrainSettings, path)
    assert load_config(TrainSettings, path.stem) == settings
    written = yaml.safe_load(path.read_text("utf-8"))
    assert settings.detector.name == written["detector"]["name"]
    assert settings.optimizer.learning_rate == float(written["optimizer"]["learning_rate"])
    write_config(settings, tmp_path / "resolved.yaml")
    assert load_config(TrainSettings, tmp_path / "resolved.yaml") == settings


def test_there_are_shipped_configs_and_an_unknown_one_names_the_close_match():
    assert {"deit", "vit", "densenet", "quickstart"} <= {path.stem for path in SHIPPED}
    with pytest.raises(ConfigError, match="Did you mean 'deit'"):
        find_config("diet")


def test_a_probability_out_of_range_is_refused_in_train_settings():
    with pytest.raises(ConfigError, match="flip"):
        load_config(TrainSettings, None, ["data.augment.flip=1.5"])


def test_the_command_line_names_the_close_match_of_a_misspelt_setting(run_cli, tmp_path):
    result = run_cli("train", "--set", "optimiser.learning_rate=1", "--output", tmp_path / "run")
    assert result.exit_code == 2
    assert "Did you mean 'optimizer'?" in result.stderr
    assert result.stdout == ""

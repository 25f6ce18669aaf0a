"""Settings as frozen dataclasses, filled from a YAML file and then from `--set key=value`.

Every error is reported at once, with the close match of a misspelt key. A YAML file names values, never
code: nothing in it is imported or executed.
"""

import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from faceauth.errors import ConfigError, did_you_mean
from faceauth.files import whole_file

Settings = TypeVar("Settings")

# Values of a hostile file stay short in messages: aliases of aliases grow without end.
_brief = reprlib.Repr()
_brief.maxlevel = 2

_PACKAGE = Path(__file__).parent
# An installed package carries the shipped configs inside; a checkout has them beside the package.
_SHIPPED_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def load_config(
    kind: type[Settings], file: str | Path | None, overrides: list[str] | None = None
) -> Settings:
    """Builds settings from defaults, then a YAML file, then overrides.

    Args:
        kind: The dataclass to fill.
        file: A YAML file, or the name of a shipped config such as `deit`; None for the defaults.
        overrides: Texts such as `optimizer.learning_rate=1e-4`, the last one wins.

    Returns:
        The settings.

    Raises:
        ConfigError: The file cannot be read, or keys or values are wrong; all of them are listed.
    """
    tree: dict[str, Any] = {}
    place = "the settings"
    if file is not None:
        path = find_config(file)
        tree, place = _read_yaml(path), str(path)
    for override in overrides or []:
        key, equals, text = override.partition("=")
        flag = f"--set {override[:80]}"
        if not equals or not key.strip():
            raise ConfigError(f"{flag} is not of the form key=value.", "Such as: --set epochs=3")
        _put(tree, key.strip().split("."), _parse_yaml(text, flag), flag)
    problems: list[str] = []
    settings = _build(kind, tree, "", problems)
    if problems:
        raise ConfigError(f"{place}: " + " ".join(problems))
    assert settings is not None
    return settings


def find_config(name: str | Path) -> Path:
    """Finds a YAML file by path, or a shipped config by name.

    Raises:
        ConfigError: There is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = {found.stem: found for folder in _SHIPPED_FOLDERS for found in sorted(folder.glob("*.yaml"))}
    if (
        path.name in (path.stem, f"{path.stem}.yaml")
        and path.stem in shipped
        and path.parent in (Path(), Path("configs"))
    ):
        return shipped[path.stem]
    raise ConfigError(
        f"There is no config at {name}.",
        f"{did_you_mean(path.stem, sorted(shipped))} Shipped configs: {', '.join(sorted(shipped))}.",
    )


def write_config(settings: Any, path: Path) -> None:
    """Writes settings as YAML that `load_config` reads back."""
    with whole_file(path) as draft:
        draft.write_text(yaml.safe_dump(_plain(asdict(settings)), sort_keys=False), "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = _parse_yaml(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no settings.", "A config is made of lines such as 'epochs: 3'.")
    return tree


def _parse_yaml(text: str, place: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Dates such as 2024-02-30 are a ValueError, and endless brackets a RecursionError.
        raise ConfigError(f"{place} is no valid YAML: {' '.join(str(error).split())}") from error


def _put(tree: dict[str, Any], keys: list[str], value: Any, flag: str) -> None:
    for key in keys[:-1]:
        inner = tree.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{flag}: '{key}' holds a value, not further settings.")
        tree = inner
    tree[keys[-1]] = value


def _build(kind: type[Settings], tree: Any, prefix: str, problems: list[str]) -> Settings | None:
    if not isinstance(tree, dict):
        problems.append(f"'{prefix.rstrip('.')}' must hold further settings, not {_brief.repr(tree)}.")
        return None
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in known:
            problems.append(f"'{prefix}{key}' is no setting. {did_you_mean(str(key), list(known))}")
        else:
            values[key] = _convert(hints[key], value, known[key].metadata, f"{prefix}{key}", problems)
    for name, field in known.items():
        if name not in tree and field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"'{prefix}{name}' is not given and has no default.")
    if problems:
        return None
    return kind(**values)


def _convert(hint: Any, value: Any, limits: Mapping[str, Any], key: str, problems: list[str]) -> Any:
    try:
        converted = _as_type(hint, value, key, problems)
    except (TypeError, ValueError, OverflowError):
        problems.append(f"'{key}' is {_brief.repr(value)}, but must be {_type_name(hint)}.")
        return None
    low, high = limits.get("min"), limits.get("max")
    if isinstance(converted, (int, float)) and not isinstance(converted, bool):
        if low is not None and converted < low:
            problems.append(f"'{key}' is {value}, but must be at least {low}.")
        if high is not None and converted > high:
            problems.append(f"'{key}' is {value}, but must be at most {high}.")
    return converted


def _as_type(hint: Any, value: Any, key: str, problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _as_type(next(a for a in arguments if a is not type(None)), value, key, problems)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(value)
        return value
    if is_dataclass(hint):
        return _build(hint, value, f"{key}.", problems)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(value)
        return tuple(
            _convert(arguments[0], item, {}, f"{key}[{i}]", problems) for i, item in enumerate(value)
        )
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise TypeError(value)
        inner = arguments[1] if arguments else Any
        return {
            str(name): _convert(inner, item, {}, f"{key}.{name}", problems) for name, item in value.items()
        }
    if hint is Any:
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise TypeError(value)
        return value
    if value is None or isinstance(value, (bool, dict, list)):
        raise TypeError(value)
    if hint is int and isinstance(value, float) and value != int(value):
        raise ValueError(value)
    # YAML reads 1e-4 as text; the type of the field decides.
    converted = hint(value)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError(value)
    return converted


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(argument) for argument in typing.get_args(hint))
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint in names:
        return names[hint]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [_type_name(a) for a in typing.get_args(hint) if a is not type(None)]
        return " or ".join([*inner, "null"])
    return {tuple: "a list", dict: "a mapping"}.get(typing.get_origin(hint) or hint, str(hint))

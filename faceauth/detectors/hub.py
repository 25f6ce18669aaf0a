"""Detectors on the Hugging Face hub: found by id, pinned to a revision, and never run as code.

`--model org/name` or `org/name@revision`, where no such folder lies here. Only files that a checkpoint folder
has are fetched, by their exact names, so that nothing lands outside the hub's cache. What could make
transformers or timm run or fetch something else is refused before any weights are loaded.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from faceauth.detectors.folder import CARD_NAME, CONFIG_NAME, PACKED_NAME, PIXELS_NAME, WEIGHTS_NAME
from faceauth.errors import DetectorError, FaceAuthError, InputError
from faceauth.files import read_json

log = logging.getLogger(__name__)

# What a detector on the hub consists of; nothing else is fetched or uploaded.
HUB_TEXTS = (CARD_NAME, CONFIG_NAME, PIXELS_NAME, "README.md", "train_config.yaml", "export.json")
HUB_WEIGHTS = (WEIGHTS_NAME, PACKED_NAME)
HUB_NAMES = (*HUB_TEXTS, *HUB_WEIGHTS)

# In a config these make transformers or timm run what a repository holds, or open a file that it names.
FORBIDDEN_KEYS = frozenset(
    {
        "auto_map",
        "custom_pipelines",
        "attn_implementation",
        "_attn_implementation",
        "experts_implementation",
        "quantization_config",
        "checkpoint_path",
        "pretrained",
    }
)

_NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?P<repo_id>{_NAME}/{_NAME})(?:@(?P<revision>[\w][\w./-]*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the hub.

    Attributes:
        repo_id: Owner and name, as `org/name`.
        revision: A commit, tag or branch; None for the newest.
    """

    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id


def parse_hub_id(model: Path) -> HubModel | None:
    """Reads what `--model` names as an id of the hub.

    Args:
        model: A name as the user wrote it.

    Returns:
        None if it is no such id, something of that name lies here, or it begins with a folder that does: then
        a path was meant, and nobody else need know of it.
    """
    if model.exists() or (model.parts and Path(model.parts[0]).exists()):
        return None
    return parse_hub_name(model.as_posix())


def parse_hub_name(name: str) -> HubModel | None:
    """Reads `org/name` or `org/name@revision`; None if it is neither."""
    found = _HUB_ID.fullmatch(name)
    return HubModel(found["repo_id"], found["revision"]) if found else None


@cache
def fetch_checkpoint(model: HubModel) -> Path:
    """Fetches a checkpoint folder from the hub, or takes it from the hub's cache.

    Asked again in the same process it is the same folder, whatever becomes of the repository meanwhile.

    Args:
        model: Which.

    Returns:
        The folder in the hub's cache.

    Raises:
        DetectorError: The hub cannot be reached, has no such model or revision, or what it has is no
            checkpoint folder, or not one that is safe to load.
    """
    # The small files first: nobody wants to wait for the weights of something that cannot be used.
    folder = _snapshot(model, HUB_TEXTS)
    for name in (CARD_NAME, CONFIG_NAME):
        if not (folder / name).is_file():
            raise DetectorError(
                f"{model} on the hub is no detector of FaceAuth: it has no {name}.",
                "Only checkpoint folders of `faceauth train` and `faceauth export` can be used.",
            )
    for name in (CONFIG_NAME, PIXELS_NAME):
        if (folder / name).is_file():
            refuse_what_could_run(folder / name)
    pinned = HubModel(model.repo_id, folder.name)
    _snapshot(pinned, HUB_NAMES)
    if not any((folder / name).is_file() for name in HUB_WEIGHTS):
        raise DetectorError(
            f"{model} on the hub has no weights: neither {' nor '.join(HUB_WEIGHTS)}.",
            "Weights are read as safetensors alone.",
        )
    if model != pinned:
        log.info("detector %s is %s", model, pinned)
    return folder


def refuse_what_could_run(config: Path) -> None:
    """Refuses a config that names code to run, kernels to fetch or files to open.

    Args:
        config: The `config.json` or `preprocessor_config.json` of a stranger.

    Raises:
        DetectorError: It does, or it is no JSON object.
    """
    hint = "FaceAuth writes no such config. Do not use this model."
    try:
        content = read_json(config)
    except InputError as error:
        raise DetectorError(f"{config.name} of the model cannot be read: {error.message}", hint) from error
    if not isinstance(content, dict):
        raise DetectorError(f"{config.name} of the model is no JSON object.", hint)
    pending: list[Any] = [content]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            if found := sorted(FORBIDDEN_KEYS & {key for key, value in part.items() if value is not None}):
                raise DetectorError(f"{config.name} of the model has the key '{found[0]}'.", hint)
            pending += part.values()
    architecture = content.get("architecture", "")
    # timm takes names with such signs for places to load from.
    if not isinstance(architecture, str) or re.search(r"[:/\\]", architecture):
        raise DetectorError(f"{config.name} of the model has the architecture {architecture!r}.", hint)


@contextmanager
def bars_where_people_watch() -> Iterator[None]:
    """Silences the hub's progress bars where stderr is no terminal."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def hub_errors() -> tuple[type[Exception], ...]:
    """Returns what `huggingface_hub` raises for what is not there, not allowed or not reached."""
    from huggingface_hub import errors

    return (OSError, errors.HTTPError, errors.HFValidationError)


def hub_error(what: str, error: Exception, *, without_network: str) -> FaceAuthError:
    """Makes one message of an error of the hub.

    Args:
        what: What was to be done, as the beginning of a sentence: `org/name cannot be fetched`.
        error: What `huggingface_hub` raised.
        without_network: What to do where the hub cannot be reached.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return DetectorError(
            f"{what}: the hub has no such revision of it.", "Leave @revision out for the newest."
        )
    if isinstance(error, errors.GatedRepoError):
        return DetectorError(
            f"{what}: its owner gives access on request.", "Ask on its page, then: hf auth login"
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
        return DetectorError(
            f"{what}: the hub has no such model, or you are not logged in.",
            "Check the name; for what is yours or private, log in: hf auth login",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return DetectorError(
            f"{what}: the hub has no such model, or it is not yours to see.",
            "Check the name; a folder is given by its path, and `embedded` comes with the package.",
        )
    if status == 403:
        return DetectorError(
            f"{what}: your login may not do that.", "Give a token with write access: hf auth login"
        )
    unreachable = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HTTPError)
    if status is None and isinstance(error, unreachable):
        return DetectorError(f"{what}: the Hugging Face hub cannot be reached.", without_network)
    return DetectorError(f"{what}: {(str(error).splitlines() or [type(error).__name__])[0][:300]}")


def _snapshot(model: HubModel, names: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        with bars_where_people_watch():
            return Path(snapshot_download(model.repo_id, revision=model.revision, allow_patterns=list(names)))
    except hub_errors() as error:
        raise hub_error(
            f"There is no folder {model} here, and it cannot be fetched",
            error,
            without_network="Use --model embedded, or a folder that was fetched elsewhere: hf download.",
        ) from error

"""Uploads a checkpoint folder to the Hugging Face hub, without what is nobody else's business.

Files go by the names of `faceauth.detectors.hub.HUB_NAMES`; who read the test split, readings and manifests
stay here. Of the training's settings the paths are left out, and whatever else names a folder of this machine
stops the upload.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from faceauth.detectors.folder import find_weights
from faceauth.detectors.hub import (
    HUB_NAMES,
    HubModel,
    bars_where_people_watch,
    hub_error,
    hub_errors,
    parse_hub_name,
)
from faceauth.errors import DetectorError, UsageError

log = logging.getLogger(__name__)

README_NAME = "README.md"
# Settings of a training that are paths, by their place in `train_config.yaml`.
PATH_SETTINGS = (("data", "manifest"), ("data", "readings"), ("output",))

# A path that begins at the root, the home folder or a drive; not the middle of a word, URL or relative path.
_ABSOLUTE = re.compile(
    r"(?<![\w.:/~\\<-])(?:~[\w.-]*[/\\]|[A-Za-z]:[/\\]|file:/+|\\\\\w|/)[\w.~-]+[/\\][^\s'\"`,)]*"
)


@dataclass(frozen=True, slots=True)
class Upload:
    """What goes to the hub.

    Attributes:
        repo_id: Owner and name, as `org/name`.
        is_public: Whether everybody may see it.
        files: Name on the hub, and the file or its content.
    """

    repo_id: str
    is_public: bool
    files: dict[str, Path | bytes]

    def sizes(self) -> dict[str, int]:
        """Returns how many bytes each file has."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }


def plan_upload(checkpoint: Path, repo_id: str, *, is_public: bool = False) -> Upload:
    """Collects what would be uploaded of a checkpoint folder; nothing is sent.

    Args:
        checkpoint: The folder.
        repo_id: Where to, as `org/name`.
        is_public: Whether everybody may see it.

    Raises:
        UsageError: The id is none.
        DetectorError: The folder has no model card or no weights, or a file names a folder of this machine.
    """
    if parse_hub_name(repo_id) != HubModel(repo_id):
        raise UsageError(f"'{repo_id}' is no id of the hub.", "Give owner and name: --push-to-hub org/name")
    if not (checkpoint / README_NAME).is_file():
        raise DetectorError(
            f"{checkpoint} has no model card, {README_NAME}.",
            "`faceauth train` and `faceauth export` write one: a detector goes nowhere without its figures.",
        )
    weights = find_weights(checkpoint)
    if not weights.is_file():
        raise DetectorError(
            f"{checkpoint} has no weights: {weights.name} is missing.",
            "Only checkpoint folders and packed exports are pushed.",
        )
    files: dict[str, Path | bytes] = {}
    for name in HUB_NAMES:
        path = checkpoint / name
        if not path.is_file():
            continue
        if path == weights:
            files[name] = path
            continue
        content = _public_text(path)
        for place, value in _strings(path.name, content):
            if found := _ABSOLUTE.search(value):
                raise DetectorError(
                    f"{path} names a folder of this machine{place}: {found[0]}",
                    "Nothing was uploaded. Write something else there, if nobody else should know.",
                )
        files[name] = content.encode("utf-8")
    return Upload(repo_id, is_public, files)


def upload_files(upload: Upload) -> str:
    """Uploads in one commit, with the login of `hf auth login`.

    The repository is made where there is none. Files of ours that lie there and are not part of the upload,
    such as weights in another format, are removed; all else stays.

    Args:
        upload: What `plan_upload` collected.

    Returns:
        The URL of the commit.

    Raises:
        DetectorError: The hub cannot be reached or refuses, or the repository is public and the upload is
            not.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(library_name="faceauth")
    try:
        api.create_repo(upload.repo_id, private=not upload.is_public, exist_ok=True)
        there = api.model_info(upload.repo_id)
        if not upload.is_public and not there.private:
            raise DetectorError(
                f"{upload.repo_id} is there and public.",
                "Add --public, or give another name. Nothing was uploaded.",
            )
        if upload.is_public and there.private:
            log.warning("%s is there and stays private; its page can change that", upload.repo_id)
        stale = {file.rfilename for file in there.siblings or ()} & set(HUB_NAMES) - set(upload.files)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(name, content) for name, content in upload.files.items()),
            *(CommitOperationDelete(name) for name in sorted(stale)),
        ]
        with bars_where_people_watch():
            commit = api.create_commit(
                upload.repo_id, operations, commit_message="A detector of FaceAuth", parent_commit=there.sha
            )
    except hub_errors() as error:
        raise hub_error(
            f"{upload.repo_id} cannot be uploaded", error, without_network="Try again with a network."
        ) from error
    return str(commit.commit_url)


def _public_text(path: Path) -> str:
    """Returns a text file without the settings that are paths of this machine."""
    text = path.read_text("utf-8")
    if path.name == "train_config.yaml":
        settings = yaml.safe_load(text)
        for place in PATH_SETTINGS:
            _forget(settings, place)
        return yaml.safe_dump(settings, sort_keys=False)
    if path.name == "export.json":
        facts = json.loads(text)
        _forget(facts, ("source",))
        return json.dumps(facts, indent=2) + "\n"
    return text


def _forget(settings: Any, place: tuple[str, ...]) -> None:
    for key in place[:-1]:
        settings = settings.get(key) if isinstance(settings, dict) else None
    if isinstance(settings, dict):
        settings.pop(place[-1], None)


def _strings(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yields every string of a file, with words on where it stands."""
    if not name.endswith((".json", ".yaml")):
        yield from ((f" in line {number}", line) for number, line in enumerate(text.splitlines(), 1))
        return
    pending: list[tuple[str, Any]] = [
        ("", json.loads(text) if name.endswith(".json") else yaml.safe_load(text))
    ]
    while pending:
        place, part = pending.pop()
        if isinstance(part, dict):
            if "float16" in part:
                # A table of numbers in Base64, in which any text may stand.
                continue
            pending += [(f"{place}.{key}" if place else str(key), value) for key, value in part.items()]
        elif isinstance(part, list):
            pending += [(place, value) for value in part]
        elif isinstance(part, str):
            yield f" at {place}", part

"""`faceauth export --push-to-hub`: a checkpoint folder on the Hugging Face hub."""

from pathlib import Path
from typing import Any

from faceauth.detectors.hub_upload import plan_upload, upload_files


def push(checkpoint: Path, repo_id: str, *, is_public: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Uploads a checkpoint folder, or says what would be uploaded.

    Args:
        checkpoint: The folder.
        repo_id: Where to, as `org/name`.
        is_public: Whether everybody may see it.
        dry_run: Send nothing.

    Returns:
        `repo_id`, `public`, `files`: bytes of each by name, and `commit_url`, null for a dry run.

    Raises:
        FaceAuthError: The folder cannot be uploaded as it is, or the hub does not take it.
    """
    upload = plan_upload(checkpoint, repo_id, is_public=is_public)
    return {
        "repo_id": repo_id,
        "public": is_public,
        "files": upload.sizes(),
        "commit_url": None if dry_run else upload_files(upload),
    }


def describe_push(document: dict[str, Any]) -> list[str]:
    """Says in lines what was uploaded, or would be.

    Args:
        document: What `push` returned.
    """
    done = "pushed" if document["commit_url"] else "would be pushed"
    who = "everybody" if document["public"] else "its owner alone"
    files = [f"  {name}  {n_bytes:,} bytes" for name, n_bytes in document["files"].items()]
    return [f"{done} to {document['repo_id']}, for {who}:", *files, *filter(None, [document["commit_url"]])]

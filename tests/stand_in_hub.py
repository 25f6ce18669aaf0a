"""A Hugging Face hub on 127.0.0.1: as much of its HTTP interface as fetching and uploading a model takes."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """A model on the hub.

    Attributes:
        commits: Commit and its files, the newest last.
        is_private: Whether only its owner sees it.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    is_private: bool = False

    def commit(self, files: dict[str, bytes]) -> str:
        """Adds a commit with these files, and returns its name."""
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[name] = files
        return name

    def resolve(self, revision: str) -> str | None:
        """Returns the commit of a revision, None if there is none."""
        if revision == "main" and self.commits:
            return list(self.commits)[-1]
        return revision if revision in self.commits else None


class StandInHub:
    """The server; `asked` holds method and path of every request."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str]] = []
        self.token: str | None = "hf_owner"
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                hub.asked.append((self.command, unquote(self.path)))
                answer = hub.answer(
                    self.command,
                    unquote(urlsplit(self.path).path).strip("/").split("/"),
                    self.rfile.read(length),
                    is_owner=self.headers.get("Authorization") == f"Bearer {hub.token}",
                )
                status, headers, body = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = _answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes], *, is_private: bool = False) -> str:
        """Puts a commit into a repository, which is made where there is none; returns the commit."""
        repository = self.repositories.setdefault(repo_id, Repository(is_private=is_private))
        return repository.commit(dict(files))

    def answer(
        self, method: str, path: list[str], body: bytes, *, is_owner: bool
    ) -> tuple[int, dict[str, str], bytes]:
        """Answers a request with status, headers and body."""
        match path:
            case ["api", "repos", "create"]:
                return self._create(json.loads(body), is_owner=is_owner)
            case ["api", "validate-yaml"]:
                return _json({"errors": [], "warnings": []})
            case ["api", "models", org, name, *rest] | [org, name, *rest]:
                return self._of_repository(f"{org}/{name}", rest, body, is_owner=is_owner)
        return _json({"error": "Not Found"}, 404)

    def _create(self, asked: dict, *, is_owner: bool) -> tuple[int, dict[str, str], bytes]:
        repo_id = f"{asked['organization']}/{asked['name']}"
        if not is_owner:
            return _json({"error": "Invalid username or password."}, 401)
        if repo_id in self.repositories:
            return _json(
                {"url": f"{self.url}/{repo_id}", "error": "You already created this model repo"}, 409
            )
        is_private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.add(repo_id, {".gitattributes": b""}, is_private=is_private)
        return _json({"url": f"{self.url}/{repo_id}"})

    def _of_repository(
        self, repo_id: str, rest: list[str], body: bytes, *, is_owner: bool
    ) -> tuple[int, dict[str, str], bytes]:
        repository = self.repositories.get(repo_id)
        if repository is None or (repository.is_private and not is_owner):
            return _json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        action, *of_it = rest or ["revision"]
        revision, *name = of_it or ["main"]
        commit = repository.resolve(revision)
        if commit is None:
            return _json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = repository.commits[commit]
        if action == "revision":
            siblings = [{"rfilename": file} for file in files]
            facts = {"id": repo_id, "sha": commit, "private": repository.is_private, "siblings": siblings}
            return _json(facts)
        if action == "tree":
            return _json(
                [
                    {"type": "file", "path": file, "size": len(content), "oid": _etag(content)}
                    for file, content in files.items()
                ]
            )
        if action == "resolve":
            content = files.get("/".join(name))
            if content is None:
                return _json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return 200, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": commit}, content
        if not is_owner:
            return _json({"error": "Forbidden"}, 403)
        if action == "preupload":
            asked = json.loads(body)["files"]
            return _json(
                {
                    "files": [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for file in asked
                    ]
                }
            )
        assert action == "commit", rest
        kept = dict(files)
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del kept[line["value"]["path"]]
        made = repository.commit(kept)
        url = f"{self.url}/{repo_id}/commit/{made}"
        return _json({"success": True, "commitOid": made, "commitUrl": url, "hookOutput": ""})


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None):
    return status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(content).encode()


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()

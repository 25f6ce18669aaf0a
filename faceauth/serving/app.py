"""The application: the page, and `POST /predict`, `/models` and `/health` with their OpenAPI schema."""

import asyncio
import importlib.util
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

import faceauth
from faceauth.errors import FaceAuthError
from faceauth.intake.rows import UNREADABLE
from faceauth.memory import give_back_memory
from faceauth.serving.answers import (
    ErrorAnswer,
    HealthAnswer,
    HeatMap,
    LimitsAnswer,
    Model,
    ModelsAnswer,
    PredictAnswer,
)
from faceauth.serving.heat import HeatMaker
from faceauth.serving.limits import Limits, Room
from faceauth.serving.looking import Look
from faceauth.serving.refusals import RefusedError, error_json, too_busy
from faceauth.serving.team import Judged, Team
from faceauth.serving.uploads import Upload, receive_uploads
from faceauth.verdicts.verdict import WARNINGS, Verdict

log = logging.getLogger(__name__)

USUAL_FRAMES = 16
# What larger requests took is given back at once.
LARGE_BYTES = 4 * 2**20
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE = "page.html"
REFUSALS = {
    400: "The request broke off or is malformed.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    408: "The request was sent too slowly.",
    413: "The request, a picture or a frame is too large.",
    415: "The file is neither a picture nor a video.",
    421: "The server is not known by that name.",
    422: "The file cannot be read, or a parameter is out of range.",
    503: "The server is busy; `Retry-After` says when to ask again.",
}
_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "array", "items": _BINARY}}}
            },
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}


def make_app(team: Team, limits: Limits, model: Model, heat: HeatMaker | None = None) -> FastAPI:
    """Puts the application together.

    Args:
        team: Who does the work; started and stopped by whoever runs the application.
        limits: The limits of the server.
        model: What the detector says of itself.
        heat: What makes heat maps; None if there are none of this detector.
    """
    app = FastAPI(
        title="FaceAuth",
        summary="Is this face real or machine-made?",
        version=faceauth.__version__,
        # Its own pages of documentation would fetch code from elsewhere.
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": ErrorAnswer, "description": text} for status, text in REFUSALS.items()},
    )
    room = Room(limits)
    about = ModelsAnswer(
        version=faceauth.__version__,
        models=[model],
        limits=LimitsAnswer(
            **{name: value for name, value in asdict(limits).items() if name in LimitsAnswer.model_fields}
        ),
        can={"videos": can_read_videos(), "heatmap": heat is not None},
        warnings=WARNINGS,
    )
    _answer_errors(app)
    _serve_page(app)

    @app.get("/health")
    async def health() -> HealthAnswer:
        """Says that the server works."""
        return HealthAnswer(status="ok", waiting=room.n_waiting)

    @app.get("/models")
    async def models() -> ModelsAnswer:
        """Describes the detector and the limits of this server."""
        return about

    @app.post("/predict", response_model=PredictAnswer, openapi_extra=_BODY)
    async def predict(
        request: Request,
        frames: Annotated[
            int,
            Query(
                ge=1, le=limits.max_frames, description="Frames that are taken of each video, at even times."
            ),
        ] = min(USUAL_FRAMES, limits.max_frames),
        heatmap: Annotated[
            bool, Query(description="Also say where in the faces of pictures it sees what speaks for fake.")
        ] = False,
    ) -> Response:
        """Judges every face of pictures and short videos, sent as a form or as the bytes of one file."""
        started = time.monotonic()
        if heatmap and heat is None:
            raise RefusedError(422, "Heat maps cannot be made of this detector.", "Ask without heatmap.")
        with room.sending() as claim:
            uploads = await receive_uploads(request, limits, claim)
            with room.waiting():
                judged = await _unless_gone(
                    request,
                    _judge_all(team, uploads, frames, heat if heatmap else None),
                    seconds=limits.seconds,
                )
        answer = _answer(uploads, judged, model.name)
        if claim.n_bytes > LARGE_BYTES:
            uploads.clear()
            give_back_memory()
        n_faces = sum(len(file["records"]) for file in answer["files"])
        log.info("%d files, %d records, %.2f s", len(judged), n_faces, time.monotonic() - started)
        return JSONResponse(answer)

    return app


def can_read_videos() -> bool:
    """Tells whether the package for videos is installed."""
    return importlib.util.find_spec("av") is not None


# What became of a file, and its heat maps.
Outcome = tuple[Judged, list[HeatMap]]


async def _judge_all(
    team: Team, uploads: list[Upload], n_frames: int, heat: HeatMaker | None
) -> list[Outcome | RefusedError]:
    async def judge(upload: Upload) -> Outcome | RefusedError:
        judged = await _judge_one(team, upload, n_frames)
        if isinstance(judged, RefusedError):
            return judged
        if heat is None or len(judged.seen.frames) > 1:
            return judged, []
        try:
            return judged, await asyncio.to_thread(heat.paint, judged)
        except FaceAuthError as error:
            return RefusedError(422, error.message, error.hint)

    return list(await asyncio.gather(*map(judge, uploads)))


async def _judge_one(team: Team, upload: Upload, n_frames: int) -> Judged | RefusedError:
    if isinstance(upload.kind, RefusedError):
        return upload.kind
    if not upload.kind.is_video:
        judged = await asyncio.wrap_future(team.submit(Look(upload.content)))
        return _refused(judged) or judged
    if not can_read_videos():
        return RefusedError(
            415, "This server cannot read videos.", "Install there: pip install 'faceauth[video]'"
        )
    # libav wants a file. It has a name of ours, and is gone before the answer is sent.
    with tempfile.TemporaryDirectory(prefix="faceauth-") as folder:
        path = Path(folder, f"video{upload.kind.suffix}")
        await asyncio.to_thread(path.write_bytes, upload.content)
        judged = await asyncio.wrap_future(team.submit(Look(b"", path, n_frames)))
    return _refused(judged) or judged


def _refused(judged: Judged) -> RefusedError | None:
    """Returns why a file has no verdict; None if it was read, whatever was in it."""
    if any(verdict.status != UNREADABLE for verdict in judged.verdicts):
        return None
    status = 413 if judged.seen.is_too_large else 422
    reason = judged.verdicts[0].reason
    return RefusedError(
        status,
        f"The file cannot be judged: {reason}.",
        "Send a smaller picture."
        if judged.seen.is_too_large
        else "Open it in another program and save it again.",
    )


def _answer(uploads: list[Upload], outcomes: list[Outcome | RefusedError], model: str) -> dict[str, Any]:
    refused = [outcome for outcome in outcomes if isinstance(outcome, RefusedError)]
    if len(refused) == len(outcomes):
        raise refused[0]
    files = [_file(upload, outcome) for upload, outcome in zip(uploads, outcomes, strict=True)]
    return {"model": model, "files": files}


def _file(upload: Upload, outcome: Outcome | RefusedError) -> dict[str, Any]:
    width = height = None
    note = ""
    maps: list[HeatMap] = []
    if isinstance(outcome, RefusedError):
        verdicts = [Verdict(upload.name, UNREADABLE, reason=outcome.message)]
    else:
        judged, maps = outcome
        verdicts = [replace(verdict, path=upload.name) for verdict in judged.verdicts]
        rows = [face.row for faces in judged.seen.frames for face in faces]
        width, height = next((row.width, row.height) for row in rows if row.status != UNREADABLE)
        note = judged.seen.note
    return {
        "name": upload.name,
        "is_video": not isinstance(upload.kind, RefusedError) and upload.kind.is_video,
        "width": width,
        "height": height,
        "note": note,
        "records": [verdict.to_json() for verdict in verdicts],
        "heat_maps": [one.model_dump() for one in maps],
    }


async def _unless_gone(request: Request, work: Awaitable[Any], *, seconds: int) -> Any:
    """Waits for work, and lets it go if the sender is gone or the time is over."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({doing, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        if gone.done():
            raise RefusedError(400, "The sender is gone.")
        raise too_busy(f"no answer within {seconds} s")
    finally:
        for task in (doing, gone):
            task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await doing


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _serve_page(app: FastAPI) -> None:
    folder = resources.files("faceauth.serving") / "assets"
    files = {file.name: file.read_bytes() for file in folder.iterdir()}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(files[PAGE], media_type=MEDIA_TYPES[".html"])

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=MEDIA_TYPES[Path(name).suffix])


def _answer_errors(app: FastAPI) -> None:
    """Makes every error the same JSON."""

    def refuse(error: RefusedError) -> Response:
        log.info("refused, %d: %s", error.status, error.message)
        return JSONResponse(error_json(error), error.status, headers=error.headers)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return refuse(error)

    async def wrong(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return refuse(
            RefusedError(422, f"The parameter '{first['loc'][-1]}' cannot be used: {first['msg']}.")
        )

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        hint = "There are /, /predict (POST), /models, /health and /openapi.json."
        return refuse(
            RefusedError(error.status_code, f"{error.detail}.", hint, headers=dict(error.headers or {}))
        )

    async def failed(request: Request, error: Exception) -> Response:
        mistake = FaceAuthError("The detector failed.", "The server's log says why.")
        return JSONResponse(error_json(mistake), 500)

    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        RefusedError: refused,
        RequestValidationError: wrong,
        HTTPException: unknown,
        Exception: failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)

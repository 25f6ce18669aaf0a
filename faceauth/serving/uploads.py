"""What comes in: the files of a request, in memory, within the limits, however slowly they are sent."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from faceauth.serving.kinds import Kind, kind_of
from faceauth.serving.limits import Claim, Limits, refuse_bytes
from faceauth.serving.refusals import RefusedError

# Without a single byte in so many seconds nobody is sending any more.
SILENCE_SECONDS = 10
MAX_NAME_CHARACTERS = 200
# Form fields that are no files; they are read and mean nothing.
MAX_FIELDS = 8


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request.

    Attributes:
        content: Its bytes.
        kind: What it is, by its first bytes; or why it is nothing that can be judged.
        name: What the sender calls it, for the answer alone; None if it has no name.
    """

    content: bytes
    kind: Kind | RefusedError
    name: str | None = None


async def receive_uploads(request: Request, limits: Limits, claim: Claim) -> list[Upload]:
    """Reads the files of a request.

    Args:
        request: `multipart/form-data` with files in fields of any names, or the bytes of one file.
        limits: The limits of the server.
        claim: Takes the bytes as they come in.

    Returns:
        The files, at least one.

    Raises:
        RefusedError: The request is too large, too slow or malformed, or has no file.
    """
    try:
        announced = int(request.headers.get("content-length", "0"))
    except ValueError:
        announced = 0
    refuse_bytes(announced, limits)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(415, "The request is compressed.", "Send it without Content-Encoding.")
    content_type = request.headers.get("content-type", "")
    try:
        if content_type.lower().startswith("multipart/"):
            return await _files_of_a_form(request, limits, claim)
        content = b"".join([chunk async for chunk in _chunks(request, limits, claim)])
    except ClientDisconnect as error:
        raise RefusedError(400, "The request broke off.", "Send it again.") from error
    return [_upload(content)]


class _InMemory(MultiPartParser):
    """Nothing of a form is ever written to a disk; `claim` bounds what it takes."""

    spool_max_size = 2**62


async def _files_of_a_form(request: Request, limits: Limits, claim: Claim) -> list[Upload]:
    parser = _InMemory(
        request.headers,
        _chunks(request, limits, claim),
        max_files=limits.max_files,
        max_fields=MAX_FIELDS,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        too_many = error.message.startswith("Too many files")
        message = f"The request has more than {limits.max_files} files." if too_many else error.message
        raise RefusedError(
            413 if too_many else 400, message, "Send files in a form: curl -F file=@photo.jpg"
        ) from error
    try:
        uploads = [
            _upload(await part.read(), (part.filename or "")[:MAX_NAME_CHARACTERS] or None)
            for _, part in form.multi_items()
            if isinstance(part, UploadFile)
        ]
    finally:
        await form.close()
    if not uploads:
        raise RefusedError(422, "The form holds no file.", "Send one: curl -F file=@photo.jpg")
    return uploads


def _upload(content: bytes, name: str | None = None) -> Upload:
    try:
        return Upload(content, kind_of(content), name)
    except RefusedError as error:
        return Upload(b"", error, name)


async def _chunks(request: Request, limits: Limits, claim: Claim) -> AsyncGenerator[bytes, None]:
    n_bytes = 0
    stream = request.stream()
    end_s = time.monotonic() + limits.seconds
    while True:
        try:
            left_s = min(SILENCE_SECONDS, end_s - time.monotonic())
            chunk = await asyncio.wait_for(anext(stream, None), left_s)
        except TimeoutError as error:
            raise RefusedError(
                408,
                f"The request took longer than {limits.seconds} s, or nothing came for {SILENCE_SECONDS} s.",
                "Send a smaller file, or over a faster connection.",
                headers={"Connection": "close"},
            ) from error
        if chunk is None:
            return
        n_bytes += len(chunk)
        refuse_bytes(n_bytes, limits)
        claim.add(len(chunk))
        yield chunk

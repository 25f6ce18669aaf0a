"""Why a request gets no verdict: an HTTP status, a message and a hint, always as the same JSON."""

from typing import Any

from faceauth.errors import FaceAuthError

RETRY_AFTER_S = 2


class RefusedError(FaceAuthError):
    """A request that is not answered with a verdict.

    Args:
        status: The HTTP status.
        message: What was wrong, with the value.
        hint: What is allowed, or what to do next.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, message: str, hint: str | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = headers or {}


def too_busy(why: str) -> RefusedError:
    """Returns the refusal of a request that would be welcome later.

    Args:
        why: What there is too much of, for people.
    """
    return RefusedError(
        503,
        f"The server is busy: {why}.",
        f"Ask again in {RETRY_AFTER_S} seconds.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def error_json(error: FaceAuthError) -> dict[str, Any]:
    """Returns an error in the shape that the whole of FaceAuth uses."""
    return {"error": {"message": error.message, "hint": error.hint}}

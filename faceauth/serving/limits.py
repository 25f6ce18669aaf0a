"""What a request may ask for, and how much may wait at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faceauth.serving.refusals import RefusedError, too_busy

# Requests whose bytes are on their way, for each one that may wait for its verdict.
SENDERS_FOR_EACH_WAITING = 4
# Bytes that all requests together may hold, for each byte that one may bring.
REQUESTS_IN_MEMORY = 8


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        max_bytes: Largest body of a request in bytes, all its files together.
        max_pixels: Largest picture, and largest frame of a video, in pixels.
        max_frames: Most frames that are taken of a video.
        max_files: Most files in one request.
        seconds: For sending a request, and again for its answer.
        max_waiting: Most requests that wait for their answer at once.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 50_000_000
    max_frames: int = 32
    max_files: int = 16
    seconds: int = 60
    max_waiting: int = 128


class Room:
    """Counts what is held in memory for requests, and refuses what has no room; of one thread alone.

    Args:
        limits: The limits of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._n_sending = 0
        self._n_waiting = 0
        self._n_bytes = 0

    @property
    def n_waiting(self) -> int:
        """Requests that wait for their answer."""
        return self._n_waiting

    @contextmanager
    def sending(self) -> Iterator["Claim"]:
        """Holds a place for a request whose bytes are on their way, and all that it brings until the end.

        Raises:
            RefusedError: There is no place.
        """
        if (
            self._n_waiting >= self._limits.max_waiting
            or self._n_sending >= SENDERS_FOR_EACH_WAITING * self._limits.max_waiting
        ):
            raise too_busy("as many requests wait as may")
        claim = Claim(self)
        self._n_sending += 1
        try:
            yield claim
        finally:
            self._n_sending -= 1
            self._n_bytes -= claim.n_bytes

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Holds a place for a request that has come in and waits for its answer.

        Raises:
            RefusedError: There is no place.
        """
        if self._n_waiting >= self._limits.max_waiting:
            raise too_busy("as many requests wait as may")
        self._n_waiting += 1
        try:
            yield
        finally:
            self._n_waiting -= 1

    def take(self, n_bytes: int) -> None:
        """Makes room for bytes that have come in.

        Raises:
            RefusedError: There is none.
        """
        if self._n_bytes + n_bytes > REQUESTS_IN_MEMORY * self._limits.max_bytes:
            raise too_busy("the memory for uploads is full")
        self._n_bytes += n_bytes


class Claim:
    """What one request holds of a room.

    Args:
        room: The room.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.n_bytes = 0

    def add(self, n_bytes: int) -> None:
        """Adds bytes that have come in.

        Raises:
            RefusedError: There is no room for them.
        """
        self._room.take(n_bytes)
        self.n_bytes += n_bytes


def refuse_bytes(n_bytes: int, limits: Limits) -> None:
    """Refuses a request that is larger than allowed.

    Raises:
        RefusedError: It has more bytes than `max_bytes`.
    """
    if n_bytes > limits.max_bytes:
        raise RefusedError(
            413,
            f"The request is larger than {limits.max_bytes / 2**20:g} MiB.",
            "Send a smaller file, or start the server with a larger --max-mb.",
        )

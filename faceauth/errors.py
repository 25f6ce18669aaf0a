"""What a user can do wrong, as exceptions that say how to put it right.

Every error that reaches a user derives from `FaceAuthError`. The command line prints its message and
hint, never a traceback, and leaves with its exit code.
"""

from difflib import get_close_matches


class FaceAuthError(Exception):
    """Something a user can mend.

    Args:
        message: What was wrong, with the value.
        hint: What is allowed, or what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class UsageError(FaceAuthError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or a `--set` has unknown keys or values out of range."""


class UnknownNameError(UsageError):
    """A name that no registry holds."""


class InputError(FaceAuthError):
    """Images, folders or tables that cannot be used as they are."""


class InUseError(FaceAuthError):
    """What another process is working on at this moment."""


class ManifestError(InputError):
    """A manifest that is missing, incomplete or contradicts itself."""


class DetectorError(FaceAuthError):
    """A detector that cannot be built or loaded."""


class TrainingError(FaceAuthError):
    """A training run that cannot start or go on."""


class MissingExtraError(FaceAuthError):
    """An optional package is needed and not installed."""


def did_you_mean(name: str, known: list[str]) -> str:
    """Names the close match of a misspelt name, or lists what there is.

    Args:
        name: What the user wrote.
        known: What would have been understood.

    Returns:
        One sentence for an error's hint.
    """
    matches = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if matches:
        return f"Did you mean '{matches[0]}'?"
    return f"Known: {', '.join(known) or 'none'}."

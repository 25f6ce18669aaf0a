"""`faceauth serve`: from options to a server that runs until it is stopped."""

import importlib.util
import logging
from dataclasses import dataclass, field
from pathlib import Path

from faceauth.errors import MissingExtraError, UsageError
from faceauth.intake.pipeline.workers import usable_cores
from faceauth.runtimes.choose import open_network
from faceauth.runtimes.network import ONNX_SUFFIX
from faceauth.serving.limits import Limits
from faceauth.verdicts.judge import Judge

log = logging.getLogger(__name__)

LEAST_TOKEN_CHARACTERS = 8


@dataclass(frozen=True)
class ServeSettings:
    """How a server is run.

    Attributes:
        host: The address of this machine that it listens at.
        port: The port; 0 takes any that is free.
        model: A checkpoint or run folder, or `embedded`.
        is_crops: The pictures are face crops already, and no face is looked for.
        runtime: What runs the network; None for the fastest that can.
        device: A torch device for the network; None takes the best there is.
        workers: Processes that read pictures and find faces; None takes one a core.
        token: What requests must bring; None asks for nothing.
        allowed_hosts: Further names that the server may be called by.
        limits: What a request may ask for.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: str = "embedded"
    is_crops: bool = False
    runtime: str | None = None
    device: str | None = None
    workers: int | None = None
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


def serve(settings: ServeSettings) -> None:
    """Serves until Ctrl-C or SIGTERM; prints the address on stdout once it answers.

    Args:
        settings: How.

    Raises:
        MissingExtraError: A package that it needs is not installed.
        UsageError: The address is in use, the token is no token, or there is no such device.
        DetectorError: The detector cannot be loaded.
        KeyboardInterrupt: It was stopped by Ctrl-C.
        SystemExit: It was stopped by SIGTERM.
    """
    check_installed()
    from faceauth.serving.about import describe_model
    from faceauth.serving.app import make_app
    from faceauth.serving.guard import Guard, is_this_machine_only
    from faceauth.serving.heat import HeatMaker
    from faceauth.serving.server import address_of, ending_with_sigterm, listen, run_until_stopped
    from faceauth.serving.team import Team

    check_token(settings.token)
    with ending_with_sigterm(), listen(settings.host, settings.port) as listener:
        if settings.token is None and not is_this_machine_only(settings.host):
            log.warning(
                "%s can be reached from other machines, and asks for no token; --token sets one",
                settings.host,
            )
        network, card = open_network(settings.model, runtime=settings.runtime, device=settings.device)
        judge = Judge(network, card, name=settings.model, is_crops=settings.is_crops)
        model = describe_model(card, settings.model, is_searching=judge.is_searching)
        heat = None
        if Path(settings.model).suffix.lower() != ONNX_SUFFIX:
            heat = HeatMaker(settings.model, judge.crop, is_searching=judge.is_searching)
        team = Team(judge, settings.limits, workers=settings.workers or max(1, usable_cores()))
        try:
            team.start()
            log.info("%s, by %s; Ctrl-C ends it", judge.name, network.runs_on)
            app = Guard(
                make_app(team, settings.limits, model, heat),
                hosts=(settings.host, *settings.allowed_hosts),
                token=settings.token,
            )
            run_until_stopped(app, listener, when_ready=lambda: print(address_of(listener), flush=True))
        finally:
            team.stop()


def check_installed() -> None:
    """Makes sure that the packages of the extra are there.

    Raises:
        MissingExtraError: One is not.
    """
    missing = [
        name for name in ("fastapi", "uvicorn", "python_multipart") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise MissingExtraError(
            f"The server needs packages that are not installed: {', '.join(missing)}.",
            "Install them: pip install 'faceauth[serve]'",
        )


def check_token(token: str | None) -> None:
    """Makes sure that a token can be sent in a header and is no word that one guesses.

    Raises:
        UsageError: It cannot, or it is too short.
    """
    if token is None:
        return
    if len(token) < LEAST_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"The token has {len(token)} characters.",
            f"It needs at least {LEAST_TOKEN_CHARACTERS}, all of them ASCII, without spaces: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'",
        )

"""The verb that serves: serve.

What it does lives in `faceauth.verbs`. Heavy imports stand inside the function, so that help comes at once.
"""

from typing import Annotated

import typer

from faceauth.command import verb
from faceauth.options import Device, Quiet, Runtime


@verb
def serve(
    host: Annotated[str, typer.Option("--host", help="Address of this machine to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any that is free.")
    ] = 8000,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Checkpoint or run folder; or embedded, the one that comes with faceauth."
        ),
    ] = "embedded",
    no_detect: Annotated[
        bool, typer.Option("--no-detect", help="The pictures are face crops already: look for no faces.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="FACEAUTH_TOKEN",
            help="Requests must bring it; better in the environment, where no list of processes shows it.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", help="A further name that the server may be called by.", show_default=False
        ),
    ] = None,
    max_mb: Annotated[float, typer.Option("--max-mb", min=0.01, max=1024, help="Largest request, MiB.")] = 32,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", min=0.01, max=100, help="Largest picture or frame.")
    ] = 50,
    max_frames: Annotated[
        int, typer.Option("--max-frames", min=1, max=256, help="Most frames that are taken of a video.")
    ] = 32,
    max_seconds: Annotated[
        int, typer.Option("--max-seconds", min=1, max=3600, help="For sending a request, and for its answer.")
    ] = 60,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, max=1000, help="Most requests that wait; others get 503.")
    ] = 128,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=64,
            help="Processes that read pictures and find faces; one a core if not given.",
            show_default=False,
        ),
    ] = None,
    runtime: Runtime = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Serve a web page and an HTTP API that judge pictures and short videos.

    Example: faceauth serve --port 8000
    """
    from faceauth.serving.limits import Limits
    from faceauth.verbs.serve import ServeSettings, serve

    serve(
        ServeSettings(
            host=host,
            port=port,
            model=model,
            is_crops=no_detect,
            runtime=runtime,
            device=device,
            workers=workers,
            token=token,
            allowed_hosts=tuple(allow_host or ()),
            limits=Limits(
                max_bytes=int(max_mb * 2**20),
                max_pixels=int(max_megapixels * 1e6),
                max_frames=max_frames,
                seconds=max_seconds,
                max_waiting=max_waiting,
            ),
        )
    )

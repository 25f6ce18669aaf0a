"""What many tests share: simulated photographs and the command line, called in this process."""

import atexit
import logging
import os
import shutil
import tempfile

# Before torch is imported anywhere: no test may reach for the network, or for more than two cores.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MKL_NUM_THREADS", "2")
# Threads that wait for one another by spinning slow small models a hundredfold where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Converted networks of tests are no business of the user's cache.
os.environ["FACEAUTH_CACHE"] = tempfile.mkdtemp(prefix="faceauth-tests-")

import pytest
from hypothesis import settings
from typer.testing import CliRunner

settings.register_profile("faceauth", deadline=None)
settings.load_profile("faceauth")
atexit.register(shutil.rmtree, os.environ["FACEAUTH_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def sample_photos(tmp_path_factory):
    """Simulated portraits of four identities, four real and four fake each, with their `groups.csv`."""
    from faceauth.samples.sample_set import write_sample_set

    folder = tmp_path_factory.mktemp("photos") / "samples"
    return write_sample_set(folder, n_identities=4, shots_per_class=4, image_px=224, seed=7, workers=2)


@pytest.fixture(scope="session", autouse=True)
def _prepare_in_this_process():
    """Starting processes takes longer than the small jobs of tests; those about processes name a number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceauth.intake.pipeline.workers.usable_cores", lambda: 0)
        yield


@pytest.fixture(scope="session")
def run_cli():
    """A function that runs `faceauth` with its arguments and returns exit_code, stdout and stderr.

    What is not caught by the command line itself, a traceback to a user, fails the test.
    """
    from faceauth.cli import app

    def run(*arguments):
        logger = logging.getLogger("faceauth")
        before = logger.handlers, logger.propagate, logger.level
        try:
            return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)
        finally:
            # The handler writes to a stream that ends with the call.
            logger.handlers, logger.propagate, logger.level = before

    return run

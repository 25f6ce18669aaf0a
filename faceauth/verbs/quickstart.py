"""`faceauth quickstart`: the whole chain, from pictures to a report, in minutes and without a network."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceauth.clusters.embeddings import read_embeddings
from faceauth.config import load_config
from faceauth.console import progress
from faceauth.labels import TEST
from faceauth.report.whole_report import write_report
from faceauth.samples.sample_set import write_sample_set
from faceauth.train import train
from faceauth.training.settings import TrainSettings
from faceauth.verbs.embed import map_embeddings
from faceauth.verbs.evaluate import EMBEDDINGS_NAME, ScoringSettings, evaluate
from faceauth.verbs.prepare import PrepareSettings, prepare

log = logging.getLogger(__name__)

# Eight pictures of each: enough held-out people for an interval, little enough for two cores.
IDENTITIES = 80
SPLITS = (0.6, 0.15, 0.25)


@dataclass(frozen=True)
class Quickstart:
    """Where the chain's results are.

    Attributes:
        page: The report.
        metrics: The document of the test split's `metrics.json`.
        audit: The document of `audit.json`.
    """

    page: Path
    metrics: dict[str, Any]
    audit: dict[str, Any]


def quickstart(
    output: Path,
    *,
    photos: Path | None = None,
    config: str | Path = "quickstart",
    overrides: list[str] | None = None,
    workers: int = 2,
    seed: int = 0,
    overwrite: bool = False,
) -> Quickstart:
    """Prepares, trains, evaluates, embeds and reports. A run that was stopped goes on where it was.

    Args:
        output: Folder for everything; it gets `prepared/`, `run/`, `test/`, `clusters/` and `report/`.
        photos: Your own pictures, laid out as for `prepare`; None takes the embedded sample set.
        config: Of the training.
        overrides: `key=value` for the training.
        workers: Processes and threads beside the main one.
        seed: Of the sample set, the split and the training.
        overwrite: Begin anew.

    Returns:
        Where the report is, and the main figures.
    """
    settings = load_config(TrainSettings, config, overrides)
    source = photos
    if source is None:
        n_images = IDENTITIES * 8
        with progress("simulated portraits", n_images) as advance:
            source = write_sample_set(
                output / "samples",
                n_identities=IDENTITIES,
                seed=seed,
                workers=workers,
                progress=lambda *_: advance(1),
            )
        log.info(
            "%d simulated portraits are in %s: no photographs, and no measure of real generators",
            n_images,
            source,
        )
    prepared = prepare(
        [str(source)],
        output / "prepared",
        settings=PrepareSettings(balance="class", ratios=SPLITS, seed=seed, workers=workers),
        overwrite=overwrite,
    )
    settings = dataclasses.replace(
        settings,
        data=dataclasses.replace(settings.data, manifest=str(output / "prepared")),
        output=str(output / "run"),
        seed=seed,
    )
    train(settings, overwrite=overwrite)
    scoring = ScoringSettings(workers=settings.data.workers, seed=seed)
    run = output / "run"
    metrics = evaluate(run, output / "prepared", output / "test", split=TEST, settings=scoring)
    # The embeddings of the same pass: the test split is read once.
    embeddings = read_embeddings(output / "test" / EMBEDDINGS_NAME)
    map_embeddings(embeddings, output / "clusters", detector=settings.detector.name, seed=seed)
    page = write_report(
        [output / name for name in ("prepared", "run", "test", "clusters")],
        output / "report",
        crops_root=output / "prepared",
    )
    return Quickstart(page, metrics, prepared.audit.to_json())

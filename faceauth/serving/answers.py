"""The answers of the API, with types, so that its OpenAPI schema says what every field is."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from faceauth.verdicts.verdict import Verdict


class ErrorText(BaseModel):
    """What was wrong, and what to do."""

    message: str
    hint: str | None


class ErrorAnswer(BaseModel):
    """Every refusal, whatever its status."""

    error: ErrorText


class JudgedFile(BaseModel):
    """One picture or video."""

    name: Annotated[str | None, Field(description="What the sender called it; null if it had no name.")]
    is_video: bool
    width: Annotated[int | None, Field(description="Of the upright picture in pixels; null if it cannot be read.")]
    height: Annotated[int | None, Field(description="Of the upright picture in pixels.")]
    note: Annotated[str, Field(description="What to know of the file, mostly empty.")]
    records: Annotated[
        list[Verdict],
        Field(description="The records of `faceauth predict --json`, one a face, `path` being the name."),
    ]


class PredictAnswer(BaseModel):
    """The verdicts on all files of a request."""

    model: str
    files: list[JudgedFile]


class Threshold(BaseModel):
    """Where verdicts fall."""

    value: Annotated[float, Field(description="A face is called fake from this `p_fake` on.")]
    rule: str
    chosen_on: str | None


class Band(BaseModel):
    """Scores with which a face may be either: `low` up to, and without, `high`."""

    low: float
    high: float
    coverage: float | None


class Model(BaseModel):
    """What a detector says of itself."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    detector: Annotated[str, Field(description="Registered name of the architecture.")]
    threshold: Threshold
    unsure: Annotated[Band | None, Field(description="Null if the detector has no such band.")]
    is_calibrated: Annotated[bool, Field(description="Whether `p_fake` is a probability at even odds.")]
    generators: Annotated[list[str], Field(description="Generators that it learned from.")]
    named_generators: Annotated[list[str], Field(description="Generators that it can name.")]
    collections: Annotated[list[str], Field(description="Collections of reals that it learned from.")]
    auroc_val: Annotated[
        dict[str, Any] | None, Field(description="On val, which shares generators with training; value, ci95, n.")
    ]
    searches_faces: Annotated[bool, Field(description="False: pictures are face crops already.")]


class LimitsAnswer(BaseModel):
    """What a request may ask for."""

    max_bytes: int
    max_pixels: int
    max_frames: int
    max_files: int
    seconds: int


class ModelsAnswer(BaseModel):
    """The detectors of this server, and what it can do."""

    version: str
    models: list[Model]
    limits: LimitsAnswer
    can: Annotated[dict[str, bool], Field(description="`videos`: whether videos can be read.")]
    warnings: Annotated[dict[str, str], Field(description="What the warnings of records mean.")]


class HealthAnswer(BaseModel):
    """That the server works."""

    status: str
    waiting: Annotated[int, Field(description="Requests that wait for their answer.")]

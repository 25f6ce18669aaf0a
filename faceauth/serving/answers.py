"""The answers of the API, with types, so that its OpenAPI schema says what every field is."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class ErrorText(BaseModel):
    """What was wrong, and what to do."""

    message: str
    hint: str | None


class ErrorAnswer(BaseModel):
    """Every refusal, whatever its status."""

    error: ErrorText


class Moment(BaseModel):
    """What was said of a person at one time."""

    timestamp_s: float
    frame: int
    p_fake: float


class Record(BaseModel):
    """A face, a picture without one, or a person of a video; the record of `faceauth predict --json`."""

    path: Annotated[str | None, Field(description="What the sender called the file; null if it had no name.")]
    status: Annotated[str, Field(description="`ok`, `no_face`, `too_small` or `unreadable`.")]
    label: Annotated[str | None, Field(description="`fake` or `real`; null unless the status is `ok`.")]
    p_fake: Annotated[float | None, Field(description="Calibrated, in [0, 1].")]
    unsure: Annotated[bool | None, Field(description="Whether the face may be either.")]
    generator: Annotated[str | None, Field(description="Of a fake: a known generator, or `unknown`.")]
    generator_score: float | None
    box: Annotated[list[float] | None, Field(description="x1, y1, x2, y2 in pixels of the upright picture.")]
    p_face: Annotated[float | None, Field(description="How sure the face detector is, in [0, 1].")]
    frame: Annotated[int | None, Field(description="Index of the frame of a video.")]
    timestamp_s: Annotated[float | None, Field(description="When it is shown, in seconds from the start.")]
    reason: Annotated[str, Field(description="Why there is no verdict, or what to know; mostly empty.")]
    warnings: list[str]
    person: Annotated[int | None, Field(description="Number of the person within the video.")]
    heatmap: Annotated[str | None, Field(description="Null: `heat_maps` of the file holds them.")]
    kind: Annotated[str, Field(description="`face` or `person`.")]
    n_frames: Annotated[int | None, Field(description="Of a person: frames in which the face was judged.")]
    first_s: float | None
    last_s: float | None
    timeline: Annotated[list[Moment] | None, Field(description="Of a person: the scores as they are shown.")]


class HeatMap(BaseModel):
    """Where in a face the detector sees what speaks for fake."""

    record: Annotated[int, Field(description="Index of the face's record.")]
    square_xyxy: Annotated[
        tuple[int, int, int, int], Field(description="The part of the upright picture that it shows.")
    ]
    method: str
    summary: Annotated[str, Field(description="What the method does.")]
    png_base64: Annotated[str, Field(description="The crop with the heat painted on, a PNG file.")]


class JudgedFile(BaseModel):
    """One picture or video."""

    name: Annotated[str | None, Field(description="What the sender called it; null if it had no name.")]
    is_video: bool
    width: Annotated[
        int | None, Field(description="Of the upright picture in pixels; null if it cannot be read.")
    ]
    height: Annotated[int | None, Field(description="Of the upright picture in pixels.")]
    note: Annotated[str, Field(description="What to know of the file, mostly empty.")]
    records: Annotated[list[Record], Field(description="One a face; then, of a video, one a person.")]
    heat_maps: Annotated[
        list[HeatMap], Field(description="With `heatmap=1`, of the largest faces of a picture; else none.")
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
        dict[str, Any] | None,
        Field(description="On val, which shares generators with training; value, ci95, n."),
    ]
    unseen: Annotated[
        str | None,
        Field(description="What was measured on generators that it had never seen; null if unknown."),
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
    can: Annotated[
        dict[str, bool],
        Field(description="`videos`: whether videos can be read; `heatmap`: whether heat maps can be made."),
    ]
    warnings: Annotated[dict[str, str], Field(description="What the warnings of records mean.")]


class HealthAnswer(BaseModel):
    """That the server works."""

    status: str
    waiting: Annotated[int, Field(description="Requests that wait for their answer.")]

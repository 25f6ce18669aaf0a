"""The painted face: skin, eyes, eyebrows, lips, nostrils and beard, as functions of the place on the head."""

from dataclasses import dataclass

import numpy as np

from faceauth.samples.noise import (
    FloatArray,
    blob,
    colour_plane,
    mix,
    resize_plane,
    smooth_noise,
    smooth_step,
)
from faceauth.samples.people import Identity, Rgb, Shot

_LIGHT_SKIN = np.array([0.74, 0.44, 0.31])
_DARK_SKIN = np.array([0.105, 0.045, 0.024])
_IRIS_RADIUS, _PUPIL_RADIUS = 0.064, 0.026


@dataclass(slots=True)
class FacePaint:
    """A face while it is being painted; the brushes below change it in place.

    Attributes:
        x: float32 (H, W), place on the head, see `head_shape`.
        y: float32 (H, W).
        albedo: float32 (3, H, W), linear.
        gloss: float32 (H, W), strength of the shine.
        glint: float32 (H, W), light added on top: the lights' reflections in the eyes.
        edge: Width of a soft edge, in units.
    """

    x: FloatArray
    y: FloatArray
    albedo: FloatArray
    gloss: FloatArray
    glint: FloatArray
    edge: float

    def window(self, centre: tuple[float, float], reach: tuple[float, float]) -> "FacePaint | None":
        """Returns the part around a place on the face, sharing its memory; None if out of sight."""
        inside = (np.abs(self.x - centre[0]) < reach[0]) & (np.abs(self.y - centre[1]) < reach[1])
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not rows.size:
            return None
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        return FacePaint(
            self.x[part], self.y[part], self.albedo[:, *part], self.gloss[part], self.glint[part], self.edge
        )


def skin_rgb(identity: Identity) -> Rgb:
    """The mean colour of a person's skin, linear light."""
    mean = np.exp((1 - identity.melanin) * np.log(_LIGHT_SKIN) + identity.melanin * np.log(_DARK_SKIN))
    red, green, blue = mean * (1, 1 - 0.10 * identity.redness, 1 - 0.08 * identity.redness)
    return (float(red), float(green), float(blue))


def paint_face(
    identity: Identity,
    shot: Shot,
    place_xy: tuple[FloatArray, FloatArray],
    pixel: float,
    rng: np.random.Generator,
) -> FacePaint:
    """Paints the bare head of a person.

    Args:
        identity: Who.
        shot: Gives expression and gaze.
        place_xy: Two float32 (H, W): the place on the head that each pixel shows.
        pixel: Size of one pixel in head units.
        rng: Source of randomness for pores, hairs and spots.
    """
    x, y = place_xy
    paint = FacePaint(
        x=x,
        y=y,
        albedo=_skin(identity, x, y, rng),
        gloss=np.full(x.shape, 0.30 * shot.skin_gloss, np.float32),
        glint=np.zeros(x.shape, np.float32),
        edge=1.1 * pixel,
    )
    hairs = smooth_noise(rng, x.shape, cells=(2.2, 1.4))
    _paint_beard(paint, identity, shot, hairs)
    _paint_mouth(paint, identity, shot, rng)
    for side in (-1, 1):
        _paint_nostril(paint, identity, side)
        _paint_eye(paint, identity, shot, side, rng)
        _paint_brow(paint, identity, shot, side, hairs)
    return paint


def _skin(identity: Identity, x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    # Blood and shade change slowly over the face: painted at half size.
    coarse_shape = (x.shape[0] // 2, x.shape[1] // 2)
    cx, cy = resize_plane(x, coarse_shape), resize_plane(y, coarse_shape)
    ax = np.abs(cx)
    nose = -identity.nose_length
    blood = 0.55 * blob(ax, cy, (0.36, -0.32), (0.16, 0.13)) + 0.50 * blob(
        cx, cy, (0, nose + 0.06), (0.10, 0.09)
    )
    blood += 0.25 * blob(cx, cy, (0, -0.92), (0.18, 0.10)) + 0.30 * blob(ax, cy, (0.70, -0.15), (0.10, 0.22))
    blood += 0.22 * smooth_noise(rng, coarse_shape, cells=(14, 14))
    shade = 0.10 * blob(ax, cy, (identity.eye_distance, -0.09), (0.10, 0.035)) * (0.5 + identity.age)
    shade += 0.12 * blob(ax, cy, (identity.eye_distance - 0.02, 0.06), (0.14, 0.06))
    folds = np.cos((cy + 0.02 * np.cos(4 * cx)) * 62) * blob(cx, cy, (0, 0.42), (0.28, 0.08))
    shade += 0.06 * identity.age**2 * np.maximum(folds, 0)
    shade += 0.07 * smooth_noise(rng, coarse_shape, cells=(28, 28))
    blood, shade = resize_plane(blood, x.shape), resize_plane(shade, x.shape)
    # Pores and fine mottling: two scales of noise just above the sensor's grain.
    shade = (
        shade
        + 0.050 * smooth_noise(rng, x.shape, cells=(2.0, 2.0))
        + 0.045 * smooth_noise(rng, x.shape, cells=(5, 5))
    )
    if identity.freckles > 0:
        spots = smooth_step(smooth_noise(rng, x.shape, cells=(4.5, 4.5)), 0.55, 1.1)
        shade += 0.35 * identity.freckles * spots * blob(np.abs(x), y, (0.22, -0.22), (0.26, 0.16))
    strength = np.float32(0.16 + 0.30 * identity.redness) * blood
    brightness = 1 - np.clip(shade, -0.3, 0.8)
    base = skin_rgb(identity)
    return np.stack(
        [
            base[0] * brightness,
            base[1] * brightness * (1 - strength),
            base[2] * brightness * (1 - 0.85 * strength),
        ]
    ).astype(np.float32)


def _paint_eye(paint: FacePaint, identity: Identity, shot: Shot, side: int, rng: np.random.Generator) -> None:
    width, height = (
        identity.eye_width,
        identity.eye_height * shot.eye_open * (1 - 0.18 * max(0.0, shot.smile)),
    )
    part = paint.window((side * identity.eye_distance, 0.0), (1.5 * width, 0.17))
    if part is None:
        return
    edge = paint.edge
    x = side * part.x - np.float32(identity.eye_distance)
    y = part.y - np.float32(identity.eye_tilt) * x
    upper = np.float32(height) * np.clip(1 - ((x + 0.012) / (width + 0.012)) ** 2, 0, 1) ** 0.75
    lower = np.float32(-0.62 * height) * np.clip(1 - ((x - 0.012) / (width + 0.012)) ** 2, 0, 1) ** 0.9
    along = smooth_step(np.abs(x), width * 1.12, width * 0.85)
    # The lid: its crease, the skin under it, and the rim that carries the lashes.
    crease = upper + np.float32(identity.lid_fold) - 0.15 * np.maximum(x, 0) ** 2
    part.albedo *= 1 - 0.38 * np.exp(-(((y - crease) / 0.010) ** 2)) * along
    part.albedo *= 1 - 0.14 * smooth_step(y, crease + 0.004, crease - 0.010) * (y > upper) * along
    part.albedo *= 1 - 0.16 * np.exp(-(((y - lower + 0.030) / 0.012) ** 2)) * along
    opened = smooth_step(upper - y, -edge, edge) * smooth_step(y - lower, -edge, edge)
    shadow = 1 - 0.55 * smooth_step(upper - y, 0.040, 0.0)
    white = (0.40 - 0.14 * (x / width) ** 2) * shadow
    ball = np.stack([white, white * 0.93, white * 0.91])
    ball[1:] *= 1 - 0.35 * smooth_step(x, -0.7 * width, -1.0 * width)
    dx, dy = x - np.float32(side * shot.gaze[0]), y - np.float32(shot.gaze[1] + 0.012)
    radius = np.sqrt(dx * dx + dy * dy)
    rays = 1 + 0.35 * np.sin(np.arctan2(dy, dx) * 19 + 5 * rng.uniform()) * smooth_noise(
        rng, x.shape, cells=(4, 4)
    )
    glow = (0.6 + 0.8 * np.clip(-dy / _IRIS_RADIUS, -0.4, 1)) * rays * shadow
    ring = 1 - 0.75 * smooth_step(radius, 0.76 * _IRIS_RADIUS, _IRIS_RADIUS)
    iris = colour_plane(identity.iris_rgb) * (glow * ring)
    iris = mix(
        iris,
        colour_plane((0.006, 0.005, 0.005)),
        smooth_step(radius, _PUPIL_RADIUS + edge, _PUPIL_RADIUS - edge),
    )
    ball = mix(ball, iris, smooth_step(radius, _IRIS_RADIUS + edge, _IRIS_RADIUS - edge))
    part.albedo[:] = mix(part.albedo, ball, opened)
    part.gloss[:] = part.gloss * (1 - opened)
    spot = np.hypot(dx - 0.024 * side * shot.light[0], dy - 0.010 - 0.022 * shot.light[1])
    part.glint += 0.85 * opened * smooth_step(spot, 0.017 + edge, 0.017 - edge)
    part.glint += 0.10 * opened * smooth_step(np.hypot(dx + 0.02, dy + 0.028), 0.02, 0.006)
    lash = 0.007 + 0.006 * smooth_step(x, -width, width)
    lashes = np.exp(-(((y - upper - 0.3 * lash) / lash) ** 2)) * smooth_step(
        np.abs(x), 1.06 * width, 0.92 * width
    )
    dark = 0.25 * colour_plane(identity.hair_rgb) + 0.004
    part.albedo[:] = mix(part.albedo, dark, 0.92 * lashes)
    below = np.exp(-(((y - lower) / 0.007) ** 2)) * smooth_step(np.abs(x), width, 0.8 * width)
    part.albedo[:] = part.albedo * (1 - 0.38 * below)


def _paint_brow(paint: FacePaint, identity: Identity, shot: Shot, side: int, hairs: FloatArray) -> None:
    part = paint.window((side * identity.eye_distance, identity.brow_height), (0.26, 0.14))
    if part is None:
        return
    x = side * part.x - np.float32(identity.eye_distance)
    middle = identity.brow_height + shot.brow_raise + identity.brow_arch * (0.7 - ((x - 0.05) / 0.19) ** 2)
    half = np.float32(identity.brow_thickness) * (1 - 0.65 * smooth_step(x, 0.0, 0.21))
    grain = hairs[: x.shape[0], : x.shape[1]]
    off = np.abs(part.y - middle) + 0.010 * grain
    cover = (
        smooth_step(off, half + 0.016, half - 0.014)
        * smooth_step(x, -0.185, -0.13)
        * smooth_step(x, 0.215, 0.15)
    )
    colour = 0.45 * colour_plane(identity.hair_rgb) + 0.006
    part.albedo[:] = mix(part.albedo, colour, np.clip(cover * (0.82 + 0.20 * grain), 0, 0.95))
    part.gloss[:] *= 1 - 0.7 * cover


def _paint_nostril(paint: FacePaint, identity: Identity, side: int) -> None:
    place = (side * 0.48 * identity.nose_width, -identity.nose_length - 0.004)
    part = paint.window(place, (0.09, 0.06))
    if part is None:
        return
    slanted = part.y + np.float32(0.25) * (np.abs(part.x) - np.float32(abs(place[0])))
    hole = blob(part.x, slanted, place, (0.028, 0.011))
    part.albedo *= 1 - 0.85 * np.minimum(1.3 * hole, 1)
    part.gloss[:] *= 1 - np.minimum(1.3 * hole, 1)


def _paint_mouth(paint: FacePaint, identity: Identity, shot: Shot, rng: np.random.Generator) -> None:
    level = -identity.nose_length - identity.mouth_drop
    smile = shot.smile
    width = identity.mouth_width * (1 + 0.14 * max(0.0, smile))
    part = paint.window((0.0, level), (1.25 * width, 0.22))
    if part is None:
        return
    edge = 1.3 * paint.edge
    share = np.clip(part.x / width, -1.2, 1.2) ** 2
    y = part.y - level - np.float32(0.055 * smile) * share
    bow = np.clip(1 - share, 0, 1)
    gap = 0.5 * shot.mouth_open * bow
    dip = (
        1 - 0.24 * np.exp(-((part.x / 0.035) ** 2)) + 0.10 * np.exp(-(((np.abs(part.x) - 0.06) / 0.035) ** 2))
    )
    top = gap + np.float32(identity.lip_upper) * bow**0.8 * dip
    bottom = -gap - np.float32(identity.lip_lower * (1 - 0.15 * max(0.0, smile))) * bow**0.65
    inside = smooth_step(np.abs(part.x), width * 1.02, width * 0.90)
    cover = smooth_step(top - y, -edge, edge) * smooth_step(y - bottom, -edge, edge) * inside
    wrinkles = 1 + 0.10 * smooth_noise(rng, part.x.shape, cells=(9, 2.5))
    lips = part.albedo * colour_plane(identity.lip_rgb_factor) * wrinkles * np.where(y > 0, 0.82, 1.02)
    part.albedo[:] = mix(part.albedo, lips, 0.9 * cover)
    part.gloss[:] = part.gloss + cover * (0.55 - part.gloss) * (y < 0)
    line = np.exp(-((y / 0.0085) ** 2)) * smooth_step(np.abs(part.x), width * 1.06, width * 0.92)
    corner = np.exp(-(((np.abs(part.x) - width) / 0.022) ** 2) - (y / 0.022) ** 2)
    part.albedo[:] = part.albedo * (1 - np.clip(0.78 * line + 0.45 * corner, 0, 0.9))
    if shot.mouth_open > 0.004:
        hollow = smooth_step(gap - np.abs(y), -edge, edge) * inside
        teeth = smooth_step(y, gap - 0.055, gap - 0.045) * smooth_step(
            np.abs(part.x), 0.75 * width, 0.55 * width
        )
        tooth = 1 - 0.25 * np.abs(np.sin(part.x * (np.pi / 0.062))) ** 12
        white = np.float32(0.52) * teeth * tooth * (1 - 0.5 * share)
        mouth = np.stack([0.045 + white, 0.014 + 0.93 * white, 0.013 + 0.82 * white])
        part.albedo[:] = mix(part.albedo, mouth.astype(np.float32), hollow)
        part.gloss[:] *= 1 - hollow


def _paint_beard(paint: FacePaint, identity: Identity, shot: Shot, hairs: FloatArray) -> None:
    if identity.beard == "none":
        return
    x, y = np.abs(paint.x), paint.y
    nose = -identity.nose_length
    mouth = nose - identity.mouth_drop
    ragged = 0.05 * hairs
    moustache = smooth_step(y + ragged, nose - 0.02, nose - 0.07) * smooth_step(y, mouth - 0.05, mouth + 0.02)
    moustache = moustache * smooth_step(x + ragged, 0.33, 0.22)
    chin = smooth_step(y + ragged, mouth - 0.08, mouth - 0.15) * smooth_step(x + ragged, 0.27, 0.17)
    ring = smooth_step(np.abs(x - 0.275) + ragged, 0.09, 0.03) * smooth_step(y, nose - 0.08, mouth + 0.05)
    cheek_line = mouth + 0.03 + 0.95 * np.maximum(x - 0.24, 0)
    jaw = np.maximum(smooth_step(y - cheek_line + ragged, 0.05, -0.06) * smooth_step(x, 0.18, 0.28), chin)
    areas = {
        "stubble": np.maximum(jaw, moustache),
        "moustache": moustache,
        "goatee": np.maximum(np.maximum(moustache, chin), ring * smooth_step(y, mouth - 0.3, mouth - 0.1)),
        "full": np.maximum(np.maximum(jaw, moustache), ring),
    }
    strength = identity.beard_density * (0.42 if identity.beard == "stubble" else 0.95)
    cover = np.clip(areas[identity.beard] * strength * (0.85 + 0.35 * hairs), 0, 0.95).astype(np.float32)
    colour = 0.75 * colour_plane(identity.hair_rgb) + 0.004
    paint.albedo[:] = mix(paint.albedo, colour * (1 + 0.35 * hairs), cover)
    paint.gloss[:] *= 1 - 0.8 * cover

"""Hair: a hull around the skull with an edge over the forehead, its strands, and what hangs behind."""

from dataclasses import dataclass

import numpy as np

from faceauth.samples.head_shape import shell_solid, to_head, trace_rays
from faceauth.samples.layers import Canvas, Layer
from faceauth.samples.noise import FloatArray, blob, colour_plane, smooth_noise, smooth_step
from faceauth.samples.people import Identity, Shot

# Turn from the face's middle, in radians, at which the height of the hair's edge is given.
_EDGE_TURN = (0.0, 0.40, 0.70, 0.95, 1.12, 1.28, 1.50, 1.80, 2.30)


@dataclass(frozen=True, slots=True)
class _Cut:
    """How a style is cut.

    Attributes:
        volume: Factor on the hull's thickness at the sides.
        top: Factor on the hull's thickness at the crown.
        edge: Height of the hair's edge at `_EDGE_TURN`; above 0.3 relative to the person's hairline.
        hangs_to: How far down hair hangs behind the neck, in units; None if it does not.
        spread: Half-width of what hangs, in units.
        wave: Sideways swing of the strands, in units.
        curl: Whether the hair is a mass of curls rather than strands.
    """

    volume: float
    top: float
    edge: tuple[float, ...]
    hangs_to: float | None = None
    spread: float = 0.0
    wave: float = 0.0
    curl: bool = False


_SHORT_EDGE = (0.00, 0.01, 0.01, -0.10, -0.38, -0.74, -0.58, -0.66, -0.90)
_LONG_EDGE = (0.00, 0.00, -0.04, -0.35, -1.80, -2.80, -2.80, -2.80, -2.80)
_CUTS = {
    "cropped": _Cut(0.35, 0.4, _SHORT_EDGE),
    "short": _Cut(0.75, 1.4, _SHORT_EDGE),
    "parted": _Cut(0.9, 1.3, (-0.02, 0.00, -0.02, -0.14, -0.46, -0.84, -0.62, -0.70, -0.95)),
    "fringe": _Cut(0.9, 1.1, (-0.34, -0.35, -0.38, -0.50, -0.72, -0.85, -0.66, -0.75, -0.95)),
    "curly": _Cut(2.2, 2.6, (0.02, 0.00, -0.05, -0.16, -0.45, -0.75, -0.80, -1.00, -1.10), curl=True),
    "bob": _Cut(1.1, 1.2, (-0.02, -0.04, -0.12, -0.34, -1.15, -1.45, -1.45, -1.45, -1.45), -0.95, 0.80),
    "long": _Cut(1.0, 1.1, _LONG_EDGE, -2.2, 0.84),
    "wavy": _Cut(1.4, 1.4, _LONG_EDGE, -2.2, 0.95, wave=0.07),
    "tied": _Cut(0.45, 0.6, (0.02, 0.0, -0.08, -0.20, -0.42, -0.66, -0.60, -0.66, -0.90)),
}


def hair_behind(identity: Identity, canvas: Canvas, chin_u: float, rng: np.random.Generator) -> Layer | None:
    """Draws the hair that hangs behind the neck.

    Args:
        identity: Whose hair.
        canvas: Where to draw.
        chin_u: Where the chin lies, which the hair follows a little.
        rng: Source of randomness.

    Returns:
        A layer, or None if nothing hangs.
    """
    cut = _CUTS.get(identity.hair_style)
    if cut is None or cut.hangs_to is None:
        return None
    canvas = canvas.part(centre=(0.0, -1.0), reach=(1.5, 1.8))
    spread = np.float32(cut.spread + 0.5 * identity.hair_volume)
    swing = cut.wave * np.sin(canvas.v * 7 + 3 * chin_u)
    u = canvas.u - np.float32(0.35 * chin_u) + swing
    wisps = smooth_noise(rng, canvas.shape, cells=(40, 2.5))
    outline = spread - np.abs(u) + 0.025 * wisps - 0.9 * np.maximum(canvas.v, 0) ** 2
    cover = smooth_step(outline, -0.015, 0.02) * smooth_step(canvas.v, 0.75, 0.6)
    cover = cover * smooth_step(canvas.v + 0.06 * wisps, cut.hangs_to - 0.03, cut.hangs_to + 0.03)
    tilt = np.clip(u / spread, -0.95, 0.95) + 0.25 * wisps
    normal = _unit(np.stack([tilt, np.zeros_like(tilt), np.full_like(tilt, 0.55)]))
    albedo = colour_plane(identity.hair_rgb) * (0.55 * (1 + 0.45 * wisps))
    depth = np.full(canvas.shape, -0.45, np.float32)
    return Layer(
        np.maximum(albedo, 0.001),
        cover,
        depth,
        normal,
        np.full(canvas.shape, 0.05, np.float32),
        canvas.window,
    )


def hair_in_front(
    identity: Identity, shot: Shot, canvas: Canvas, rotation: FloatArray, rng: np.random.Generator
) -> Layer | None:
    """Draws the hair on the skull and beside the face.

    Args:
        identity: Whose hair.
        shot: Gives the light that the strands' sheen follows.
        canvas: Where to draw.
        rotation: float32 (3, 3) from `head_rotation`.
        rng: Source of randomness.

    Returns:
        A layer, or None for a bald head.
    """
    cut = _CUTS.get(identity.hair_style)
    if cut is None:
        return None
    reach = 0.80 + cut.volume * identity.hair_volume
    canvas = canvas.part(
        centre=(0.0, 0.0), reach=(1.3, 3.0) if cut.hangs_to is not None else (reach + 0.25, 3.0)
    )
    low_width = (
        None if cut.hangs_to is None else 0.70 * identity.head_width + cut.volume * identity.hair_volume
    )
    hull = shell_solid(
        identity,
        thickness=max(0.02, cut.volume * identity.hair_volume),
        top=max(0.03, cut.top * identity.hair_volume),
        low_width=low_width,
    )
    hits = trace_rays(hull, rotation, canvas)
    depth, clearance, normal = hits.depth, hits.clearance, hits.normal
    x, y, z = to_head(rotation, canvas.u, canvas.v, depth)
    if cut.curl:
        small, large = (smooth_noise(rng, canvas.shape, cells=(size, size)) for size in (5, 13))
        strands = 1 - np.float32(1.6) * np.abs(np.float32(0.8) * small + np.float32(0.7) * large)
        ragged: FloatArray = np.float32(0.022) * smooth_noise(rng, canvas.shape, cells=(9, 9))
        tangent_tilt = np.zeros_like(strands)
    else:
        strands, tangent_tilt = _strands(identity, cut, x, y, rng)
        ragged = np.float32(0.012) * strands
    turn = np.abs(np.arctan2(x + 0.10 * identity.parting, np.maximum(z, -0.8) + 0.12))
    edge: FloatArray = np.interp(turn, _EDGE_TURN, np.array(cut.edge) + identity.hairline).astype(np.float32)
    if identity.hair_style in ("parted", "long", "wavy", "bob"):
        # The parting lifts the edge where the hair falls to both sides.
        edge = (
            edge
            - 0.10 * blob(x, y, (identity.parting + 0.30, 0.5), (0.22, 0.5))
            + 0.05 * blob(x, y, (identity.parting, 0.5), (0.08, 0.5))
        )
    softness = 0.05 if identity.hair_style in ("cropped", "tied", "short") else 0.03
    above = smooth_step((y - edge) + np.float32(2.2) * ragged, -softness, softness)
    outline = smooth_step(clearance - 0.8 * ragged, 1.2 * canvas.pixel, -1.2 * canvas.pixel)
    cover = above * outline
    sheen = _sheen(normal, tangent_tilt, shot)
    parting_line = 1 - 0.5 * blob(x, y, (identity.parting, 0.85), (0.012, 0.22)) * (not cut.curl)
    depth_of_edge = 0.62 + 0.38 * smooth_step(y - edge, 0.0, 0.25)
    tone = np.maximum(1 + 0.42 * strands, 0.40 if cut.curl else 0.15) * parting_line * depth_of_edge
    strength = np.float32(0.25 if cut.curl else 0.60)
    albedo = colour_plane(identity.hair_rgb) * tone
    bright = strength * sheen * np.maximum(1 + 0.7 * strands, 0) * depth_of_edge
    albedo = albedo + (0.35 * colour_plane(identity.hair_rgb) + 0.035) * bright
    normal = normal.copy()
    normal[0] += 0.30 * strands
    return Layer(albedo, cover, depth, _unit(normal), np.full(canvas.shape, 0.04, np.float32), canvas.window)


def _strands(
    identity: Identity, cut: _Cut, x: FloatArray, y: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draws streaks that fan out from the parting; returns their tone (about -1 to 1) and their slant."""
    origin_x, origin_y = identity.parting, 1.45
    dx, dy = x - np.float32(origin_x), np.maximum(np.float32(origin_y) - y, 0.25)
    if identity.hair_style in ("cropped", "short", "tied"):
        fan = np.arctan2(dx, dy + 0.30)
    else:
        fan = np.arctan2(dx, dy)
    fan = fan + cut.wave * np.sin(y * 9 + 4 * identity.parting) * np.minimum(dy, 1)
    drift = smooth_noise(rng, (x.shape[0], x.shape[1]), cells=(70, 50))
    fan = fan + 0.035 * drift
    tone = np.zeros_like(x)
    for count, weight in ((38, 0.55), (110, 0.60), (240, 0.40)):
        lock = rng.standard_normal(1024).astype(np.float32)
        place = (fan * np.float32(count / 2) + 500).astype(np.float32)
        whole = place.astype(np.intp)
        part = place - whole
        tone += np.float32(weight) * (
            lock.take(whole, mode="wrap") * (1 - part) + lock.take(whole + 1, mode="wrap") * part
        )
    tone += 0.35 * smooth_noise(rng, (x.shape[0], x.shape[1]), cells=(6, 1.6))
    return np.clip(tone, -1.6, 1.6), (dx / (np.abs(dx) + dy)).astype(np.float32)


def _sheen(normal: FloatArray, slant: FloatArray, shot: Shot) -> FloatArray:
    """The bright band on hair: strongest where strands lie across the half-way vector of light and camera."""
    half = np.array(shot.light) + np.array([0, 0, 1])
    half = half / np.linalg.norm(half)
    tangent_y = -np.sqrt(np.maximum(1 - slant * slant, 0))
    along = slant * (half[0] - normal[0] * half[2]) + tangent_y * (half[1] - normal[1] * half[2])
    band = np.clip(1 - along * along, 0, 1)
    return (band**12).astype(np.float32)


def _unit(vectors: FloatArray) -> FloatArray:
    return (vectors / (np.sqrt(np.sum(vectors * vectors, axis=0)) + 1e-6)).astype(np.float32)

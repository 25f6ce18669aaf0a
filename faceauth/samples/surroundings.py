"""What is around the face: background, neck, clothes, ears and glasses."""

import numpy as np

from faceauth.samples.head_shape import to_head
from faceauth.samples.layers import Canvas, Layer, lay_over
from faceauth.samples.noise import (
    FloatArray,
    blob,
    colour_plane,
    mix,
    resize_plane,
    smooth_noise,
    smooth_step,
)
from faceauth.samples.people import Identity, Shot
from faceauth.samples.skin import skin_rgb

_LENS_PLANE_Z = 0.80


def background(shot: Shot, canvas: Canvas, rng: np.random.Generator) -> Layer:
    """Paints what is far behind, out of focus.

    Args:
        shot: Gives the kind of background and its colours.
        canvas: Where to paint.
        rng: Source of randomness.
    """
    rows = columns = 96
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    first, second, third = (colour_plane(rgb) for rgb in shot.background_rgbs)
    centre = rng.uniform(-0.8, 0.8, 2)
    glow = blob(x, y, (centre[0], centre[1]), (0.9, 0.9))
    picture = mix(first * np.ones((3, rows, columns), np.float32), second, glow)
    if shot.background == "blobs":
        for _ in range(rng.integers(8, 22)):
            place, radius = rng.uniform(-1, 1, 2), rng.uniform(0.05, 0.22)
            disc = smooth_step(np.hypot(x - place[0], y - place[1]).astype(np.float32), radius, 0.8 * radius)
            picture = picture + third * (disc * np.float32(rng.uniform(0.1, 0.7)))
    elif shot.background == "panels":
        for _ in range(rng.integers(3, 9)):
            left, top = rng.uniform(-1.2, 0.8, 2)
            wide, tall = rng.uniform(0.15, 1.2, 2)
            soft = rng.uniform(0.02, 0.10)
            inside = smooth_step(x, left, left + soft) * smooth_step(x, left + wide, left + wide - soft)
            inside = inside * smooth_step(y, top, top + soft) * smooth_step(y, top + tall, top + tall - soft)
            picture = mix(
                picture, (second, third)[rng.integers(2)] * np.float32(rng.uniform(0.5, 1.3)), 0.8 * inside
            )
    elif shot.background == "leaves":
        tufts = smooth_noise(rng, (rows, columns), cells=(16, 16)) + 0.6 * smooth_noise(
            rng, (rows, columns), cells=(7, 7)
        )
        picture = mix(picture, third, 0.7 * smooth_step(tufts, -1.0, 1.4))
    stains = 1 + 0.12 * smooth_noise(rng, (rows, columns), cells=(24, 24))
    picture = np.clip(picture * stains, 0.003, 0.95)
    albedo = np.stack([resize_plane(plane.astype(np.float32), canvas.shape) for plane in picture])
    # Walls have a grain of their own; without it a flat background would show the sensor's noise alone.
    albedo = albedo * (1 + 0.03 * smooth_noise(rng, canvas.shape, cells=(2.5, 2.5)))
    normal = np.zeros_like(albedo)
    normal[2] = 1
    flat = np.zeros(canvas.shape, np.float32)
    return Layer(np.maximum(albedo, 0.002), flat + 1, flat - 2.5, normal, flat, canvas.window)


def neck(identity: Identity, canvas: Canvas, chin_u: float, rng: np.random.Generator) -> Layer:
    """Draws the neck, which follows the chin and widens towards the shoulders."""
    canvas = canvas.part(centre=(chin_u, -1.6), reach=(1.0, 1.25))
    u, v = canvas.u, canvas.v
    bend = np.clip((v + 2.2) / 1.4, 0, 1) * np.float32(chin_u)
    half = np.float32(identity.neck_width) + 0.9 * np.maximum(-1.12 - v, 0) ** 1.5
    across = (u - bend) / half
    front = np.sqrt(np.clip(1 - across * across, 0, 1))
    cover = smooth_step((1 - np.abs(across)) * half, -1.2 * canvas.pixel, 1.2 * canvas.pixel) * (v < -0.3)
    normal = np.stack([across, np.full_like(u, -0.12), np.maximum(front, 0.05)])
    normal /= np.sqrt(np.sum(normal * normal, axis=0))
    cords = 1 - 0.10 * np.exp(-(((np.abs(u - bend) - 0.10 + 0.25 * (v + 1.0)) / 0.05) ** 2))
    mottle = (
        1
        + 0.06 * smooth_noise(rng, canvas.shape, cells=(6, 6))
        + 0.05 * smooth_noise(rng, canvas.shape, cells=(30, 30))
    )
    albedo = colour_plane(skin_rgb(identity)) * (0.92 * cords * mottle)
    return Layer(
        albedo.astype(np.float32),
        cover.astype(np.float32),
        (-0.25 + 0.35 * front).astype(np.float32),
        normal.astype(np.float32),
        np.full(canvas.shape, 0.08, np.float32),
        canvas.window,
    )


def clothes(identity: Identity, shot: Shot, canvas: Canvas, chin_u: float, rng: np.random.Generator) -> Layer:
    """Draws shoulders and neckline."""
    canvas = canvas.part(centre=(0.0, -2.0), reach=(9.0, 0.97))
    u, v = canvas.u - np.float32(0.35 * chin_u), canvas.v
    side = np.maximum(np.abs(u) - identity.neck_width - 0.02, 0)
    shoulder = -1.08 - 0.36 * side - 0.12 * side**2
    drop = {"crew": 0.16, "open": 0.50, "collar": 0.30}[shot.neckline]
    if shot.neckline == "crew":
        neckline = -1.12 - drop * np.sqrt(np.clip(1 - (u / (identity.neck_width + 0.06)) ** 2, 0, 1))
    else:
        neckline = -1.08 - drop * np.clip(1 - np.abs(u) / (identity.neck_width + 0.05), 0, 1)
    top = np.minimum(shoulder, neckline)
    cover = smooth_step(top - v, -1.3 * canvas.pixel, 1.3 * canvas.pixel)
    first, second = (colour_plane(rgb) for rgb in shot.clothes_rgbs)
    albedo = first * np.ones((1, *canvas.shape), np.float32)
    step, turn = rng.uniform(0.08, 0.25), rng.uniform(-0.3, 0.3)
    if shot.clothes != "plain":
        albedo = mix(albedo, second, smooth_step(np.sin((v + turn * u) * (2 * np.pi / step)), -0.15, 0.15))
    if shot.clothes == "checks":
        albedo = mix(
            albedo, second, 0.5 * smooth_step(np.sin((u - turn * v) * (2 * np.pi / step)), -0.15, 0.15)
        )
    hem = np.exp(-(((neckline - v - 0.045) / 0.008) ** 2)) * (shot.neckline == "crew")
    collar = smooth_step(neckline - v, 0.13, 0.11) * (shot.neckline == "collar") * (np.abs(u) < 0.62)
    weave = smooth_noise(rng, canvas.shape, cells=(1.6, 3.2))
    wrinkles = smooth_noise(rng, canvas.shape, cells=(60, 24))
    albedo = mix(albedo, second, collar) * (1 - 0.4 * hem) * (1 + 0.10 * weave)
    normal = np.stack([0.55 * u + 0.25 * wrinkles, np.full_like(u, 0.40) + 0.1 * weave, np.full_like(u, 0.8)])
    normal /= np.sqrt(np.sum(normal * normal, axis=0))
    depth = (-0.15 - 0.4 * side + 0.04 * collar).astype(np.float32)
    flat = np.zeros(canvas.shape, np.float32)
    return Layer(
        np.maximum(albedo, 0.002).astype(np.float32),
        cover.astype(np.float32),
        depth,
        normal.astype(np.float32),
        flat,
        canvas.window,
    )


def ear(
    identity: Identity, shot: Shot, canvas: Canvas, rotation: FloatArray, side: int
) -> tuple[Layer, bool]:
    """Draws one ear.

    Args:
        identity: Whose ear.
        shot: Gives the tilt of the head.
        canvas: Where to draw.
        rotation: float32 (3, 3) from `head_rotation`.
        side: 1 for the ear at the picture's right, -1 for the other.

    Returns:
        The layer, and whether it lies before the head's outline rather than behind it.
    """
    place = rotation @ np.array([side * 0.665 * identity.head_width, -0.12, -0.08], np.float32)
    canvas = canvas.part(centre=(float(place[0]), float(place[1])), reach=(0.25, 0.27))
    towards = float(rotation[2, 0] * side)
    wide = identity.ear_size * float(np.clip(0.065 + 0.12 * towards, 0.045, 0.12))
    tall = identity.ear_size * 0.16
    cos_tilt, sin_tilt = np.cos(shot.roll + 0.10 * side), np.sin(shot.roll + 0.10 * side)
    du, dv = canvas.u - place[0], canvas.v - place[1]
    a = (cos_tilt * du + sin_tilt * dv) / np.float32(wide)
    b = (cos_tilt * dv - sin_tilt * du) / np.float32(tall)
    a = a * (1 + 0.25 * (b < 0) * b * b)
    radius = np.sqrt(a * a + b * b)
    cover = smooth_step(radius, 1 + canvas.pixel / wide, 1 - canvas.pixel / wide)
    hollow = blob(a * side, b, (-0.10, 0.05), (0.38, 0.42))
    rim = np.exp(-(((radius - 0.78) / 0.12) ** 2))
    normal = np.stack([0.6 * a + 0.3 * side, 0.4 * b, 0.8 - 0.3 * hollow])
    normal /= np.sqrt(np.sum(normal * normal, axis=0))
    red = colour_plane((1.0, 0.80, 0.78))
    albedo = (
        colour_plane(skin_rgb(identity)) * red * (1 - 0.50 * hollow + 0.12 * rim - 0.12 * (radius < 0.66))
    )
    depth = np.full(canvas.shape, place[2] + 0.03, np.float32)
    gloss = np.full(canvas.shape, 0.12, np.float32)
    layer = Layer(
        albedo.astype(np.float32),
        cover.astype(np.float32),
        depth,
        normal.astype(np.float32),
        gloss,
        canvas.window,
    )
    return layer, towards > 0.02


def wear_glasses(
    identity: Identity,
    canvas: Canvas,
    rotation: FloatArray,
    head_xy: tuple[FloatArray, FloatArray],
    scene: Layer,
) -> None:
    """Puts glasses on the finished head.

    Args:
        identity: Gives the frame.
        canvas: The window of the head.
        rotation: float32 (3, 3) from `head_rotation`.
        head_xy: Two float32 (H, W), the place on the head that each pixel of the window shows.
        scene: Everything drawn so far; changed in place.
    """
    depth = (_LENS_PLANE_Z - rotation[0, 2] * canvas.u - rotation[1, 2] * canvas.v) / rotation[2, 2]
    x, y, _ = to_head(rotation, canvas.u, canvas.v, depth.astype(np.float32))
    power, edge = identity.frame_roundness, 1.2 * canvas.pixel
    ax = np.abs(x)
    across = np.abs(ax - identity.eye_distance - 0.005) / 0.205
    down = np.abs(y + 0.035) / 0.165
    near = (across < 1.4) & (down < 1.4)
    radius = np.full(canvas.shape, 9.0, np.float32)
    radius[near] = (across[near] ** power + down[near] ** power) ** (1 / power)
    off = np.abs(radius - 1) * np.float32(0.175)
    frame = smooth_step(off, identity.frame_width + edge, identity.frame_width - 0.3 * edge)
    bridge = smooth_step(
        np.abs(y - 0.035 + 0.9 * x * x), identity.frame_width + edge, identity.frame_width - edge
    )
    frame = np.maximum(frame, bridge * (ax < identity.eye_distance - 0.17))
    head_x, head_y = head_xy
    depth_below = scene.depth[canvas.window]
    temple = smooth_step(np.abs(head_y - 0.03), identity.frame_width + edge, identity.frame_width - edge)
    reach = smooth_step(np.abs(head_x), identity.eye_distance + 0.19, identity.eye_distance + 0.22)
    frame = np.maximum(frame, temple * reach * (depth_below > 0.05) * (np.abs(head_x) < 0.75))
    lens = smooth_step(radius, 1.0, 0.98)
    seen_through = scene.albedo[:, *canvas.window]
    seen_through *= 1 - 0.10 * lens
    seen_through += lens * np.float32(0.02) * smooth_step(y + 0.4 * x, -0.02, 0.10)
    rims = Layer(
        albedo=colour_plane(identity.frame_rgb),
        cover=frame.astype(np.float32),
        depth=depth_below + 0.05,
        normal=scene.normal[:, *canvas.window].copy(),
        gloss=np.full(canvas.shape, 0.8, np.float32),
        window=canvas.window,
    )
    lay_over(scene, rims)

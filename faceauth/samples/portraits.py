"""A simulated portrait: the light that reaches a camera from a made-up person before a background."""

from dataclasses import dataclass

import numpy as np

from faceauth.samples.hair import hair_behind, hair_in_front
from faceauth.samples.head_shape import head_rotation, head_solid, to_head, trace_rays
from faceauth.samples.layers import Layer, canvas_of, lay_over
from faceauth.samples.light import light_scene
from faceauth.samples.noise import FloatArray, resize_plane, smooth_step
from faceauth.samples.people import Identity, Shot
from faceauth.samples.skin import paint_face
from faceauth.samples.surroundings import background, clothes, ear, neck, wear_glasses

SUPERSAMPLING = 1.5
# Half the width and half the height of the window that holds every bare head, in head units.
_HEAD_REACH = (0.95, 1.25)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A scene, ready for a camera.

    Attributes:
        light_rgb: float32 (side * SUPERSAMPLING, same, 3), linear light, 0 is black and 1 a white card.
        side_px: Side of the picture that shall be taken of it, in pixels.
        landmarks_xy: float32 (5, 2), both eyes, nose tip and both corners of the mouth in picture pixels.
        inner_face: float32 (side_px, side_px) in [0, 1], where brows, eyes, nose and mouth are.
    """

    light_rgb: FloatArray
    side_px: int
    landmarks_xy: FloatArray
    inner_face: FloatArray


def draw_portrait(identity: Identity, shot: Shot, *, side_px: int) -> Portrait:
    """Draws a person on an occasion.

    Args:
        identity: Who.
        shot: Pose, light, expression, clothes and background.
        side_px: Side of the picture in pixels; the scene is drawn `SUPERSAMPLING` times finer.
    """
    rng = np.random.default_rng(shot.texture_seed)
    fine_px = round(side_px * SUPERSAMPLING)
    canvas = canvas_of(shot, fine_px)
    rotation = head_rotation(shot)
    chin_u = float((rotation @ np.array([0, -0.8, 0.1], np.float32))[0])

    scene = background(shot, canvas, rng)
    behind = hair_behind(identity, canvas, chin_u, rng)
    if behind is not None:
        lay_over(scene, behind)
    lay_over(scene, neck(identity, canvas, chin_u, rng))
    lay_over(scene, clothes(identity, shot, canvas, chin_u, rng))
    ears = [ear(identity, shot, canvas, rotation, side) for side in (-1, 1)]
    for layer, in_front in ears:
        if not in_front:
            lay_over(scene, layer)

    head_canvas = canvas.part(centre=(0.0, 0.0), reach=_HEAD_REACH)
    hits = trace_rays(head_solid(identity, shot), rotation, head_canvas)
    x, y, _ = to_head(rotation, head_canvas.u, head_canvas.v, hits.depth)
    paint = paint_face(identity, shot, (x, y), canvas.pixel, rng)
    head = Layer(
        albedo=paint.albedo,
        cover=smooth_step(hits.clearance, 1.5 * canvas.pixel, -1.0 * canvas.pixel),
        depth=hits.depth,
        normal=hits.normal,
        gloss=paint.gloss,
        window=head_canvas.window,
    )
    lay_over(scene, head)
    for layer, in_front in ears:
        if in_front:
            lay_over(scene, layer)
    glint = np.zeros(canvas.shape, np.float32)
    glint[head.window] = paint.glint * head.cover
    hair = hair_in_front(identity, shot, canvas, rotation, rng)
    if hair is not None:
        lay_over(scene, hair)
        glint[hair.window] *= 1 - hair.cover
    if identity.glasses:
        wear_glasses(identity, head_canvas, rotation, (x, y), scene)
    light = light_scene(scene, shot, canvas.pixel) + glint

    inner = np.zeros(canvas.shape, np.float32)
    inner[head.window] = smooth_step(np.hypot(x / 0.50, (y + 0.28) / 0.62), 1.0, 0.92) * head.cover
    return Portrait(
        light_rgb=np.ascontiguousarray(np.moveaxis(np.maximum(light, 0), 0, -1), dtype=np.float32),
        side_px=side_px,
        landmarks_xy=_landmarks(identity, shot, rotation, side_px),
        inner_face=resize_plane(inner, (side_px, side_px), smooth=False),
    )


def _landmarks(identity: Identity, shot: Shot, rotation: FloatArray, side_px: int) -> FloatArray:
    nose = -identity.nose_length
    mouth = nose - identity.mouth_drop
    points = np.array(
        [
            [-identity.eye_distance, 0, 0.60],
            [identity.eye_distance, 0, 0.60],
            [0, nose + 0.05, 0.90],
            [-identity.mouth_width, mouth, 0.60],
            [identity.mouth_width, mouth, 0.60],
        ]
    )
    u, v, _ = rotation.astype(np.float64) @ points.T
    unit_px = shot.head_share * side_px
    left = (u + shot.centre[0]) * unit_px + side_px / 2
    top = side_px / 2 - (v + shot.centre[1]) * unit_px
    return np.stack([left, top], axis=1).astype(np.float32)

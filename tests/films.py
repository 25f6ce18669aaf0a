"""Drawn videos of people who are known, and a stand-in for a face detector that finds them where they are."""

import functools
from dataclasses import replace

import numpy as np
from clips import save_video
from PIL import Image

from faceauth.intake.faces.face import Face
from faceauth.samples.camera import draw_camera_settings, take_photograph
from faceauth.samples.people import draw_identity, draw_shot
from faceauth.samples.portraits import draw_portrait

WIDTH, HEIGHT, FACE_PX = 320, 192, 80
LEFT, MIDDLE, RIGHT = (60, 90), (160, 90), (250, 90)


@functools.cache
def portrait(person, pose=0):
    """A drawn person, (96, 96, 3) uint8; poses differ in the turn of the head."""
    rng = np.random.default_rng((3, person))
    identity, shot, camera = draw_identity(rng), draw_shot(rng), draw_camera_settings(rng)
    rng = np.random.default_rng((3, person, pose))
    turned = replace(shot, yaw=float(rng.uniform(-0.2, 0.2)), smile=float(rng.uniform(0, 0.6)))
    picture = take_photograph(draw_portrait(identity, turned, side_px=96), camera, rng)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def box_at(place):
    x, y = place
    return (x - FACE_PX / 2, y - FACE_PX / 2, x + FACE_PX / 2, y + FACE_PX / 2)


def frame_of(people, *, scene=0, pose=0):
    """A frame that shows people at places, `{person: (x, y)}`; the boxes are written into its first row."""
    rng = np.random.default_rng((5, scene))
    coarse = Image.fromarray(rng.integers(0, 256, (5, 8, 3), dtype=np.uint8))
    frame = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).copy()
    side = round(FACE_PX * 1.3)
    for person, (x, y) in people.items():
        picture = Image.fromarray(portrait(person, pose)).resize((side, side), Image.Resampling.BICUBIC)
        left, top = x - side // 2, y - side // 2
        frame[top : top + side, left : left + side] = np.asarray(picture)
    frame[0, 0] = len(people)
    for number, place in enumerate(people.values()):
        frame[0, 1 + number] = (*place, 0)
    return frame


def find_planted(images_rgb_uint8):
    """Stands in for a face detector: reads what `frame_of` wrote."""
    return [
        [Face(box_at((int(x), int(y))), 0.99) for x, y, _ in image[0, 1 : 1 + image[0, 0, 0]]]
        for image in images_rgb_uint8
    ]


def save_film(path, frames):
    """Writes a lossless video of one frame a second."""
    return save_video(path, frames, rate=1, key_every=1)

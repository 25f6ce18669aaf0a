"""How well faces are followed through sampled frames, in scenes made of stills of people who are known.

python benchmarks/tracks.py --videos 100
python benchmarks/tracks.py --videos 100 --stills FOLDER

Heads are cut out of pictures and laid over a background, one for all people of a scene, so that what is
behind a face does not tell who it is. Boxes are those of the heads: whether faces are found is not measured.
Without `--stills` the people are drawn, each in several poses under one light. A folder of stills has files
named PERSON_ANYTHING.jpg; `--jitter` turns, shifts and lights each of them, where there is one a person.
"""

import argparse
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from faceauth.console import print_table
from faceauth.intake.faces.crop import CropSettings, crop_face
from faceauth.intake.faces.face import load_face_detector, main_face, shrink_for_search
from faceauth.samples.camera import draw_camera_settings, take_photograph
from faceauth.samples.people import draw_identity, draw_shot
from faceauth.samples.portraits import draw_portrait
from faceauth.verdicts.glimpses import glimpse_of, scene_of
from faceauth.verdicts.tracks import Tracker

WIDTH, HEIGHT, FRAMES = 640, 360, 16
SIDE_PX = 90
POSES, DRAWN_PX = 6, 160


@dataclass(frozen=True)
class Head:
    """A head that can be laid over a background.

    Attributes:
        image: The picture around it, a mask of the head in its alpha channel.
        box_xyxy: The face in it.
    """

    image: Image.Image
    box_xyxy: tuple[float, float, float, float]


# For each frame the scene's number, and the people in it by their places (x, y) in sides of a face.
Story = list[tuple[int, dict[int, tuple[float, float]]]]


def one_sits(rng: np.random.Generator) -> Story:
    """One person, who moves a little."""
    return [(0, {0: _near((3.5, 2), rng)}) for _ in range(FRAMES)]


def two_sit(rng: np.random.Generator) -> Story:
    """Two people side by side."""
    return [(0, {0: _near((2.6, 2), rng), 1: _near((4.4, 2), rng)}) for _ in range(FRAMES)]


def two_cross(rng: np.random.Generator) -> Story:
    """Two people who change places between two frames."""
    swap = rng.integers(4, 12)
    places = [(2.0, 2.0), (5.0, 2.0)]
    return [(0, {who: _near(places[who ^ int(t >= swap)], rng) for who in range(2)}) for t in range(FRAMES)]


def come_and_go(rng: np.random.Generator) -> Story:
    """Three people, each away for some frames."""
    away = [(start, start + rng.integers(2, 7)) for start in rng.integers(2, 10, 3)]
    return [
        (0, {who: _near((1.5 + 2 * who, 2), rng) for who in range(3) if not away[who][0] <= t < away[who][1]})
        for t in range(FRAMES)
    ]


def cuts_between_two(rng: np.random.Generator) -> Story:
    """Two people who talk, each in a scene of its own, in the same part of the picture."""
    turns = np.cumsum(rng.random(FRAMES) < 0.5) % 2
    return [(int(who), {int(who): _near((3.5, 2), rng)}) for who in turns]


def replaced(rng: np.random.Generator) -> Story:
    """One person leaves, and another one sits down in the same place between two frames."""
    when = rng.integers(3, 13)
    return [(0, {int(t >= when): _near((3.5, 2), rng)}) for t in range(FRAMES)]


def four_walk(rng: np.random.Generator) -> Story:
    """Four people who walk about, up to a face's side from frame to frame."""
    story: Story = []
    places = np.array([(0.8 + 1.7 * who, 2.0) for who in range(4)])
    for _ in range(FRAMES):
        places = np.clip(places + rng.uniform(-0.9, 0.9, places.shape), (0.7, 1.0), (6.3, 3.0))
        # Who is hidden behind another is not seen.
        gaps = np.abs(places[:, None] - places).sum(-1) + 9 * np.eye(4)
        hidden = {int(who) for who in range(4) if gaps[who, :who].min(initial=9) < 1.1}
        story.append((0, {who: (places[who][0], places[who][1]) for who in range(4) if who not in hidden}))
    return story


STORIES: dict[str, Callable[[np.random.Generator], Story]] = {
    story.__name__: story
    for story in (one_sits, two_sit, two_cross, come_and_go, cuts_between_two, replaced, four_walk)
}


def main() -> None:
    """Prints, for each kind of scene, how often people were mixed up or split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=100, help="Videos of each kind.")
    parser.add_argument("--seconds", type=float, default=2.0, help="Seconds from frame to frame.")
    parser.add_argument("--people", type=int, default=40, help="People that are drawn.")
    parser.add_argument("--stills", type=Path, help="A folder of PERSON_ANYTHING.jpg instead.")
    parser.add_argument("--jitter", action="store_true", help="Turn, shift and light each still.")
    parser.add_argument("--seed", type=int, default=0, help="Of people, scenes and moves.")
    arguments = parser.parse_args()
    people = list(_stills(arguments.stills) if arguments.stills else _drawn(arguments.people, arguments.seed))
    print(f"{len(people)} people, {sum(map(len, people))} stills, {arguments.videos} videos of each kind")
    rows = []
    for name, story in STORIES.items():
        rng = np.random.default_rng(arguments.seed)
        counts: Counter[str] = Counter()
        for _ in range(arguments.videos):
            counts += _count(story(rng), people, rng, arguments.seconds, arguments.jitter)
        rows.append(
            [
                name.replace("_", " "),
                *(str(counts[key]) for key in ("people", "whole", "tracks", "mixed", "faces", "wrong")),
            ]
        )
    print_table(["", "people", "in one track", "tracks", "of two people", "faces", "with another's"], rows)


def _count(
    story: Story, people: list[list[Head]], rng: np.random.Generator, seconds: float, is_jittered: bool
) -> Counter[str]:
    cast = rng.choice(len(people), 4, replace=False)
    scenes = [_background(rng) for _ in range(2)]
    light = [rng.uniform(0.8, 1.2, 3) for _ in range(2)]
    tracker = Tracker()
    truth_of: dict[int, list[int]] = defaultdict(list)
    tracks_of: dict[int, set[int]] = defaultdict(set)
    for t, (scene, places) in enumerate(story):
        frame = scenes[scene].copy()
        boxes = {}
        for who, place in places.items():
            heads = people[cast[who]]
            head = heads[int(rng.integers(len(heads)))]
            boxes[who] = _lay(frame, _jittered(head, rng) if is_jittered else head, place, rng)
        pixels = _compressed(np.clip(np.asarray(frame) * light[scene], 0, 255).astype(np.uint8))
        small = scene_of(pixels)
        glimpses = [glimpse_of(crop_face(pixels, box, CropSettings()), small) for box in boxes.values()]
        found = tracker.follow(glimpses, list(boxes.values()), time_s=t * seconds)
        for who, track in zip(boxes, found, strict=True):
            truth_of[track].append(who)
            tracks_of[who].add(track)
    most = [Counter(truth).most_common(1)[0][1] for truth in truth_of.values()]
    return Counter(
        people=len(tracks_of),
        whole=sum(len(tracks) == 1 for tracks in tracks_of.values()),
        tracks=len(truth_of),
        mixed=sum(len(set(truth)) > 1 for truth in truth_of.values()),
        faces=sum(map(len, truth_of.values())),
        wrong=sum(map(len, truth_of.values())) - sum(most),
    )


def _near(place: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    return place[0] + rng.normal(0, 0.15), place[1] + rng.normal(0, 0.1)


def _background(rng: np.random.Generator) -> Image.Image:
    base = rng.uniform(30, 200, 3)
    coarse = np.clip(base + rng.normal(0, 40, (9, 16, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def _lay(
    frame: Image.Image, head: Head, place: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = head.box_xyxy
    scale = SIDE_PX / max(x2 - x1, y2 - y1) * np.exp(rng.normal(0, 0.06))
    width, height = (max(1, round(side * scale)) for side in head.image.size)
    left = round(place[0] * SIDE_PX - (x1 + x2) / 2 * scale)
    top = round(place[1] * SIDE_PX - (y1 + y2) / 2 * scale)
    image = head.image.resize((width, height), Image.Resampling.BICUBIC)
    frame.paste(image, (left, top), image)
    wobble = rng.normal(0, 0.02, 4) * SIDE_PX
    return (
        float(x1 * scale + left + wobble[0]),
        float(y1 * scale + top + wobble[1]),
        float(x2 * scale + left + wobble[2]),
        float(y2 * scale + top + wobble[3]),
    )


def _jittered(head: Head, rng: np.random.Generator) -> Head:
    x1, y1, x2, y2 = head.box_xyxy
    # Turned about the face's middle, so that the box stays.
    image = head.image.rotate(
        rng.normal(0, 6), Image.Resampling.BICUBIC, center=((x1 + x2) / 2, (y1 + y2) / 2)
    )
    if rng.random() < 0.3:
        width = image.width
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x1, x2 = width - x2, width - x1
    pixels = np.asarray(image).astype(np.float32)
    pixels[..., :3] *= np.exp(rng.normal(0, 0.05))
    return Head(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), (x1, y1, x2, y2))


def _compressed(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def _head(picture_rgb_uint8: np.ndarray, box_xyxy: tuple[float, float, float, float]) -> Head:
    height, width = picture_rgb_uint8.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    x, y = np.arange(width), np.arange(height)[:, None]
    side = max(x2 - x1, y2 - y1)
    inside = np.hypot((x - (x1 + x2) / 2) / (0.62 * side), (y - (y1 + 0.45 * (y2 - y1))) / (0.75 * side)) < 1
    mask = Image.fromarray((inside * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(side / 40))
    image = Image.fromarray(picture_rgb_uint8)
    image.putalpha(mask)
    return Head(image, box_xyxy)


def _drawn(n_people: int, seed: int) -> Iterator[list[Head]]:
    for number in range(n_people):
        rng = np.random.default_rng((seed, number))
        identity, shot, camera = draw_identity(rng), draw_shot(rng), draw_camera_settings(rng)
        heads = []
        for _ in range(POSES):
            pose = replace(
                shot,
                yaw=float(np.clip(rng.normal(0, 0.22), -0.45, 0.45)),
                pitch=float(np.clip(rng.normal(0, 0.08), -0.18, 0.18)),
                roll=float(np.clip(rng.normal(0, 0.08), -0.22, 0.22)),
                smile=float(rng.uniform(-0.2, 0.9)),
                mouth_open=float(rng.uniform(0, 0.05)),
            )
            portrait = draw_portrait(identity, pose, side_px=DRAWN_PX)
            picture = np.clip(take_photograph(portrait, camera, rng) * 255, 0, 255).astype(np.uint8)
            left_eye, right_eye, _, left_mouth, right_mouth = portrait.landmarks_xy
            eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
            x, y = map(float, (eyes + mouth) / 2)
            half = 1.3 * float(np.linalg.norm(mouth - eyes))
            heads.append(_head(picture, (x - 0.8 * half, y - half, x + 0.8 * half, y + half)))
        yield heads


def _stills(folder: Path) -> Iterator[list[Head]]:
    detect = load_face_detector("mtcnn")
    heads: dict[str, list[Head]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        picture = np.asarray(Image.open(path).convert("RGB"))
        search = shrink_for_search(picture)
        face = main_face(detect([search])[0], min_confidence=0.9)
        if face is not None:
            face = face.scaled(picture.shape[1] / search.shape[1])
            (x1, y1, x2, y2), side = face.box_xyxy, face.longer_side_px
            left, top = max(0, int(x1 - side)), max(0, int(y1 - side))
            cut = Image.fromarray(picture[top : int(y2 + side), left : int(x2 + side)])
            # Twice as large as it will be shown, which spares time.
            factor = min(1.0, 2 * SIDE_PX / side)
            cut = cut.resize((round(cut.width * factor), round(cut.height * factor)))
            box = (
                (x1 - left) * factor,
                (y1 - top) * factor,
                (x2 - left) * factor,
                (y2 - top) * factor,
            )
            heads[path.name.split("_")[0]].append(_head(np.asarray(cut), box))
    yield from heads.values()


if __name__ == "__main__":
    main()

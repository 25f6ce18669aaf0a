"""The trace of a face swap: another person's inner face, warped, recoloured and blended in."""

from dataclasses import replace

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from faceauth.samples.camera import draw_camera_settings, take_photograph
from faceauth.samples.noise import FloatArray
from faceauth.samples.people import Identity, draw_identity
from faceauth.samples.portraits import draw_portrait
from faceauth.samples.subjects import SIMULATED_GENERATORS, Subject

_SWAP_PX = (112, 144)
_SEAM_SOFTNESS = 0.012


@SIMULATED_GENERATORS.register("sim_faceswap")
def paste_other_face(subject: Subject, rng: np.random.Generator) -> FloatArray:
    """Replaces the inner face of the photograph by that of a person who appears nowhere else.

    The donor is photographed by another camera in nearly the same pose, shrunk to the size at which swapping
    networks work, warped onto the target's landmarks, given the target's colours (mean and spread, after
    Reinhard et al., IEEE CG&A 2001) and blended in. Outside the seam the picture is an honest photograph;
    inside, grain and sharpness are those of another picture (Face X-ray, arXiv 1912.13458, section 3).

    Args:
        subject: Gives the target's photograph.
        rng: Draws the donor, the donor's camera and the seam.
    """
    target, side = subject.portrait, subject.portrait.side_px
    shot = replace(
        subject.shot,
        yaw=subject.shot.yaw + rng.normal(0, 0.04),
        pitch=subject.shot.pitch + rng.normal(0, 0.03),
        roll=subject.shot.roll + rng.normal(0, 0.05),
        texture_seed=int(rng.integers(2**31)),
    )
    donor = draw_portrait(_draw_donor(subject.identity, rng), shot, side_px=side)
    donor_picture = take_photograph(donor, draw_camera_settings(rng), rng)
    shrunk_px = round(rng.integers(*_SWAP_PX) * side / 224)
    warp = _similarity(target.landmarks_xy, donor.landmarks_xy)
    face = np.stack(
        [
            _warped(_shrunk(plane, shrunk_px), warp, shrunk_px / side, side)
            for plane in np.moveaxis(donor_picture, -1, 0)
        ],
        axis=-1,
    )
    inside = target.inner_face > 0.5
    photograph = subject.photograph_srgb
    mean, spread = face[inside].mean(axis=0), face[inside].std(axis=0)
    wanted_mean, wanted_spread = photograph[inside].mean(axis=0), photograph[inside].std(axis=0)
    face = (face - mean) * np.clip(wanted_spread / np.maximum(spread, 1e-3), 0.6, 1.6) + wanted_mean
    blend = gaussian_filter(target.inner_face, _SEAM_SOFTNESS * side)[..., None]
    return (photograph + blend * (face - photograph)).astype(np.float32)


def _draw_donor(target: Identity, rng: np.random.Generator) -> Identity:
    """Makes up a donor who matches the target in what a swapper would choose a donor by."""
    return replace(
        draw_identity(rng),
        melanin=float(np.clip(target.melanin + rng.normal(0, 0.05), 0, 1)),
        beard=target.beard,
        hair_style="bald",
        hair_rgb=target.hair_rgb,
        glasses=target.glasses,
        frame_rgb=target.frame_rgb,
        frame_roundness=target.frame_roundness,
        frame_width=target.frame_width,
    )


def _similarity(from_xy: FloatArray, to_xy: FloatArray) -> tuple[complex, complex]:
    """Fits to = a * from + b in the complex plane: turn, scale and shift, by least squares."""
    source = from_xy[:, 0] + 1j * from_xy[:, 1]
    wanted = to_xy[:, 0] + 1j * to_xy[:, 1]
    centred = source - source.mean()
    turn = np.vdot(centred, wanted - wanted.mean()) / np.vdot(centred, centred)
    return complex(turn), complex(wanted.mean() - turn * source.mean())


def _shrunk(plane: FloatArray, side_px: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(plane)).resize((side_px, side_px), Image.Resampling.BICUBIC)


def _warped(picture: Image.Image, warp: tuple[complex, complex], scale: float, side_px: int) -> FloatArray:
    turn, shift = warp[0] * scale, warp[1] * scale
    matrix = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    return np.asarray(
        picture.transform((side_px, side_px), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    )

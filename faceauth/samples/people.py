"""Who is portrayed and how the picture is taken: every number that a simulated portrait is drawn from.

Real and fake pictures draw their shots from the same law, so that nothing but the trace of a generator
tells the classes apart. Lengths are in head units: 1 unit is about 11 cm, a head is about 2.1 units tall.
"""

from dataclasses import dataclass

import numpy as np

Rgb = tuple[float, float, float]

HAIR_STYLES = ("bald", "cropped", "short", "parted", "fringe", "curly", "bob", "long", "wavy", "tied")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
BACKGROUNDS = ("studio", "blobs", "panels", "leaves")
CLOTHES = ("plain", "stripes", "checks")
NECKLINES = ("crew", "open", "collar")

_HAIR_COLOURS: tuple[Rgb, ...] = (
    (0.012, 0.010, 0.010),
    (0.030, 0.018, 0.012),
    (0.075, 0.038, 0.020),
    (0.160, 0.085, 0.040),
    (0.360, 0.230, 0.110),
    (0.250, 0.085, 0.030),
    (0.300, 0.290, 0.280),
)
_IRIS_COLOURS: tuple[Rgb, ...] = (
    (0.060, 0.028, 0.012),
    (0.110, 0.055, 0.020),
    (0.100, 0.110, 0.045),
    (0.090, 0.150, 0.190),
    (0.120, 0.170, 0.170),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """One made-up person: what stays the same from shot to shot.

    Attributes:
        head_width: Factor on the width of the skull and the cheekbones.
        jaw_width: Factor on the width of the jaw.
        chin_drop: How much lower than usual the chin lies, in units.
        cheekbone: Height of the cheekbones' relief, in units.
        brow_ridge: Height of the ridge over the eyes, in units.
        eye_distance: From the middle of the face to the middle of an eye, in units.
        eye_width: Half the width of an eye, in units.
        eye_height: Half the height of the open eye, in units.
        eye_tilt: Slope of the eyes' axis; positive raises the outer corners.
        lid_fold: Distance of the upper lid's crease from the lid, in units.
        iris_rgb: Colour of the iris, linear light.
        brow_height: Height of the eyebrows over the eyes, in units.
        brow_thickness: Half the thickness of an eyebrow, in units.
        brow_arch: How much the eyebrow bends, in units.
        nose_length: From the eyes to the underside of the nose, in units.
        nose_width: Half the width at the nostrils, in units.
        nose_height: How far the tip stands out, in units.
        nose_bump: Relief of the nose's bridge, in units.
        mouth_drop: From the underside of the nose to the mouth's line, in units.
        mouth_width: Half the width of the mouth, in units.
        lip_upper: Height of the upper lip, in units.
        lip_lower: Height of the lower lip, in units.
        lip_rgb_factor: What the lips' colour is to the skin's, channel by channel.
        ear_size: Factor on the ears.
        melanin: 0 for the lightest skin to 1 for the darkest.
        redness: How much the blood shows, 0 to 1.
        freckles: How many freckles, 0 to 1.
        age: Depth of the folds, 0 to 1.
        neck_width: Half the width of the neck, in units.
        hair_style: One of `HAIR_STYLES`.
        hair_rgb: Colour of the hair, linear light.
        hair_volume: Thickness of the hair over the skull, in units.
        hairline: Height of the hair's edge over the forehead, in units.
        parting: Where the hair parts, in units from the middle.
        beard: One of `BEARDS`.
        beard_density: Cover of the beard, 0 to 1.
        glasses: Whether glasses are worn.
        frame_rgb: Colour of the glasses' frame, linear light.
        frame_roundness: Exponent of the lenses' outline; 2 is an ellipse, more is squarer.
        frame_width: Half the thickness of the frame, in units.
    """

    head_width: float
    jaw_width: float
    chin_drop: float
    cheekbone: float
    brow_ridge: float
    eye_distance: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    lid_fold: float
    iris_rgb: Rgb
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_bump: float
    mouth_drop: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    lip_rgb_factor: Rgb
    ear_size: float
    melanin: float
    redness: float
    freckles: float
    age: float
    neck_width: float
    hair_style: str
    hair_rgb: Rgb
    hair_volume: float
    hairline: float
    parting: float
    beard: str
    beard_density: float
    glasses: bool
    frame_rgb: Rgb
    frame_roundness: float
    frame_width: float


@dataclass(frozen=True, slots=True)
class Shot:
    """One occasion on which a picture was taken: what changes from shot to shot.

    Attributes:
        yaw: Turn of the head in radians; positive turns the face to the picture's right.
        pitch: Nod in radians; positive looks up.
        roll: Tilt in radians.
        head_share: Length of one head unit as a share of the picture's side.
        centre: Where the head's middle lies, (x, y) in head units from the picture's middle, y upwards.
        light: Unit vector towards the main light, (x right, y up, z to the camera).
        light_rgb: Colour and strength of the main light.
        sky_rgb: Light from above and all around.
        ground_rgb: Light from below.
        rim: Strength of a light from behind.
        smile: -0.3 for a sour mouth to 1 for a broad smile.
        mouth_open: Gap between the lips, in units.
        eye_open: Factor on the height of the open eye.
        gaze: Offset of the irises, (x, y) in units.
        brow_raise: Lift of the eyebrows, in units.
        skin_gloss: How much the skin shines, 0 to 1.
        background: One of `BACKGROUNDS`.
        background_rgbs: Three colours to paint the background with, linear light.
        clothes: One of `CLOTHES`.
        clothes_rgbs: Two colours, linear light.
        neckline: One of `NECKLINES`.
        texture_seed: Seeds everything that is painted at random: pores, strands, background.
    """

    yaw: float
    pitch: float
    roll: float
    head_share: float
    centre: tuple[float, float]
    light: tuple[float, float, float]
    light_rgb: Rgb
    sky_rgb: Rgb
    ground_rgb: Rgb
    rim: float
    smile: float
    mouth_open: float
    eye_open: float
    gaze: tuple[float, float]
    brow_raise: float
    skin_gloss: float
    background: str
    background_rgbs: tuple[Rgb, Rgb, Rgb]
    clothes: str
    clothes_rgbs: tuple[Rgb, Rgb]
    neckline: str
    texture_seed: int


def draw_identity(rng: np.random.Generator) -> Identity:
    """Makes up a person.

    Args:
        rng: Source of randomness; the same state gives the same person.
    """
    # One slow axis ties jaw, brows, neck, beard and hair together, as it does in people.
    rugged = rng.uniform()
    melanin = float(rng.beta(1.1, 1.5))
    hair_weights = np.array([0.9, 1.2, 1.6, 1.4, 0.8, 0.8, 0.9, 1.2, 1.2, 1.0])
    hair_weights[[0, 1, 2]] *= 0.3 + 1.4 * rugged
    hair_weights[[6, 7, 8, 9]] *= 1.6 - 1.4 * rugged
    beard_weights = np.array([1.0, 0.8, 0.35, 0.4, 0.6]) if rugged > 0.5 else np.array([1.0, 0, 0, 0, 0])
    colour_weights = np.array([2.0, 2.0, 1.5, 1.2, 1.0, 0.6, 0.8])
    colour_weights[[3, 4, 5]] *= max(0.02, 1 - 1.6 * melanin)
    iris_weights = np.array([2.0, 1.5, 1.0, 1.0, 0.8])
    iris_weights[2:] *= max(0.01, 1 - 1.8 * melanin)
    lipstick = rugged < 0.4 and rng.uniform() < 0.45
    lips = (0.95, 0.42, 0.46) if lipstick else (0.96, 0.66, 0.66)
    tint = rng.uniform(0.9, 1.1, 3)
    frame = _colour(rng, low=0.01, high=0.25) if rng.uniform() < 0.5 else (0.015, 0.014, 0.014)
    return Identity(
        head_width=_normal(rng, 1.0, 0.045),
        jaw_width=_normal(rng, 0.93 + 0.12 * rugged, 0.05),
        chin_drop=_normal(rng, 0.02 * rugged, 0.035),
        cheekbone=_normal(rng, 0.05, 0.018),
        brow_ridge=_normal(rng, 0.015 + 0.035 * rugged, 0.010),
        eye_distance=_normal(rng, 0.285, 0.014),
        eye_width=_normal(rng, 0.140, 0.008),
        eye_height=_normal(rng, 0.060 - 0.010 * rugged, 0.006),
        eye_tilt=_normal(rng, 0.06, 0.06),
        lid_fold=_normal(rng, 0.035, 0.010),
        iris_rgb=_vary(rng, _IRIS_COLOURS[_choose(rng, iris_weights)], 0.2),
        brow_height=_normal(rng, 0.185 - 0.02 * rugged, 0.016),
        brow_thickness=_normal(rng, 0.022 + 0.014 * rugged, 0.005),
        brow_arch=_normal(rng, 0.040 - 0.015 * rugged, 0.012),
        nose_length=_normal(rng, 0.44, 0.030),
        nose_width=_normal(rng, 0.135 + 0.03 * melanin, 0.014),
        nose_height=_normal(rng, 0.20 - 0.03 * melanin, 0.022),
        nose_bump=_normal(rng, 0.0, 0.015),
        mouth_drop=_normal(rng, 0.185, 0.016),
        mouth_width=_normal(rng, 0.225, 0.018),
        lip_upper=_normal(rng, 0.044 + 0.016 * melanin, 0.008),
        lip_lower=_normal(rng, 0.062 + 0.016 * melanin, 0.009),
        lip_rgb_factor=(lips[0] * tint[0], lips[1] * tint[1], lips[2] * tint[2]),
        ear_size=_normal(rng, 1.0, 0.10),
        melanin=melanin,
        redness=rng.uniform(0.1, 0.9),
        freckles=max(0.0, rng.uniform(-1.5, 1.0)) * max(0.0, 1 - 1.5 * melanin),
        age=rng.uniform() ** 1.5,
        neck_width=_normal(rng, 0.31 + 0.09 * rugged, 0.025),
        hair_style=HAIR_STYLES[_choose(rng, hair_weights)],
        hair_rgb=_vary(rng, _HAIR_COLOURS[_choose(rng, colour_weights)], 0.25),
        hair_volume=rng.uniform(0.06, 0.14),
        hairline=_normal(rng, 0.67, 0.045),
        parting=rng.uniform(-0.35, 0.35),
        beard=BEARDS[_choose(rng, beard_weights)],
        beard_density=rng.uniform(0.55, 0.95),
        glasses=bool(rng.uniform() < 0.22),
        frame_rgb=frame,
        frame_roundness=rng.uniform(2.2, 4.5),
        frame_width=rng.uniform(0.008, 0.020),
    )


def draw_shot(rng: np.random.Generator) -> Shot:
    """Makes up an occasion: pose, light, expression, clothes and background.

    Args:
        rng: Source of randomness; the same state gives the same shot.
    """
    side, lift = rng.uniform(-1.0, 1.0), rng.uniform(0.05, 0.85)
    light = np.array([np.sin(side) * np.cos(lift), np.sin(lift), np.cos(side) * np.cos(lift)])
    warmth = rng.normal(0, 0.10)
    key = rng.uniform(0.75, 1.25)
    sky = rng.uniform(0.28, 0.60)
    ground = rng.uniform(0.10, 0.28)
    base = _colour(rng, low=0.03, high=0.55)
    return Shot(
        yaw=float(np.clip(rng.normal(0, 0.22), -0.45, 0.45)),
        pitch=float(np.clip(rng.normal(0.0, 0.08), -0.18, 0.18)),
        roll=float(np.clip(rng.normal(0, 0.08), -0.22, 0.22)),
        head_share=rng.uniform(0.350, 0.388),
        centre=(rng.normal(0, 0.05), rng.normal(0.10, 0.04)),
        light=(float(light[0]), float(light[1]), float(light[2])),
        light_rgb=(key * (1 + warmth), key, key * (1 - warmth)),
        sky_rgb=(sky * (1 - 0.5 * warmth), sky, sky * (1 + 0.5 * warmth)),
        ground_rgb=(ground * 1.1, ground, ground * 0.9),
        rim=max(0.0, rng.uniform(-0.6, 0.8)),
        smile=float(np.clip(rng.normal(0.3, 0.35), -0.3, 1.0)),
        mouth_open=max(0.0, rng.uniform(-0.06, 0.05)),
        eye_open=rng.uniform(0.85, 1.12),
        gaze=(rng.normal(0, 0.014), rng.normal(0, 0.006)),
        brow_raise=rng.normal(0, 0.014),
        skin_gloss=rng.uniform(0.2, 1.0),
        background=BACKGROUNDS[rng.integers(len(BACKGROUNDS))],
        background_rgbs=(base, _vary(rng, base, 0.7), _colour(rng, low=0.03, high=0.6)),
        clothes=CLOTHES[_choose(rng, np.array([2.0, 1.0, 1.0]))],
        clothes_rgbs=(_colour(rng, low=0.02, high=0.6), _colour(rng, low=0.02, high=0.6)),
        neckline=NECKLINES[rng.integers(len(NECKLINES))],
        texture_seed=int(rng.integers(2**31)),
    )


def _normal(rng: np.random.Generator, mean: float, deviation: float) -> float:
    """Draws from a normal law cut at two deviations, so that no face falls apart."""
    return mean + deviation * float(np.clip(rng.standard_normal(), -2, 2))


def _choose(rng: np.random.Generator, weights: np.ndarray) -> int:
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _vary(rng: np.random.Generator, rgb: Rgb, spread: float) -> Rgb:
    factor = float(np.exp(rng.normal(0, spread)))
    red, green, blue = (
        min(0.9, channel * factor * float(np.exp(rng.normal(0, spread / 4)))) for channel in rgb
    )
    return (red, green, blue)


def _colour(rng: np.random.Generator, *, low: float, high: float) -> Rgb:
    """Draws a colour of random brightness and mostly low saturation."""
    brightness = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    hue = rng.uniform(0.4, 1.6, 3) ** rng.uniform(0.1, 1.2)
    red, green, blue = (float(min(0.9, brightness * channel)) for channel in hue / hue.mean())
    return (red, green, blue)

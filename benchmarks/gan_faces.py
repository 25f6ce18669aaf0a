"""Draws faces with a real face GAN, MobileStyleGAN, whose weights a PyPI package carries.

    pip download --no-deps random-face==2021.7.21.1 && unzip random_face-*.whl -d random_face
    python benchmarks/gan_faces.py random_face/random_face/data faces/fake/mobile_stylegan --n 300

Training material for a detector that shall know more than one family of GANs (Belousov, "MobileStyleGAN: a
lightweight convolutional neural network for high-fidelity image synthesis", arXiv 2104.04767). Every face
depends on its number alone, so a stopped run goes on where it was. The model is distilled from StyleGAN2, so
terms for research alone may apply to the pictures: none of them is part of this project.
"""

import argparse
from pathlib import Path

import numpy as np
import openvino
from PIL import Image

from faceauth.console import progress
from faceauth.files import whole_file

# How far styles are drawn towards the mean style; 1 is all of the variety, with broken faces among them.
TRUNCATION = (0.5, 0.9)
STYLES_OF_MEAN = 256


def draw_faces(models: Path, output: Path, *, n: int, side_px: tuple[int, int], seed: int) -> None:
    """Writes n faces as JPEG, each of a side and a quality of its own, as pictures on the web have them.

    Args:
        models: Folder with `MappingNetwork.xml` and `SynthesisNetwork.xml`.
        output: Folder of the pictures.
        n: How many.
        side_px: Smallest and largest side.
        seed: Another seed draws other people.
    """
    core = openvino.Core()
    mapping, synthesis = (
        core.compile_model(str(models / f"{name}Network.xml"), "CPU") for name in ("Mapping", "Synthesis")
    )

    def style_of(noise: np.ndarray) -> np.ndarray:
        return next(iter(mapping(noise).values()))

    rng = np.random.default_rng(seed)
    mean_style = np.mean(
        [style_of(rng.standard_normal((1, 512), np.float32)) for _ in range(STYLES_OF_MEAN)], axis=0
    )
    output.mkdir(parents=True, exist_ok=True)
    with progress("faces", n) as advance:
        for number in range(n):
            path = output / f"{number:05d}.jpg"
            if not path.exists():
                own = np.random.default_rng([seed, number])
                style = style_of(own.standard_normal((1, 512), np.float32))
                style = mean_style + own.uniform(*TRUNCATION) * (style - mean_style)
                image = next(iter(synthesis(style.astype(np.float32)).values()))[0]
                pixels = ((image.transpose(1, 2, 0).clip(-1, 1) + 1) * 127.5).astype(np.uint8)
                side = int(own.integers(side_px[0], side_px[1] + 1))
                picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
                with whole_file(path) as draft:
                    picture.save(draft, "JPEG", quality=int(own.integers(70, 96)))
            advance(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--side", type=int, nargs=2, default=(256, 1024), metavar=("MIN", "MAX"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw_faces(arguments.models, arguments.output, n=arguments.n, side_px=arguments.side, seed=arguments.seed)

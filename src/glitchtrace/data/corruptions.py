"""Corruptions of pictures: what a bad sensor, a bad lens or a bad file makes of them.

Each takes a picture (H, W) or (H, W, 3) with values in [0, 1] and a severity from 1 to 5 and returns the same form.
Chance comes from a generator that depends on the picture's identity alone, so that a corrupted picture is the same
in every cell.  Brightness and the strength of the noises follow Hendrycks and Dietterich, Benchmarking neural
network robustness to common corruptions, ICLR 2019, and Mu and Gilmer, MNIST-C, 2019; no severity is published for
the glitch studies.
"""

import io
from collections.abc import Callable

import numpy as np

from glitchtrace.core.seeding import generator

SEVERITIES = (1, 2, 3, 4, 5)
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def corrupt(pictures: np.ndarray, rows: np.ndarray, name: str, severity: int) -> np.ndarray:
    """Corrupted copies of pictures uint8 (n, H, W) or (n, H, W, 3).

    ``rows``: (n,) rows of the pictures in their source, the identities that chance depends on.
    """
    function = CORRUPTIONS[name]
    corrupted = np.empty_like(pictures)
    for position, (picture, row) in enumerate(zip(pictures, rows, strict=True)):
        changed = function(picture / 255, severity, generator(int(row), f"corruption {name}"))
        corrupted[position] = np.rint(np.clip(changed, 0, 1) * 255)
    return corrupted


def _brightness(picture: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Raise the value (largest channel) by 0.1 per severity; hue and saturation stay, grey is raised as it is."""
    step = 0.1 * severity
    if picture.ndim == 2:
        return picture + step
    value = picture.max(axis=2, keepdims=True)
    raised = np.minimum(value + step, 1)
    changed: np.ndarray = np.where(value > 0, picture * (raised / np.where(value > 0, value, 1)), raised)
    return changed


def _stripe(picture: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Invert a vertical band in the middle, a tenth of the width per severity, at least one column."""
    width = picture.shape[1]
    band = max(round(0.1 * severity * width), 1)
    first = (width - band) // 2
    striped = picture.copy()
    striped[:, first : first + band] = 1 - picture[:, first : first + band]
    return striped


def _gaussian_noise(picture: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return picture + rng.normal(scale=(0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1], size=picture.shape)


def _impulse_noise(picture: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Black or white values with a probability, the same for both."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    chance = rng.random(picture.shape)
    return np.where(chance < share / 2, 0.0, np.where(chance < share, 1.0, picture))


def _gaussian_blur(picture: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """A standard deviation of 2 % of the height per severity."""
    from scipy.ndimage import gaussian_filter

    spread = 0.02 * severity * picture.shape[0]
    changed: np.ndarray = gaussian_filter(picture, sigma=(spread, spread, 0)[: picture.ndim], mode="nearest")
    return changed


def _contrast(picture: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Differences from the mean of each channel shrink to a fraction."""
    mean = picture.mean(axis=(0, 1), keepdims=True)
    changed: np.ndarray = mean + (picture - mean) * (0.6, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    return changed


def _rotate(picture: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """By 12 degrees per severity, to the left or to the right; the corners are filled with the border."""
    from scipy.ndimage import rotate

    angle = 12.0 * severity * rng.choice([-1, 1])
    changed: np.ndarray = rotate(picture, angle, axes=(1, 0), reshape=False, order=1, mode="nearest")
    return changed


def _pixelate(picture: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Mean of larger and larger pixels, stretched to the old size again."""
    from PIL import Image

    height, width = picture.shape[:2]
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    small = (max(round(width * share), 1), max(round(height * share), 1))
    image = Image.fromarray(_bytes(picture)).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST)) / 255


def _jpeg(picture: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """JPEG of low quality."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(_bytes(picture)).save(stream, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    return np.asarray(Image.open(stream)) / 255


def _bytes(picture: np.ndarray) -> np.ndarray:
    changed: np.ndarray = np.rint(picture * 255).astype(np.uint8)
    return changed


CORRUPTIONS: dict[str, Corruption] = {
    "brightness": _brightness,
    "stripe": _stripe,
    "gaussian_noise": _gaussian_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "contrast": _contrast,
    "rotate": _rotate,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}

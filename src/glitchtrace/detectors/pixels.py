"""Pixel checks of pictures: too dark, too light, blurred or empty, by CleanVision.

Source: docs/methods/detectors.md#pixel-checks.
"""

import tempfile
from pathlib import Path

import numpy as np

from glitchtrace.detectors.evidence import Detection, Evidence

KIND = "detector"
CARD = {
    "label": "pixel checks",
    "summary": "Worst of CleanVision's checks of a picture: dark, light, blurred, without information.",
    "needs": ["pictures"],
    "finds": "anomaly",
    "family": "pixels",
}
CHECKS = ("dark", "light", "blurry", "low_information")


def detect(evidence: Evidence) -> Detection:
    """1 − the lowest of CleanVision's scores, (n,) in 0 … 1; flagged where it finds any issue."""
    from cleanvision import Imagelab
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, f"{row:08d}.png")) for row in range(len(evidence))]
        for file, picture in zip(files, evidence.pictures, strict=True):
            grey = picture.ndim == 3 and picture.shape[2] == 1
            Image.fromarray(picture[..., 0] if grey else picture).save(file, compress_level=1)
        lab = Imagelab(filepaths=files)
        lab.find_issues({name: {} for name in CHECKS}, n_jobs=1, verbose=False)
        found = lab.issues.loc[files]
    scores = np.column_stack([found[f"{name}_score"] for name in CHECKS]).astype(np.float64)
    flags = np.logical_or.reduce([found[f"is_{name}_issue"].to_numpy(bool) for name in CHECKS])
    return Detection(1 - scores.min(axis=1), flags=np.asarray(flags, bool))

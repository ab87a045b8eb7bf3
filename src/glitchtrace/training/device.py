"""Where networks run."""

import torch

from glitchtrace.core.errors import GlitchtraceError


def choose(device: str) -> torch.device:
    """The device behind ``cpu``, ``cuda`` or ``auto`` (the GPU where there is one).

    Raises GlitchtraceError for ``cuda`` without a usable GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise GlitchtraceError("device: cuda, but torch finds no GPU; set device: cpu or auto")
    return torch.device(device)

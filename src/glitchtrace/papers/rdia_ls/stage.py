"""Stage: train one cell of RDIA-LS, or of a method that it is compared with."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.data.cells import held_out
from glitchtrace.data.description import read_description
from glitchtrace.data.sources import Sources
from glitchtrace.models.network import Network
from glitchtrace.papers.rdia_ls.schedule import Schedule
from glitchtrace.papers.rdia_ls.training import Part, fit
from glitchtrace.training.device import choose

# The validation accuracy that chooses γ is the mean over this many epochs at the end.
LAST_EPOCHS = 10


def train_selection(
    *,
    features: Sequence[str],
    split: str,
    glitch: str,
    history: str,
    model: str,
    model_settings: Mapping[str, Any],
    selection: str,
    settings: Mapping[str, Any],
    ratio: str,
    seed: int,
    device: str = "cpu",
) -> None:
    """Write ``history.parquet``: one row per epoch of one training, see ``training.fit``.

    ``settings``: of the method.  A null ``forget_rate`` takes the ratio of the glitch, a null ``drop_rate``
    half of it.  With a null ``gamma`` each of ``gammas`` is trained and the one with the best validation
    accuracy over the last ten epochs is kept, the first of several.  The column ``gamma`` says which (NaN where
    the method has none).  Initial values and the order of the samples depend on ``seed``.

    Raises GlitchtraceError where gamma is to be chosen and there are no validation samples, for a network that
    the samples do not fit, and for a diverged training.
    """
    place = choose(device)
    train, clean, beside, classes = _parts(
        features, split, glitch, registry.card("model", model)["view"], place
    )
    gammas = _gammas(settings)
    if len(gammas) > 1 and not len(beside["validation"]):
        raise GlitchtraceError(
            f"selections.{selection}.gamma is null, but the split has no validation samples to choose it by; "
            "give gamma, or datasets.<name>.validation_source: holdout"
        )
    noise = float(ratio) if ratio[:1].isdigit() else 0.0
    found = []
    for gamma in gammas:
        networks = _networks(train, classes, model, model_settings, selection, seed, place)
        table = fit(
            networks,
            train,
            clean,
            beside,
            loss=registry.load("selection", selection).batch_loss,
            settings={**settings, "gamma": gamma},
            schedule=schedule(settings, noise),
            batch_size=settings["batch_size"],
            weight_decay=settings["weight_decay"],
            seed=seed,
        )
        found.append(table.assign(gamma=np.nan if gamma is None else gamma))
    scores = [table["validation_accuracy"].tail(LAST_EPOCHS).mean() for table in found]
    best = int(np.argmax(scores)) if len(found) > 1 else 0
    files.write_parquet(found[best], history)


def schedule(settings: Mapping[str, Any], noise: float) -> Schedule:
    """The schedule of a method under its settings at a noise ratio."""
    forget = noise if settings["forget_rate"] is None else settings["forget_rate"]
    drop = settings.get("drop_rate")
    return Schedule(
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        decay_start=settings["decay_start"],
        late_beta1=settings["late_beta1"],
        forget_rate=forget,
        gradual=settings["gradual_epochs"],
        drop_rate=noise / 2 if drop is None else drop,
        warm_up=settings.get("warm_up", 0),
    )


def _gammas(settings: Mapping[str, Any]) -> list[float | None]:
    if "gamma" not in settings:
        return [None]
    return list(settings["gammas"]) if settings["gamma"] is None else [settings["gamma"]]


def _parts(
    features: Sequence[str], split: str, glitch: str, view: str, device: torch.device
) -> tuple[Part, np.ndarray, dict[str, Part], int]:
    """Training samples, whether their labels are right, validation and test samples, number of classes.

    Pixels stay bytes for a network of pictures; vectors become float32 at once.
    """
    parts, table = files.read_parquet(split), files.read_parquet(glitch)
    folder = Path(features[0]).parent
    labels = files.read_npy(folder / "labels.npy", memory_mapped=True)
    sources = Sources(features)

    def part(stored: np.ndarray, of: np.ndarray) -> Part:
        return Part(
            torch.from_numpy(_prepared(stored, view)).to(device),
            torch.from_numpy(of.astype(np.int64)).to(device),
        )

    train = part(sources.samples(table), table["label"].to_numpy())
    beside = {
        name: part(sources.host_rows(rows), own)
        for name, (rows, own) in held_out(parts, table, labels, split).items()
    }
    clean = (table["label"] == table["true_label"]).to_numpy()
    return train, clean, beside, len(read_description(folder / "source.json")["classes"])


def _prepared(stored: np.ndarray, view: str) -> np.ndarray:
    """Stored rows as NCHW bytes, or as float32 vectors with pixels in [0, 1]."""
    if view == "pictures":
        pictures = stored[:, None] if stored.ndim == 3 else stored.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pictures)
    flat = stored.reshape(len(stored), math.prod(stored.shape[1:]))
    return (
        flat.astype(np.float32) / np.float32(255) if stored.dtype == np.uint8 else np.array(flat, np.float32)
    )


def _networks(
    train: Part,
    classes: int,
    model: str,
    settings: Mapping[str, Any],
    selection: str,
    seed: int,
    device: torch.device,
) -> list[Network]:
    """Untrained networks, as many as the method trains; their initial values depend on the run seed."""
    seeds = generator(seed, "initial values").integers(
        2**31, size=registry.card("selection", selection)["networks"]
    )
    shape = tuple(train.inputs.shape[1:])
    module = registry.load("model", model)
    return [module.build(shape, classes, {**settings, "head_seed": int(own)}).to(device) for own in seeds]

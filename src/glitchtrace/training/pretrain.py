"""Pretraining of our own ResNet-20: the CIFAR-10 weights that the package ships.

All parameters are trained from random values with Nesterov momentum, weight decay and a one-cycle learning
rate; each picture is flipped at random and cropped at random from itself with a reflected border of 4 pixels.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.heap import kept_heap
from glitchtrace.core.seeding import generator
from glitchtrace.data.description import read_description
from glitchtrace.data.preprocess import PictureInputs
from glitchtrace.models.resnet20 import ResNet20, Shortcut
from glitchtrace.training.device import choose
from glitchtrace.training.evaluation import evaluate
from glitchtrace.training.sgd import batches

BORDER = 4
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
RISE = 0.25  # share of the steps in which the learning rate rises
EVALUATION_BATCH = 100
CARD_TEXT = """# {name}

ResNet-20 (He et al. 2016) for 32 × 32 colour pictures, trained by this project from random values on the
50,000 official training pictures of CIFAR-10 (Krizhevsky 2009) in a public JPEG copy. The accuracy is top-1
on the 10,000 official test pictures of the same copy after the last epoch; they took no part in training or
in any choice.

| | |
|---|---|
{table}

JPEG compression matters: compare this accuracy with that of other networks on the JPEG pictures only.
Remake: `snakemake --cores 1 pretrain`.
"""


@kept_heap()
def pretrain(
    *,
    features: str | Path,
    labels: str | Path,
    description: str | Path,
    weights: str | Path,
    card: str | Path,
    seed: int,
    epochs: int,
    batch_size: int = 256,
    learning_rate: float = 0.3,
    shortcut: Shortcut = "padding",
    device: str = "cpu",
) -> None:
    """Train on the training part of a source of colour pictures; write ``weights`` and their model ``card``.

    ``features``, ``labels`` and ``description`` are the source's files.  ``learning_rate`` is the peak of the
    one-cycle schedule.  The accuracy in the card is that of the last epoch on the source's test part, which
    takes no part in training or choice.  The same arguments give the same bytes on one machine and thread
    count.

    Raises GlitchtraceError for a source of another kind and for a diverged training.
    """
    place = choose(device)
    pictures, targets = files.read_npy(features, memory_mapped=True), files.read_npy(labels)
    source = read_description(description)
    if pictures.ndim != 4 or not {"train", "test"} <= source["parts"].keys():
        raise GlitchtraceError(
            f"{description}: pretraining needs colour pictures in the parts train and test"
        )
    train, test = (np.arange(*source["parts"][part]) for part in ("train", "test"))
    network = ResNet20(len(source["classes"]), shortcut, seed).to(place)
    steps = epochs * -(-len(train) // batch_size)
    optimiser = torch.optim.SGD(
        network.parameters(), learning_rate, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, steps, pct_start=RISE, cycle_momentum=False
    )
    random = generator(seed, "pretrain")
    crops = _crops(pictures)
    held_out = PictureInputs(pictures[test])
    accuracies = []
    for epoch in tqdm(range(1, epochs + 1), desc="pretrain", unit="epoch", mininterval=0):
        network.train()
        losses = []
        for rows in batches(random.permutation(train), batch_size):
            x = PictureInputs(_augmented(crops, rows, random)).batch(slice(None)).to(place)
            loss = cross_entropy(network(x), torch.from_numpy(targets[rows]).to(place))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        if not np.isfinite(losses).all():
            raise GlitchtraceError(
                f"pretraining diverged in epoch {epoch}; lower learning_rate ({learning_rate})"
            )
        outputs = evaluate(network, held_out, batch_size=EVALUATION_BATCH, device=place)
        accuracies.append(outputs.accuracy(targets[test]))
        print(f" loss {np.mean(losses):.4f}, test accuracy {accuracies[-1]:.4f}", file=sys.stderr)
    write_weights(
        network,
        weights,
        card,
        {
            "network": f"resnet20, {shortcut} shortcuts",
            "accuracy": f"{accuracies[-1]:.4f}",
            "seed": str(seed),
            "epochs": str(epochs),
            "batch size": str(batch_size),
            "learning rate": f"one cycle, peak {learning_rate}, rising for {RISE:.0%} of the steps",
            "optimiser": f"SGD, Nesterov momentum {MOMENTUM}, weight decay {WEIGHT_DECAY}",
            "augmentation": f"random flip, random crop with a reflected border of {BORDER} pixels",
            "scaling": "(x / 255 - 0.5) / 0.5",
        },
    )


def _crops(pictures: np.ndarray) -> np.ndarray:
    """All crops of the pictures (N, H, W, 3) with a reflected border, as a view (N, 9, 9, H, W, 3)."""
    border = ((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0))
    crops = sliding_window_view(np.pad(pictures, border, mode="reflect"), pictures.shape[1:3], axis=(1, 2))
    return np.moveaxis(crops, 3, -1)


def _augmented(crops: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One random crop of each row, flipped with probability ½, uint8 (B, H, W, 3)."""
    down, right = random.integers(0, 2 * BORDER + 1, (2, len(rows)))
    pictures = crops[rows, down, right]
    flipped = random.random(len(rows)) < 0.5
    pictures[flipped] = pictures[flipped, :, ::-1]
    result: np.ndarray = pictures
    return result


def write_weights(network: ResNet20, weights: str | Path, card: str | Path, recipe: dict[str, str]) -> None:
    """Write all parameters and statistics, with the recipe as metadata, and the model card."""
    tensors = {
        name: tensor.cpu().contiguous().numpy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    # One entry: safetensors does not keep the order of several.
    files.write_tensors(tensors, weights, {"recipe": json.dumps(recipe)})
    digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    print(f"accuracy {recipe['accuracy']} sha256 {digest}", file=sys.stderr)
    rows = {**recipe, "sha256": f"`{digest}`", "licence": "MIT"}
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    files.write_text(CARD_TEXT.format(name=Path(weights).name, table=table), card)

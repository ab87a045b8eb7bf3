"""Rows, features and labels on which the jury is measured; features are kept in results/jury_features.

CIFAR-10, Fashion-MNIST and MNIST: the first 4,000 (CIFAR-10) or 4,000 random training pictures and 1,000 test pictures.

* EfficientNet-Lite0, which has seen none of them: penultimate layer and stage 5, at 128 pixels (CIFAR-10) and 96.
  ``NAME.npz``; 330 of the training pictures with a stripe and brightened as well, ``NAME_stripe.npz``,
  ``NAME_brightness.npz``.
* The same of CIFAR-10 enlarged by bilinear interpolation instead of bicubic, with which the weights were trained:
  ``cifar10_bilinear.npz``.
* EfficientNet-Lite2 at 192 pixels for CIFAR-10: ``cifar10_lite2.npz``.
* A frozen ResNet-20 of CIFAR-10, which has seen the training pictures of that set: last layer, input of the last
  block, and mean and deviation of every channel after the stem and the three stages.  ``NAME_resnet.npz``;
  ``cifar10_unseen_resnet.npz`` has test pictures of CIFAR-10 in both parts.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core.seeding import generator
from glitchtrace.detectors.jury.rows import gather_rows

FEATURES = Path("results/jury_features")
HUMAN = {
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}
PICTURES = ("cifar10", "fmnist", "mnist")
TABLES_OF_ROWS = ("covtype", "jannis", "adult")
CORRUPTED = ("stripe", "brightness")
BAD = 330  # corrupted or foreign rows among 3,600
SEVERITY = 3  # of stripe (three tenths of the width) and brightness (a step of .3)
VIEWS = ("penultimate", "stage5")
Views = dict[str, np.ndarray]
Draw = tuple[Views, np.ndarray, np.ndarray, Views, np.ndarray]
Embed = Callable[[np.ndarray], Views]


def pictures_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """4,000 training and 1,000 test pictures, uint8, and their true labels."""
    from glitchtrace.data.datasets.idx import read_idx

    root = Path(os.environ["GLITCHTRACE_DATA"])
    if name == "cifar10":
        with np.load(root / "CIFAR10/cifar10_lossless_5000.npz") as z:
            truth = np.concatenate([z["y_train"], z["y_test"]]).astype(np.int64)
            return np.concatenate([z["x_train"], z["x_test"]]), truth
    if name == "cifar10_unseen":
        from PIL import Image

        with np.load(root / "CIFAR10/cifar10_test_jpeg.npz") as z:
            ends, data = z["offsets"], z["jpeg"].tobytes()
            truth = z["labels"][:5000].astype(np.int64)
        shown = [Image.open(io.BytesIO(data[ends[i] : ends[i + 1]])).convert("RGB") for i in range(5000)]
        return np.stack([np.asarray(picture) for picture in shown]), truth
    folder = {"fmnist": "FashionMNIST", "mnist": "MNIST"}[name]
    rng = generator(0, f"jury pictures {name}")
    parts, labels = [], []
    for part, count in (("train", 4000), ("t10k", 1000)):
        x = read_idx(root / folder / f"raw/{part}-images-idx3-ubyte.gz", 3)
        chosen = np.sort(rng.choice(len(x), count, replace=False))
        parts.append(x[chosen])
        labels.append(read_idx(root / folder / f"raw/{part}-labels-idx1-ubyte.gz", 1)[chosen])
    return np.concatenate(parts), np.concatenate(labels).astype(np.int64)


def efficientnet(variant: str, side: int, **how: str) -> Embed:
    """Pictures to the pooled penultimate layer and stage 5; ``how``: ``interpolation``, if not that of training."""
    from glitchtrace.models.efficientnet_lite import load

    return load(variant, side, representations=VIEWS, **how).embed


def resnet() -> Embed:
    """Pictures to the last layer, the last block's input, and means and deviations of channels, of a ResNet-20."""
    import torch
    from torch.nn import functional

    from glitchtrace.core import registry
    from glitchtrace.models.resnet20 import build

    file = str(Path(os.environ["GLITCHTRACE_DATA"]) / "weights/cifar10_resnet20.safetensors")
    settings = {
        key: one["default"] for key, one in registry.settings("model", "resnet20").items() if "default" in one
    }
    network = build((3, 32, 32), 10, settings | {"weights": file}).eval()
    middle = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    spread = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def embed(pictures: np.ndarray) -> Views:
        parts: dict[str, list[np.ndarray]] = {"last": [], "block": [], "style": []}
        with torch.inference_mode():
            for start in range(0, len(pictures), 50):
                x = torch.from_numpy(pictures[start : start + 50]).float() / 255
                x = x[:, None].repeat(1, 3, 1, 1) if x.ndim == 3 else x.permute(0, 3, 1, 2)
                x = functional.pad((x - middle) / spread, [(32 - x.shape[-1]) // 2] * 4)
                x = functional.relu(network.bn1(network.conv1(x)))
                style = [x]
                for layer in (network.layer1, network.layer2, network.layer3[:2]):
                    x = layer(x)
                    style.append(x)
                # Means of 2 × 2 places: principal axes of 4,096 columns take minutes.
                parts["block"].append(functional.avg_pool2d(x, 2).flatten(1).numpy())
                style[-1] = x = network.layer3[2](x)
                parts["last"].append(x.mean(dim=(2, 3)).numpy())
                told = [f(maps, dim=(2, 3)) for maps in style for f in (torch.mean, torch.std)]
                parts["style"].append(torch.cat(told, dim=1).numpy())
        return {name: np.concatenate(part) for name, part in parts.items()}

    return embed


def features(*names: str) -> None:
    """Embed what is not yet kept; ``names`` of files, without, all."""
    FEATURES.mkdir(parents=True, exist_ok=True)
    root = Path(os.environ["GLITCHTRACE_DATA"])
    side = {"cifar10": 128, "fmnist": 96, "mnist": 96}
    every: dict[str, Callable[[], Views]] = {
        **{name: (lambda name=name: _whole(name, efficientnet("0", side[name]))) for name in PICTURES},
        **{
            f"{name}_{kind}": (
                lambda name=name, kind=kind: _corrupted(name, kind, efficientnet("0", side[name]))
            )
            for name in PICTURES
            for kind in CORRUPTED
        },
        "cifar10_bilinear": lambda: _whole("cifar10", efficientnet("0", 128, interpolation="bilinear")),
        "cifar10_lite2": lambda: _whole("cifar10", efficientnet("2", 192)),
        **{
            f"{name}_resnet": (lambda name=name: _whole(name, resnet()))
            for name in (*PICTURES, "cifar10_unseen")
        },
        **{
            f"{name}_resnet_{kind}": (lambda name=name, kind=kind: _corrupted(name, kind, resnet()))
            for name in (*PICTURES, "cifar10_unseen")
            for kind in CORRUPTED
        },
    }
    for name in names or every:
        path = FEATURES / f"{name}.npz"
        if path.is_file():
            continue
        found = every[name]()
        if name.startswith("cifar10") and "truth" in found and "unseen" not in name:
            with np.load(root / "labels/cifar10n_human_labels.npz") as z:
                found |= {label: z[array][:4000].astype(np.int64) for label, array in HUMAN.items()}
        part = path.with_suffix(".part.npz")
        np.savez(part, **found)
        part.replace(path)


def _whole(name: str, embed: Embed) -> Views:
    pictures, truth = pictures_of(name)
    return {"truth": truth, **embed(pictures)}


def _corrupted(name: str, kind: str, embed: Embed) -> Views:
    """Corrupted copies of some training pictures, and their ``rows``."""
    from glitchtrace.data.corruptions import corrupt

    pictures, _ = pictures_of(name)
    rows = np.sort(generator(0, f"jury corrupted {name}").choice(4000, 2 * BAD, replace=False))
    return {"rows": rows, **embed(corrupt(pictures[rows], rows, kind, SEVERITY))}


def read(name: str) -> Views:
    """A file of features."""
    with np.load(FEATURES / f"{name}.npz") as z:
        return dict(z)


def spoil(truth: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Labels with exactly the share of wrong ones that the kind names.

    ``clean``; ``uniform S %``: any other class; ``next class S %``: the next one; ``one class S %``: the next one, of S
    per cent of the rows of one class.
    """
    labels = truth.copy()
    if kind == "clean":
        return labels
    share = float(kind.split()[-2]) / 100
    classes = int(truth.max()) + 1
    some = np.arange(len(truth))
    if kind.startswith("one class"):
        some = np.flatnonzero(truth == rng.integers(classes))
    wrong = some[rng.choice(len(some), round(share * len(some)), replace=False)]
    step = rng.integers(1, classes, size=len(wrong)) if kind.startswith("uniform") else 1
    labels[wrong] = (labels[wrong] + step) % classes
    return labels


def draw_pictures(name: str, kind: str, seed: int) -> Draw:
    """3,600 of 4,000 training rows and 900 of 1,000 validation rows: features, observed, true, and validation."""
    # The same rows whatever enlarged the pictures.
    rng = generator(seed, f"jury benchmark {name.removesuffix('_bilinear')} {kind}")
    data = read(name)
    train = np.sort(rng.choice(4000, 3600, replace=False))
    held = 4000 + np.sort(rng.choice(1000, 900, replace=False))
    truth = data["truth"][train]
    labels = data[kind.split()[1]][train] if kind.startswith("human") else spoil(truth, kind, rng)
    views = {view: data[view] for view in VIEWS}
    return (
        {view: x[train] for view, x in views.items()},
        labels,
        truth,
        {view: x[held] for view, x in views.items()},
        data["truth"][held],
    )


def draw_unusual(name: str, kind: str, seed: int) -> tuple[Draw, np.ndarray]:
    """The same with right labels and 330 foreign (``far``) or corrupted rows, or with ``none``; and which they are.

    Far: pictures of one class of MNIST (beside MNIST, of Fashion-MNIST) under one label.
    """
    rng = generator(seed, f"jury benchmark {name} {kind}")
    x, labels, truth, held, right = draw_pictures(name, "clean", seed)
    bad = np.zeros(len(labels), dtype=bool)
    if kind == "far":
        other = read("fmnist" if name == "mnist" else "mnist")
        bad[rng.choice(len(labels), BAD, replace=False)] = True
        rows = rng.permutation(np.flatnonzero(other["truth"] == 3))[:BAD]
        x = {view: put(values, np.flatnonzero(bad), other[view][rows]) for view, values in x.items()}
        labels = np.where(bad, 7, labels)
    elif kind in CORRUPTED:
        copies = read(f"{name}_{kind}")
        # The rows of this draw, in the order of draw_pictures.
        train = np.sort(generator(seed, f"jury benchmark {name} clean").choice(4000, 3600, replace=False))
        known = np.flatnonzero(np.isin(copies["rows"], train))
        chosen = np.sort(rng.choice(known, BAD, replace=False))
        places = np.searchsorted(train, copies["rows"][chosen])
        bad[places] = True
        x = {view: put(values, places, copies[view][chosen]) for view, values in x.items()}
    return (x, labels, truth, held, right), bad


def put(values: np.ndarray, places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """A copy with some rows replaced."""
    result = values.copy()
    result[places] = others
    return result


def promise_data(name: str) -> tuple[Views, np.ndarray, Views, int, int]:
    """Views and true labels of a set, labels that people gave, and how many rows train and validate."""
    from sklearn import datasets

    if name in PICTURES:
        data = read(name)
        # Reduced once on all rows, without labels, as every draw would be on its own.
        views = gather_rows({view: data[view] for view in VIEWS}, data["truth"], None, None, 0)
        return views.views, data["truth"], {key: data[key] for key in HUMAN if key in data}, 1500, 600
    if name in TABLES_OF_ROWS:
        x, truth = table_rows(name)
        return {"x": standardised(x)}, truth, {}, 1500, 600
    loader, n, m = {
        "digits": (datasets.load_digits, 1000, 400),
        "breast cancer": (datasets.load_breast_cancer, 380, 150),
        "wine": (datasets.load_wine, 120, 50),
    }[name]
    x, truth = loader(return_X_y=True)
    return {"x": standardised(x)}, truth, {}, n, m


def standardised(x: np.ndarray) -> np.ndarray:
    """Columns less their mean, divided by their deviation."""
    result: np.ndarray = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    return result


def table_rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, one column for each category, and the classes of Adult, covtype or Jannis."""
    root = Path(os.environ["GLITCHTRACE_DATA"]) / "tabular"
    file, label = {
        "adult": ("adult.parquet", "class"),
        "covtype": ("covtype_sample92962.parquet", "Cover_Type"),
        "jannis": ("jannis_sample30145.parquet", "class"),
    }[name]
    frame = pd.read_parquet(root / file)
    truth = np.unique(frame.pop(label), return_inverse=True)[1].astype(np.int64)
    columns = pd.get_dummies(frame.drop(columns=["split", "source_row"], errors="ignore"))
    return columns.to_numpy(dtype=np.float32), truth


SMALL = (*PICTURES, "cifar10_unseen")
WIDER = (
    *((name, kind) for kind in ("uniform 10 %", "next class 10 %") for name in (*SMALL, *TABLES_OF_ROWS)),
    *(
        (name, kind)
        for kind in ("uniform 2 %", "one class 10 %", "far", *CORRUPTED, "mixture")
        for name in SMALL
    ),
    *(("cifar10", f"human {human}") for human in ("aggregate", "random1", "worst")),
    *((name, "rare class") for name in TABLES_OF_ROWS),
)


def draw_wider(name: str, kind: str, seed: int) -> tuple[Draw, np.ndarray]:
    """Rows of one of the 44 cells with errors of any kind, and what each row is (n,): a name of ``KINDS``.

    Pictures: 3,600 and 900 rows as elsewhere, features of the ResNet-20.  Tables: 4,000 and 1,000 rows.  ``mixture``:
    330 far rows, and a tenth of the others with uniform errors.  ``rare class``: of one class a tenth is left in
    training, and these rows are the glitches.
    """
    rng = generator(seed, f"jury wider {name} {kind}")
    if name in TABLES_OF_ROWS:
        x, truth = table_rows(name)
        order = rng.permutation(len(truth))
        if kind == "rare class":
            few = truth[order[1000:]] == 1
            order = np.r_[order[:1000], order[1000:][~few | (rng.random(len(few)) < 0.1)]]
        x = standardised(x[order[:5000]])
        held, train = slice(0, 1000), slice(1000, 5000)
        right = truth[order[train]]
        labels = right.copy() if kind == "rare class" else spoil(right, kind, rng)
        true = np.where(labels != right, "mislabelled", "clean")
        if kind == "rare class":
            true = np.where(right == 1, "anomalous", "clean")
        return ({"x": x[train]}, labels, right, {"x": x[held]}, truth[order[held]]), true
    data = read(f"{name}_resnet")
    train = np.sort(rng.choice(4000, 3600, replace=False))
    held = 4000 + np.sort(rng.choice(1000, 900, replace=False))
    views = {view: data[view] for view in ("last", "block", "style")}
    x = {view: values[train] for view, values in views.items()}
    right = data["truth"][train]
    labels = right.copy()
    true = np.full(len(right), "clean", dtype="U11")
    if kind in ("far", "mixture"):
        other = read("fmnist_resnet" if name == "mnist" else "mnist_resnet")
        rows = rng.permutation(np.flatnonzero(other["truth"] == 3))[:BAD]
        places = np.sort(rng.choice(len(right), len(rows), replace=False))
        true[places] = "anomalous"
        x = {view: put(values, places, other[view][rows]) for view, values in x.items()}
        labels[places] = 7
        if kind == "mixture":
            rest = np.flatnonzero(true == "clean")
            labels[rest] = spoil(right[rest], "uniform 10 %", rng)
            true[rest[labels[rest] != right[rest]]] = "mislabelled"
    elif kind in CORRUPTED:
        copies = read(f"{name}_resnet_{kind}")
        known = np.flatnonzero(np.isin(copies["rows"], train))
        chosen = np.sort(rng.choice(known, BAD, replace=False))
        places = np.searchsorted(train, copies["rows"][chosen])
        true[places] = "corrupted"
        x = {view: put(values, places, copies[view][chosen]) for view, values in x.items()}
    else:
        labels = data[kind.split()[1]][train] if kind.startswith("human") else spoil(right, kind, rng)
        true[labels != right] = "mislabelled"
    held_views = {view: values[held] for view, values in views.items()}
    return (x, labels, right, held_views, data["truth"][held]), true

"""Official labels that people found to be wrong: CIFAR-10H and the checked label errors of three test parts."""

from glitchtrace.glitches.human_labels import inject

__all__ = ["inject"]

KIND = "glitch"
CARD = {
    "summary": "Official labels of a test part, wrong where people say so (CIFAR-10H, checked label errors).",
    "modalities": ["image", "table"],
    "label_repair": True,
    "ratio": "native",
    "foreign": False,
    "datasets": ["cifar10_checked", "cifar10h", "mnist_checked", "newsgroups_checked"],
    # That of the dataset's own name.
    "annotations": "dataset",
}

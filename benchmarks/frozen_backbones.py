"""Time of full-size frozen backbones on a few random pictures, with RANDOM weights: their speed, not their skill.

python benchmarks/frozen_backbones.py [pictures]

One thread, exact (float32) and inexact (bfloat16) arithmetic, several batch sizes; with each batch size whether a
picture's features are the same bits as in the largest batch.  About two CPU minutes for 8 pictures.
"""

import resource
import sys

import torch

from glitchtrace.models.backbones import COMPONENTS

BATCHES = (8, 1)
SETTINGS = {"weights": "random", "preprocessing": "published", "head_seed": 42}
SEED = 0


def main(pictures: int = 8) -> None:
    """Print a table: CPU seconds per picture, pictures per CPU second, deviation."""
    torch.set_num_threads(1)
    x = torch.rand(pictures, 1, 28, 28, generator=torch.Generator().manual_seed(SEED)) * 2 - 1
    print("| network (random weights) | precision | batch | pictures per CPU second | largest deviation |")
    print("|:--|:--|--:|--:|--:|")
    for name, module in (("ViT-B/16", COMPONENTS["vit_b16"]), ("ConvNeXt-Tiny", COMPONENTS["convnext_tiny"])):
        backbone = module.backbone(SETTINGS)
        reference = None
        for precision, batch in [*(("float32", b) for b in BATCHES), ("bfloat16", BATCHES[0])]:
            features, seconds = timed(backbone, x, batch, precision)
            reference = features if reference is None else reference
            deviation = float((features - reference).abs().max() / reference.abs().max())
            print(
                f"| {name} | {precision} | {batch} | {pictures / seconds:.2f} | {deviation:.1e} |", flush=True
            )


@torch.inference_mode()
def timed(
    backbone: torch.nn.Module, x: torch.Tensor, batch: int, precision: str
) -> tuple[torch.Tensor, float]:
    """Features of all pictures and the CPU seconds that they took, after one picture to warm up."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        backbone(x[:1])
        started = cpu_seconds()
        features = torch.cat([backbone(x[i : i + batch]).float() for i in range(0, len(x), batch)])
    return features, cpu_seconds() - started


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))

"""From names and settings to a classifier of the loop."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.seeding import generator
from glitchtrace.papers.cincer.classifier import Classifier
from glitchtrace.papers.cincer.dense import DenseNetwork
from glitchtrace.papers.cincer.sizes import LARGEST_PRODUCTS
from glitchtrace.papers.cincer.training_settings import TrainingSettings

if TYPE_CHECKING:
    from glitchtrace.models.network import Network
    from glitchtrace.papers.cincer.torch_classifier import Passes


class ProductNetwork(DenseNetwork):
    """A dense network on all products x_a x_b of two inputs, x_a x_b at a·d + b."""

    def __init__(self, inputs: int, widths: list[int], **options: Any) -> None:
        """``widths``: hidden units and classes; other options as for ``DenseNetwork``.

        Raises GlitchtraceError for inputs whose products are too many.
        """
        if inputs * inputs > LARGEST_PRODUCTS:
            raise GlitchtraceError(
                f"model kernel_logreg makes {inputs * inputs} products of {inputs} inputs; at most "
                f"{LARGEST_PRODUCTS} are allowed, use logreg"
            )
        super().__init__([inputs * inputs, *widths], **options)

    def flatten(self, inputs: np.ndarray) -> np.ndarray:
        """Products (n, d²)."""
        return (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)


def build_classifier(
    model: str,
    settings: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    classes: int,
    training: TrainingSettings,
    bits: int = 32,
    prediction_batch: int = 1024,
    device: str = "cpu",
) -> Classifier:
    """The classifier of a registered model for samples of ``shape``, with the initial values of its ``head_seed``.

    Dense models have passes of their own in NumPy, others run in PyTorch on ``device``.  Raises GlitchtraceError for
    a shape that the model cannot take.
    """
    loop = registry.card("model", model)["loop"]
    dtype = np.float64 if bits == 64 else np.float32
    if loop["dense"]:
        options: dict[str, Any] = {
            "activation": settings.get("activation", "relu"),
            "dropout": settings.get("dropout", 0.0),
            "training": training,
            "dtype": dtype,
            "prediction_batch": prediction_batch,
            "rng": generator(settings["head_seed"], "cincer initial values"),
        }
        inputs, widths = int(np.prod(shape)), [*settings.get("hidden", ()), classes]
        if loop["dense"] == "products":
            return ProductNetwork(inputs, widths, **options)
        return DenseNetwork([inputs, *widths], **options)
    from glitchtrace.models.convnet import Convolutional
    from glitchtrace.papers.cincer.convolutional import ConvolutionalPasses
    from glitchtrace.papers.cincer.torch_classifier import AutogradPasses, TorchClassifier
    from glitchtrace.training.device import choose

    channels_first = (1, *shape) if len(shape) == 2 else (shape[-1], *shape[:-1])
    network = registry.load("model", model).build(channels_first, classes, settings)
    passes: Callable[[Network], Passes] = (
        ConvolutionalPasses if isinstance(network, Convolutional) else AutogradPasses
    )
    return TorchClassifier(
        network,
        classes=classes,
        training=training,
        dtype=dtype,
        prediction_batch=prediction_batch,
        device=choose(device),
        passes=passes,
    )

"""Networks for tables from the package of their authors: MLP, ResNet and FT-Transformer.

Source: Gorishniy, Rubachev, Khrulkov, Babenko: Revisiting deep learning models for tabular data, NeurIPS 2021, and
its package rtdl_revisiting_models.

In the FT-Transformer every column becomes a token: a number x becomes x·w + b, a category its embedding plus a bias,
one pair (w, b) or table per column.  The tokens, behind one of their own (CLS), pass through pre-norm blocks of
attention and ReGLU layers; LayerNorm and ReLU of the CLS token are the features.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.network import Architecture, Network

KIND = "model"
CARDS = {
    "tabular_mlp": {
        "summary": "The MLP of the study of tabular networks: linear layers with ReLU and dropout, and a linear head.",
        "modalities": ["table"],
        "view": "vector",
        "trained": "dense",
        "shares": "seeded",
        "settings": {
            "blocks": {
                "type": "integer",
                "minimum": 1,
                "description": "Number of hidden layers.",
                "default": 2,
            },
            "width": {
                "type": "integer",
                "minimum": 1,
                "description": "Width of the hidden layers.",
                "default": 384,
            },
            "dropout": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "Dropout rate after each hidden layer.",
                "default": 0.1,
            },
        },
    },
    "tabular_resnet": {
        "summary": "The ResNet of the study of tabular networks: residual blocks of linear layers, and a linear head.",
        "modalities": ["table"],
        "view": "vector",
        "trained": "other",
        "shares": "seeded",
        "settings": {
            "blocks": {
                "type": "integer",
                "minimum": 1,
                "description": "Number of residual blocks.",
                "default": 2,
            },
            "width": {
                "type": "integer",
                "minimum": 1,
                "description": "Width between the blocks.",
                "default": 192,
            },
            "hidden_multiplier": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Width inside the blocks, as a multiple of `width`, rounded down.",
                "default": 2.0,
            },
            "hidden_dropout": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "Dropout rate inside the blocks.",
                "default": 0.15,
            },
            "residual_dropout": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "Dropout rate at the end of the blocks.",
                "default": 0.0,
            },
        },
    },
    "ft_transformer": {
        "summary": "FT-Transformer: a token per column, Transformer blocks, and a linear head on the CLS token.",
        "modalities": ["table"],
        "view": "tokens",
        "trained": "other",
        "shares": "seeded",
        # Measured with 54 columns and batches of 128; attention grows with the square of the columns.
        "memory_mib": 500,
        "settings": {
            "blocks": {
                "type": "integer",
                "minimum": 1,
                "maximum": 6,
                "description": "Number of Transformer blocks.",
                "default": 3,
            },
            "width": {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": (
                    "Size of a token, a multiple of `heads`; null takes the authors' value for the number of blocks, "
                    "96, 128, 192, 256, 320, 384 for 1 … 6."
                ),
                "default": None,
            },
            "heads": {"type": "integer", "minimum": 1, "description": "Attention heads.", "default": 8},
            "attention_dropout": {
                "type": ["number", "null"],
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": (
                    "Dropout rate of the attention; null takes the authors' value, 0.1 for one block and 0.05 more for "
                    "each further one."
                ),
                "default": None,
            },
            "hidden_multiplier": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "Width inside the feed-forward layers, as a multiple of `width`, rounded down.",
                "default": 1.3333333333333333,
            },
            "hidden_dropout": {
                "type": ["number", "null"],
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": (
                    "Dropout rate of the feed-forward layers; null takes the authors' value, 0 for one block and 0.05 "
                    "more for each further one."
                ),
                "default": None,
            },
            "residual_dropout": {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "description": "Dropout rate of the residual branches.",
                "default": 0.0,
            },
            "compression": {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": (
                    "Compress keys and values of the attention to this share of the tokens by a learned linear map, "
                    "for tables of very many columns; null for none."
                ),
                "default": None,
            },
        },
    },
}


class TabularNetwork(Network):
    """A network of the package; its last linear layer, taken out of it, is the head, and all of it is trained."""

    def __init__(
        self, make: Callable[[], nn.Module], take_head: Callable[[nn.Module], nn.Linear], seed: int
    ) -> None:
        """Initial values are those of the package, drawn in its order right after seeding.

        ``take_head``: takes the last linear layer out of what ``make`` returns, and returns it.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = make()
        self.head = take_head(body)
        self.body = body
        self.train_only(["body", "head"])

    def features(self, x: Tensor) -> Tensor:
        """Input of the last linear layer, shape (B, d), of vectors (B, columns)."""
        features: Tensor = self.body(x)
        return features


def take_linear(output: nn.Module) -> nn.Linear:
    """Take the last layer, ``linear``, out of an output block."""
    linear = output.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    output.linear = nn.Identity()
    return linear


def columns(shape: tuple[int, ...], model: str) -> int:
    """The number of columns of vectors of ``shape``.  Raises GlitchtraceError for another shape."""
    if len(shape) != 1:
        raise GlitchtraceError(f"model {model} takes vectors, not samples of shape {shape}")
    return shape[0]


def build_tabular_mlp(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> TabularNetwork:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    from rtdl_revisiting_models import MLP

    def make() -> nn.Module:
        body: nn.Module = MLP(
            d_in=columns(shape, "tabular_mlp"),
            d_out=classes,
            n_blocks=settings["blocks"],
            d_block=settings["width"],
            dropout=settings["dropout"],
        )
        return body

    return TabularNetwork(make, _take_output, settings["head_seed"])


def _take_output(body: nn.Module) -> nn.Linear:
    head = body.get_submodule("output")
    assert isinstance(head, nn.Linear)
    body.output = nn.Identity()
    return head


class TabularResnet(TabularNetwork):
    """BatchNorm over vectors needs two samples in a batch."""

    smallest_batch = 2


def build_tabular_resnet(shape: tuple[int, ...], classes: int, settings: Mapping[str, Any]) -> TabularResnet:
    """The network for vectors of ``shape`` (d,).  Raises GlitchtraceError for another shape."""
    from rtdl_revisiting_models import ResNet

    def make() -> nn.Module:
        body: nn.Module = ResNet(
            d_in=columns(shape, "tabular_resnet"),
            d_out=classes,
            n_blocks=settings["blocks"],
            d_block=settings["width"],
            d_hidden_multiplier=settings["hidden_multiplier"],
            dropout1=settings["hidden_dropout"],
            dropout2=settings["residual_dropout"],
        )
        return body

    return TabularResnet(make, lambda body: take_linear(body.get_submodule("output")), settings["head_seed"])


class FTTransformer(TabularNetwork):
    """``categories``: number of categories of the last columns of the inputs, which hold codes."""

    def __init__(
        self, numbers: int, categories: Sequence[int], classes: int, settings: Mapping[str, Any]
    ) -> None:
        from rtdl_revisiting_models import FTTransformer as Package

        def make() -> nn.Module:
            try:
                body: nn.Module = Package(
                    n_cont_features=numbers,
                    cat_cardinalities=list(categories),
                    d_out=classes,
                    **_options(settings),
                )
                return body
            except ValueError as error:
                raise GlitchtraceError(f"model ft_transformer: {' '.join(str(error).split())}") from None

        super().__init__(make, _take_cls_head, settings["head_seed"])
        self._numbers = numbers

    def features(self, x: Tensor) -> Tensor:
        """LayerNorm and ReLU of the CLS token, shape (B, width), of rows (B, columns): numbers, then codes."""
        numbers, codes = x[:, : self._numbers], x[:, self._numbers :]
        features: Tensor = self.body(
            numbers if numbers.shape[1] else None, codes.long() if codes.shape[1] else None
        )
        return features


def build_ft_transformer(
    shape: tuple[int, ...], classes: int, settings: Mapping[str, Any], categories: Sequence[int] = ()
) -> FTTransformer:
    """The network for rows of ``shape`` (d,), the last columns of which hold codes of so many ``categories``.

    Raises GlitchtraceError for another shape and for settings that do not go together.
    """
    return FTTransformer(columns(shape, "ft_transformer") - len(categories), categories, classes, settings)


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The package's names of the settings, with the authors' values for those that are null."""
    from rtdl_revisiting_models import FTTransformer as Package

    given = {
        "n_blocks": settings["blocks"],
        "d_block": settings["width"],
        "attention_n_heads": settings["heads"],
        "attention_dropout": settings["attention_dropout"],
        "ffn_d_hidden_multiplier": settings["hidden_multiplier"],
        "ffn_dropout": settings["hidden_dropout"],
        "residual_dropout": settings["residual_dropout"],
        "linformer_kv_compression_ratio": settings["compression"],
        "linformer_kv_compression_sharing": None if settings["compression"] is None else "headwise",
    }
    authors = Package.get_default_kwargs(settings["blocks"])
    return {**authors, **{key: value for key, value in given.items() if value is not None}}


def _take_cls_head(body: nn.Module) -> nn.Linear:
    blocks = body.get_submodule("backbone.blocks")
    # Only the CLS token leaves the last block: its feed-forward layers need no other. The outputs stay the same.
    last = body.get_submodule(f"backbone.blocks.{len(list(blocks.children())) - 1}.ffn_normalization")
    last.register_forward_pre_hook(_first_token)
    return take_linear(body.get_submodule("backbone.output"))


def _first_token(_module: nn.Module, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (arguments[0][:, :1],)


COMPONENTS = {
    "tabular_mlp": Architecture(build_tabular_mlp),
    "tabular_resnet": Architecture(build_tabular_resnet),
    "ft_transformer": Architecture(build_ft_transformer),
}

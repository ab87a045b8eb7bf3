"""FT-Transformer: every column of a table becomes a token, and a Transformer reads the tokens.

A number x becomes x·w + b, a category its embedding plus a bias, one pair (w, b) or table per column.  The tokens,
behind one of their own (CLS), pass through pre-norm blocks of attention and ReGLU layers; LayerNorm and ReLU of the
CLS token are the features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models.rtdl import TabularNetwork, columns, take_linear

KIND = "model"
CARD = {
    "summary": "FT-Transformer: a token per column, Transformer blocks, and a linear head on the CLS token.",
    "modalities": ["table"],
    "view": "tokens",
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
        "head_seed": {
            "type": "integer",
            "minimum": 0,
            "description": "Seed of all initial values, the same in all runs.",
            "default": 42,
        },
    },
}


class FTTransformer(TabularNetwork):
    """``categories``: number of categories of the last columns of the inputs, which hold codes."""

    def __init__(
        self, numbers: int, categories: Sequence[int], classes: int, settings: Mapping[str, Any]
    ) -> None:
        from rtdl_revisiting_models import FTTransformer as Package

        def make() -> nn.Module:
            try:
                return Package(
                    n_cont_features=numbers,
                    cat_cardinalities=list(categories),
                    d_out=classes,
                    **_options(settings),
                )
            except ValueError as error:
                raise GlitchtraceError(f"model ft_transformer: {' '.join(str(error).split())}") from None

        super().__init__(make, _take_head, settings["head_seed"])
        self._numbers = numbers

    def features(self, x: Tensor) -> Tensor:
        """LayerNorm and ReLU of the CLS token, shape (B, width), of rows (B, columns): numbers, then codes."""
        numbers, codes = x[:, : self._numbers], x[:, self._numbers :]
        features: Tensor = self.body(
            numbers if numbers.shape[1] else None, codes.long() if codes.shape[1] else None
        )
        return features


def build(
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


def _take_head(body: nn.Module) -> nn.Linear:
    blocks = body.get_submodule("backbone.blocks")
    # Only the CLS token leaves the last block: its feed-forward layers need no other. The outputs stay the same.
    last = body.get_submodule(f"backbone.blocks.{len(list(blocks.children())) - 1}.ffn_normalization")
    last.register_forward_pre_hook(_first_token)
    return take_linear(body.get_submodule("backbone.output"))


def _first_token(_module: nn.Module, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (arguments[0][:, :1],)

"""MLP, ResNet and FT-Transformer for tables, against the package of their authors, and trained on a table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rtdl_revisiting_models as authors
import torch
from safetensors.numpy import load_file

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.cells import load_cell
from glitchtrace.data.preprocess import TokenInputs, VectorInputs
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.models.tabular import COMPONENTS, build_ft_transformer, build_tabular_mlp
from glitchtrace.training.sgd import batches, train
from glitchtrace.training.stage import build, train_cell, view

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def complete(model: str, **changes) -> dict:
    settings = {key: fragment["default"] for key, fragment in registry.settings("model", model).items()}
    return {**settings, **changes}


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        return make().eval()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# The published hyper-parameters, written out.
PUBLISHED = {
    "tabular_mlp": lambda: authors.MLP(d_in=54, d_out=7, n_blocks=2, d_block=384, dropout=0.1),
    "tabular_resnet": lambda: authors.ResNet(
        d_in=54, d_out=7, n_blocks=2, d_block=192, d_hidden_multiplier=2.0, dropout1=0.15, dropout2=0.0
    ),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_network_for_vectors_is_that_of_the_authors(model):
    expected = seeded(PUBLISHED[model])
    network = COMPONENTS[model].build((54,), 7, complete(model)).eval()
    x = random(9, 54)
    torch.testing.assert_close(network(x), expected(x))
    torch.testing.assert_close(network(x), network.head(network.features(x)))
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in expected.parameters())


@pytest.mark.parametrize(("numbers", "categories"), [(10, [4, 40]), (3, []), (0, [2, 5, 3])])
def test_the_ft_transformer_is_that_of_the_authors(numbers, categories):
    expected = seeded(
        lambda: authors.FTTransformer(
            n_cont_features=numbers,
            cat_cardinalities=categories,
            d_out=7,
            n_blocks=3,
            d_block=192,
            attention_n_heads=8,
            attention_dropout=0.2,
            ffn_d_hidden_multiplier=4 / 3,
            ffn_dropout=0.1,
            residual_dropout=0.0,
        )
    )
    codes = torch.stack([torch.arange(5) % count for count in categories], dim=1) if categories else None
    values = random(5, numbers) if numbers else None
    parts = [part.float() for part in (values, codes) if part is not None]
    network = build_ft_transformer(
        (numbers + len(categories),), 7, complete("ft_transformer"), categories
    ).eval()
    x = torch.cat(parts, dim=1)
    torch.testing.assert_close(network(x), expected(values, codes))
    torch.testing.assert_close(network(x), network.head(network.features(x)))
    assert network.features(x).shape == (5, 192)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in expected.parameters())


def test_gradients_of_the_ft_transformer_are_those_of_the_authors():
    options = {"width": 16, "heads": 2, "attention_dropout": 0.0, "hidden_dropout": 0.0}
    network = build_ft_transformer((4,), 3, complete("ft_transformer", **options), [3])
    expected = seeded(
        lambda: authors.FTTransformer(
            n_cont_features=3,
            cat_cardinalities=[3],
            d_out=3,
            **{**authors.FTTransformer.get_default_kwargs(3), "d_block": 16, "attention_n_heads": 2},
        )
    )
    x, codes = random(6, 3), torch.arange(6)[:, None] % 3
    labels = torch.arange(6) % 3
    torch.nn.functional.cross_entropy(network.eval()(torch.cat([x, codes], dim=1)), labels).backward()
    torch.nn.functional.cross_entropy(expected(x, codes), labels).backward()
    own = {name.removeprefix("body."): p.grad for name, p in network.named_parameters()}
    own |= {f"backbone.output.linear.{name}": own.pop(f"head.{name}") for name in ("weight", "bias")}
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(own[name], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("blocks", "width", "attention", "hidden"), [(1, 96, 0.1, 0.0), (6, 384, 0.35, 0.25)]
)
def test_null_settings_take_the_authors_value_for_the_number_of_blocks(blocks, width, attention, hidden):
    network = build_ft_transformer((2,), 2, complete("ft_transformer", blocks=blocks))
    block = network.body.backbone.blocks[0]
    assert network.head.in_features == width
    assert block["attention"].dropout.p == pytest.approx(attention)
    assert block["ffn"].dropout.p == pytest.approx(hidden)


def test_many_columns_are_compressed():
    settings = complete("ft_transformer", compression=0.2, width=16, heads=2)
    network = build_ft_transformer((99,), 2, settings).eval()
    assert network.body.backbone.blocks[0]["attention"].key_compression.weight.shape == (20, 100)
    assert network(random(3, 99)).shape == (3, 2)


def test_settings_that_do_not_go_together_are_one_line():
    with pytest.raises(
        GlitchtraceError, match="model ft_transformer: d_embedding must be a multiple"
    ) as caught:
        build_ft_transformer((3,), 2, complete("ft_transformer", width=10, heads=3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", COMPONENTS)
def test_a_model_for_tables_refuses_pictures(model):
    with pytest.raises(GlitchtraceError, match=f"model {model} takes vectors"):
        COMPONENTS[model].build((1, 8, 8), 3, complete(model))


@pytest.mark.parametrize("model", COMPONENTS)
def test_everything_is_trained_and_a_checkpoint_brings_it_back(model):
    network = COMPONENTS[model].build((6,), 3, complete(model, width=16))
    assert set(network.trained) == {name for name, _ in network.named_parameters()}
    assert not network.frozen_features
    before, x = network.checkpoint(), random(8, 6)
    first = network.eval()(x)
    network.train()
    torch.nn.functional.cross_entropy(network(x), torch.arange(8) % 3).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= parameter.grad
    assert not torch.equal(network.eval()(x), first)
    network.restore(before)
    torch.testing.assert_close(network.eval()(x), first, rtol=0, atol=0)


# --- training ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> dict:
    """A table under the name wine: two numbers and a category of four, three classes, labels with noise."""
    root = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    labels = np.arange(129) % 3
    category = (labels + rng.integers(0, 2, 129)) % 4
    numbers = rng.normal(size=(129, 2)) + labels[:, None]
    files.write_npy(np.column_stack([category, numbers]).astype(np.float32), root / "wine/features.npy")
    files.write_npy(labels, root / "wine/labels.npy")
    description = {
        "modality": "table",
        "classes": ["a", "b", "c"],
        "parts": {"all": [0, 129]},
        "columns": ["kind", "x", "y"],
        "categories": {"kind": ["p", "q", "r", "s"]},
    }
    files.write_json(description, root / "wine/source.json")
    part = ["train"] * 97 + ["validation"] * 20 + ["test"] * 12
    files.write_parquet(
        pd.DataFrame({"row": np.arange(129), "part": part, "label": labels}), root / "split.parquet"
    )
    inject_glitch(
        split=root / "split.parquet",
        labels=[root / "wine/labels.npy"],
        descriptions=[root / "wine/source.json"],
        glitch=root / "glitch.parquet",
        dataset="wine",
        name="uniform",
        ratio="0.1",
        seed=0,
        settings={},
    )
    return {
        "features": [root / "wine/features.npy"],
        "split": root / "split.parquet",
        "glitch": root / "glitch.parquet",
        "dataset": "wine",
    }


SMALL = {
    "tabular_mlp": {"width": 16},
    "tabular_resnet": {"width": 16},
    "ft_transformer": {"width": 16, "heads": 2, "blocks": 2},
}


def run(table: dict, folder: Path, model: str, **changes) -> dict[str, Path]:
    outputs = {
        "checkpoints": folder / "checkpoints.safetensors",
        "factors": folder / "factors.safetensors",
        "history": folder / "history.parquet",
    }
    options = {
        "settings": complete(model, **SMALL[model]),
        "training": {"learning_rate": 0.1, "batch_size": 32, "epochs": 12},
        "seed": 0,
        "evaluation_batch": 50,
        **changes,
    }
    train_cell(**table, **outputs, model=model, **options)
    return outputs


@pytest.mark.parametrize("model", COMPONENTS)
def test_a_table_with_categories_is_trained_to_the_same_bytes_for_the_same_seed(model, table, tmp_path):
    # 97 rows in batches of 32 leave one sample over, which BatchNorm could not take alone.
    first = run(table, tmp_path / "a", model)
    state = torch.random.get_rng_state()
    again = run(table, tmp_path / "b", model)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name in first:
        assert first[name].read_bytes() == again[name].read_bytes(), name
    other = run(table, tmp_path / "c", model, seed=1)
    assert first["factors"].read_bytes() != other["factors"].read_bytes()
    history = pd.read_parquet(first["history"]).query("part == 'train' and kind == 'all'")
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] - 0.03
    tensors = load_file(first["factors"])
    network = build(load_cell(**table, view=view(model)), model, complete(model, **SMALL[model]))
    network.restore(
        {k.removeprefix("012/"): v for k, v in load_file(first["checkpoints"]).items() if k[:4] == "012/"}
    )
    logits = network.eval().head(torch.from_numpy(tensors["train/features/012"]))
    np.testing.assert_allclose(
        tensors["train/probabilities/012"], logits.softmax(1).detach().numpy(), rtol=1e-4, atol=1e-6
    )


def test_tokens_are_numbers_then_codes_and_vectors_their_zeros_and_ones(table):
    tokens, vectors = (load_cell(**table, view=name) for name in ("tokens", "vector"))
    assert isinstance(tokens.train, TokenInputs)
    assert isinstance(vectors.train, VectorInputs)
    assert (tokens.train.shape, vectors.train.shape) == ((3,), (6,))
    assert tokens.train.categories == (4,)
    rows, expected = tokens.test.batch(slice(None)), vectors.test.batch(slice(None))
    torch.testing.assert_close(rows[:, :2], expected[:, :2])
    assert torch.equal(rows[:, 2], expected[:, 2:].argmax(dim=1).float())


def test_pictures_have_no_tokens(table):
    with pytest.raises(GlitchtraceError, match=r"dataset mnist \(image\) has no view 'tokens'"):
        load_cell(**{**table, "dataset": "mnist"}, view="tokens")


def test_what_dropout_leaves_out_depends_on_the_run_seed_alone():
    samples, labels = VectorInputs(random(40, 5).numpy(), np.zeros(5), np.ones(5)), np.arange(40) % 2
    states = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        network = build_tabular_mlp((5,), 2, complete("tabular_mlp", width=8, dropout=0.5))
        # One batch an epoch: the order within it changes sums in their last bits only.
        train(network, samples, labels, learning_rate=0.1, batch_size=40, epochs=2, seed=seed, device=CPU)
        states.append(network.checkpoint()["head.weight"])
    np.testing.assert_array_equal(states[0], states[1])
    assert np.abs(states[0] - states[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("count", "size", "smallest", "lengths"),
    [(9, 4, 1, [4, 4, 1]), (9, 4, 2, [4, 5]), (1, 4, 2, [1]), (8, 4, 2, [4, 4]), (0, 4, 2, [])],
)
def test_a_last_batch_below_the_smallest_joins_the_one_before(count, size, smallest, lengths):
    found = list(batches(np.arange(count), size, smallest))
    assert [len(batch) for batch in found] == lengths
    np.testing.assert_array_equal(np.concatenate([*found, np.arange(0)]), np.arange(count))

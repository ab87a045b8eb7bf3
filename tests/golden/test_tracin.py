"""Influence against the golden values of captum's engine as the published code used it: rtol 1e-4,
float32.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glitchtrace.data.preprocess import Inputs
from glitchtrace.detectors.influence_signals import score
from glitchtrace.influence import closed_form
from glitchtrace.influence.estimator import Checkpoint
from glitchtrace.influence.factors import Factors, Part
from glitchtrace.influence.per_sample import PerSampleInfluence, Samples
from glitchtrace.influence.profile import Profiles, profiles_from_matrices
from glitchtrace.models.network import Network

FOLDER = Path(__file__).parent / "glitch-detection"
FULL, FAST = (
    {"tracin_mlp": "fc2_full", "tracin_convbn": "block_fc_full"},
    {
        "tracin_mlp": "fc2_fast",
        "tracin_convbn": "fc_fast",
    },
)
HEAD = {"tracin_mlp": "fc2", "tracin_convbn": "fc"}
CASES = tuple(HEAD)


class Rows(Inputs):
    def batch(self, rows: np.ndarray | slice) -> Tensor:
        return torch.from_numpy(self._stored[rows])


class Mlp(Network):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc1(x))


class ConvBn(Network):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 4)

    def features(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.stem(x))
        return torch.relu(hidden + self.block(hidden)).mean(dim=(2, 3))


NETWORKS = {"tracin_mlp": Mlp, "tracin_convbn": ConvBn}


def golden(case: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{case}.npz") as archive:
        return dict(archive)


def tensors(case: str, arrays: Mapping[str, np.ndarray], epoch: int) -> dict[str, np.ndarray]:
    prefix = f"in_ckpt{epoch}."
    return {
        key.removeprefix(prefix).replace(f"{HEAD[case]}.", "head."): array
        for key, array in arrays.items()
        if key.startswith(prefix) and not key.endswith("num_batches_tracked")
    }


def network(case: str) -> Network:
    built = NETWORKS[case]()
    built.trained = tuple(name for name, _ in built.named_parameters())
    return built


def factors(case: str) -> Factors:
    arrays = golden(case)
    parts: dict[str, Part] = {}
    for name, part in (("train", "train"), ("validation", "val")):
        features, probabilities = [], []
        for epoch in (1, 2):
            built = network(case)
            built.restore(tensors(case, arrays, epoch))
            built.eval()
            with torch.no_grad():
                hidden = built.features(torch.from_numpy(arrays[f"in_X_{part}"]))
                features.append(hidden.numpy())
                probabilities.append(built.head(hidden).softmax(dim=1).numpy())
        parts[name] = Part(tuple(features), tuple(probabilities), arrays[f"in_y_{part}"])
    return Factors(arrays["in_learning_rates"], 1, parts["train"], parts["validation"])


def profiles(case: str) -> Profiles:
    """Profiles as the published code computes them: J and s full, J⁻ and J⁺ at the last checkpoint, fast."""
    arrays, cell = golden(case), factors(case)

    def counterfactual(labels: np.ndarray) -> np.ndarray:
        return closed_form.influence_matrix(cell, labels=labels, epochs=(1,), include_bias=False)

    return profiles_from_matrices(
        influence=closed_form.influence_matrix(cell),
        self_influence=closed_form.self_influence(cell),
        labels=arrays["in_y_train"],
        validation_labels=arrays["in_y_val"],
        counterfactual_negative=counterfactual(arrays["out_neg_cf_label"]),
        counterfactual_positive=counterfactual(arrays["out_pos_cf_label"]),
    )


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("include_bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_head(case: str, include_bias: bool) -> None:
    arrays, cell = golden(case), factors(case)
    tag = (FULL if include_bias else FAST)[case]
    assert_close(closed_form.influence_matrix(cell, include_bias=include_bias), arrays[f"out_{tag}_matrix"])
    assert_close(
        closed_form.influence_matrix(cell, epochs=(1,), include_bias=include_bias),
        arrays[f"out_{tag}_matrix_last_ckpt"],
    )
    assert_close(closed_form.self_influence(cell, include_bias=include_bias), arrays[f"out_{tag}_self"])


@pytest.mark.parametrize("sign", ["neg", "pos"])
@pytest.mark.parametrize("case", CASES)
def test_counterfactual(case: str, sign: str) -> None:
    arrays = golden(case)
    found = closed_form.influence_matrix(
        factors(case), labels=arrays[f"out_{sign}_cf_label"], epochs=(1,), include_bias=False
    )
    assert_close(found, arrays[f"out_{sign}_cf_matrix"])


def test_all_layers() -> None:
    arrays = golden("tracin_mlp")
    weights = arrays["in_learning_rates"]
    found = PerSampleInfluence(
        network("tracin_mlp"),
        [Checkpoint(tensors("tracin_mlp", arrays, 1 + t), float(weights[t])) for t in range(2)],
        Samples(Rows(arrays["in_X_train"]), arrays["in_y_train"]),
        Samples(Rows(arrays["in_X_val"]), arrays["in_y_val"]),
        layers=["fc1", "head"],
        batch=5,
    )
    assert_close(np.concatenate([block for _, block in found.blocks()]), arrays["out_all_full_matrix"])
    last = np.concatenate([block for _, block in found.blocks(epochs=(1,))])
    assert_close(last, arrays["out_all_full_matrix_last_ckpt"])
    assert_close(found.self_influence(), arrays["out_all_full_self"])


@pytest.mark.parametrize("case", CASES)
def test_counterfactual_labels(case: str) -> None:
    arrays = golden(case)
    np.testing.assert_array_equal(profiles(case).negative_label, arrays["out_neg_cf_label"])
    np.testing.assert_array_equal(profiles(case).positive_label, arrays["out_pos_cf_label"])


@pytest.mark.parametrize(
    "name", ["MI", "MAI", "AAI", "MPI", "GD_class", "NIL", "NIL_opt", "SLIP", "SLIN", "CNCI"]
)
@pytest.mark.parametrize("case", CASES)
def test_signals(case: str, name: str) -> None:
    assert_close(score(name, profiles(case)), golden(case)[f"out_sig_{name}"])


@pytest.mark.parametrize("case", CASES)
def test_pcid(case: str) -> None:
    assert_close(score("PCID", profiles(case)), golden(case)["out_sig_fixed_PCID"])

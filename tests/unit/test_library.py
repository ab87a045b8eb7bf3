"""The public names: light to import, exact on arrays and modules, and five lines from a classifier to its suspects."""

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

import glitchtrace
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.detection import auroc


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def digits() -> dict[str, np.ndarray]:
    """600 digits with every tenth label wrong, a classifier trained on the first 400, and its answers."""
    rows, truth = (part[:600] for part in load_digits(return_X_y=True))
    labels = truth.copy()
    labels[::10] = (labels[::10] + 1) % 10
    model = LogisticRegression(max_iter=60, C=0.01).fit(rows[:400] / 16, labels[:400])
    return {"X": rows / 16, "y": labels, "p": model.predict_proba(rows / 16), "wrong": labels != truth}


def test_the_import_is_light() -> None:
    code = "import sys, glitchtrace; print([m for m in ('numpy', 'pandas', 'torch', 'yaml') if m in sys.modules])"
    assert run(code).strip() == "[]"


def test_arrays_need_no_torch() -> None:
    run(
        "import sys, numpy as np, glitchtrace\n"
        "p = np.full((6, 2), .5)\n"
        "glitchtrace.influence(np.eye(6), p, [0, 1] * 3).signals()\n"
        "glitchtrace.detect(np.eye(6), [0, 1] * 3, probabilities=p, detectors=['one_minus_p'])\n"
        "assert 'torch' not in sys.modules"
    )


def test_a_public_name_is_a_function_and_its_room_still_a_package() -> None:
    code = (
        "import glitchtrace.influence.profile as p, glitchtrace, inspect\n"
        "from glitchtrace.influence import factors\n"
        "print(callable(glitchtrace.influence), 'labels' in inspect.signature(glitchtrace.influence).parameters)\n"
        "print(p.Profiles.__name__, factors.Factors.__name__)"
    )
    assert run(code).split() == ["True", "True", "Profiles", "Factors"]
    assert {"detect", "influence", "audit"} <= set(dir(glitchtrace))
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        glitchtrace.magic  # noqa: B018


def test_public_functions_say_what_they_take() -> None:
    for function in (glitchtrace.detect, inspect.unwrap(glitchtrace.influence)):
        text = inspect.getdoc(function)
        assert text is not None
        for section in ("Parameters\n---", "Returns\n---", "Raises\n---"):
            assert section in text
        for name in inspect.signature(function).parameters:
            assert f"{name} : " in text, name


def test_influence_of_arrays_is_the_formula(digits: dict[str, np.ndarray]) -> None:
    rows, p, labels = digits["X"][:50], digits["p"][:50], digits["y"][:50]
    other = (digits["X"][400:430], digits["p"][400:430], digits["y"][400:430])
    twice = (other[0], [other[1], other[1]], other[2])
    found = glitchtrace.influence(rows, [p, p], labels, twice, learning_rates=[0.5, 0.25])
    residuals, beside = p - np.eye(10)[labels], other[1] - np.eye(10)[other[2]]
    expected = 0.75 * (residuals @ beside.T) * (rows @ other[0].T + 1)
    np.testing.assert_allclose(found.matrix(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        found.self_influence, 0.75 * (residuals**2).sum(1) * ((rows**2).sum(1) + 1), rtol=1e-10
    )
    assert sum(block.shape[0] for _, block in found.blocks()) == 50
    np.testing.assert_allclose(found.signals()["MI"], expected.sum(axis=1), rtol=1e-8)


def test_influence_of_a_module_is_that_of_its_arrays(digits: dict[str, np.ndarray]) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    inputs, labels = torch.from_numpy(digits["X"]).float(), torch.from_numpy(digits["y"])
    train = DataLoader(TensorDataset(inputs[:60], labels[:60]), batch_size=16)
    other = DataLoader(TensorDataset(inputs[60:90], labels[60:90]), batch_size=16)
    states = [{k: v * scale for k, v in module.state_dict().items()} for scale in (0.5, 1.0)]
    before = {k: v.clone() for k, v in module.state_dict().items()}
    found = glitchtrace.influence(module, train, other, checkpoints=states, learning_rates=[0.1, 0.2])
    assert all((module.state_dict()[k] == v).all() for k, v in before.items())
    assert module.training
    gradients = []
    for state in states:
        module.load_state_dict(state)
        rows = []
        for x, y in zip(inputs[:90], labels[:90], strict=True):
            loss = torch.nn.functional.cross_entropy(module(x[None]), y[None])
            rows.append(
                torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module[2].parameters()))])
            )
        gradients.append(torch.stack(rows).double().numpy())
    expected = sum(rate * g[:60] @ g[60:].T for rate, g in zip((0.1, 0.2), gradients, strict=True))
    np.testing.assert_allclose(found.matrix(), expected, rtol=1e-4, atol=1e-6)


def test_a_loader_that_shuffles_is_refused(digits: dict[str, np.ndarray]) -> None:
    module = torch.nn.Linear(64, 10)
    data = TensorDataset(torch.from_numpy(digits["X"]).float(), torch.from_numpy(digits["y"]))
    state = module.state_dict()
    with pytest.raises(GlitchtraceError, match=r"train loader .*shuffle=False"):
        glitchtrace.influence(
            module,
            DataLoader(data, batch_size=99, shuffle=True),
            DataLoader(data),
            checkpoints=[state, state],
        )
    with pytest.raises(GlitchtraceError, match="no linear layer 'fc'"):
        glitchtrace.influence(module, DataLoader(data), DataLoader(data), head="fc")


def test_five_lines_score_the_rows_of_a_classifier(digits: dict[str, np.ndarray]) -> None:
    X, y = digits["X"], digits["y"]
    model = LogisticRegression(C=0.01).fit(X, y)
    table = glitchtrace.detect(X, y, probabilities=model.predict_proba(X), classes=model.classes_)
    worst = table.nlargest(20, table.columns[2])
    assert isinstance(worst, pd.DataFrame)
    assert auroc(table[table.columns[2]].to_numpy(), digits["wrong"]) > 0.9


def test_labels_of_text_come_back(digits: dict[str, np.ndarray]) -> None:
    names = np.array([f"digit {n}" for n in range(10)])
    valid = (digits["X"][400:], digits["p"][400:], names[digits["y"][400:]])
    table = glitchtrace.detect(
        y=names[digits["y"]], features=digits["X"], probabilities=digits["p"], validation=valid, classes=names,
        detectors=["CNCI", "SI"],
    )  # fmt: skip
    assert table["label"].tolist() == names[digits["y"]].tolist()
    assert set(table["proposed_label"]) <= set(names)
    assert auroc(table["CNCI"].to_numpy(), digits["wrong"]) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": None}, "needs the labels"),
        ({"y": [0, 1]}, "labels alone"),
        ({"y": [0, 5], "probabilities": np.eye(3)[:2]}, "2 different labels for 3 columns"),
        ({"y": [0, 1], "probabilities": np.eye(2), "detectors": ["CNCI"]}, "'CNCI' needs influence profiles"),
        ({"y": [0, 1], "probabilities": np.eye(3)}, "has 3 rows for 2 samples"),
        ({"y": [0, 1], "probabilities": np.eye(2), "validation": 3}, "validation: give three arrays"),
    ],
)
def test_detect_refuses_in_one_line(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.detect(**arguments)  # type: ignore[arg-type]

"""The public names: light to import, exact on arrays and modules, and five lines from a classifier to its suspects."""

import copy
import inspect
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import glitchtrace
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.evaluation.detection import auroc

BATCH = [(torch.linspace(-1, 1, 24).reshape(6, 4), torch.tensor([0, 1, 2] * 2))]


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
    assert glitchtrace.GlitchtraceError is GlitchtraceError
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        glitchtrace.magic  # noqa: B018


def test_public_functions_say_what_they_take() -> None:
    for function in (glitchtrace.audit, glitchtrace.detect, glitchtrace.influence):
        text = inspect.getdoc(function)
        assert text is not None
        for section in ("Parameters\n---", "Returns\n---", "Raises\n---"):
            assert section in text
        for name in inspect.signature(function).parameters:
            assert f"{name} : " in text or f"\n**{name}\n" in text, name


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


def test_a_checkpoint_may_be_the_module_s_own_state_but_not_that_of_another() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    earlier = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        module[2].weight.add_(1)
    module[0].eval()  # a part that is kept as it is
    alive, copied = (
        glitchtrace.influence(module, BATCH, BATCH, checkpoints=[earlier, last])
        for last in (module.state_dict(), copy.deepcopy(module.state_dict()))
    )
    np.testing.assert_array_equal(alive.matrix(), copied.matrix())
    assert [part.training for part in module.modules()] == [True, False, True, True]
    with pytest.raises(
        GlitchtraceError, match=r"checkpoints\[0\] and checkpoints\[2\] lie in the same memory"
    ):
        states = [module.state_dict(), earlier, module.state_dict()]
        glitchtrace.influence(module, BATCH, BATCH, checkpoints=states)


def jacobian(features: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """J of one checkpoint, training and validation samples the same, by its definition."""
    residuals = logits.softmax(dim=1) - torch.eye(logits.shape[1])[labels]
    return ((residuals @ residuals.T) * (features @ features.T + 1)).detach().numpy()


class Writing(torch.nn.Module):
    """A head beside whose input others write: into it, into the module's input, or into a workspace that it lies in."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(4, 3), torch.nn.Linear(3, 3)
        self.place, self.space = place, torch.empty(6, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.place == "input":
            x.mul_(2)
        h = self.space.copy_(self.body(x)) if self.place == "workspace" else self.body(x)
        answer = self.head(h)
        return answer, h.relu_() if self.place == "branch" else h.zero_()


@pytest.mark.parametrize("place", ["input", "branch", "workspace"])
def test_what_the_head_sees_is_kept_whatever_is_written_there_later(place: str) -> None:
    torch.manual_seed(0)
    module = Writing(place)
    inputs, labels = torch.randn(12, 4), torch.arange(12) % 3
    batches = [(inputs[k : k + 6], labels[k : k + 6]) for k in (0, 6)]
    before = inputs.clone()
    found = glitchtrace.influence(module, batches, batches, head="head").matrix()
    assert torch.equal(inputs, before)
    features = module.body(inputs * (2 if place == "input" else 1))
    np.testing.assert_allclose(found, jacobian(features, module.head(features), labels), rtol=1e-4, atol=1e-6)


def test_a_loader_may_use_its_memory_again() -> None:
    torch.manual_seed(0)
    module, inputs, labels = torch.nn.Linear(4, 3), torch.randn(12, 4), torch.arange(12) % 3

    class Reusing:
        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            buffer = torch.empty(6, 4)
            for start in (0, 6):
                yield buffer.copy_(inputs[start : start + 6]), labels[start : start + 6]

    found = glitchtrace.influence(module, Reusing(), Reusing()).matrix()
    np.testing.assert_allclose(found, jacobian(inputs, module(inputs), labels), rtol=1e-4, atol=1e-6)


class Stateful(torch.nn.Module):
    """A module that keeps more than its state says: a cache, counters, a lag of its input, an extra state."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)
        self.scale: torch.Tensor | None = None
        self.calls, self.tensor_calls, self.extra = 0, torch.zeros(()), {"version": 1}
        self.register_buffer("hidden", torch.zeros(()), persistent=False)

    def get_extra_state(self) -> dict[str, int]:
        return self.extra

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.extra.update(state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.scale is None:
            self.scale = self.body.weight.abs().sum(dim=1) + torch.ones(5)  # of these weights, not of others
        self.calls += 1
        self.tensor_calls += 1
        self.hidden += 1
        return self.head(torch.tanh(self.body(x)) * self.scale.detach())


@pytest.mark.parametrize("given", [False, True], ids=["as it is", "checkpoints"])
def test_a_call_leaves_everything_as_it_was(given: bool) -> None:
    torch.manual_seed(0)
    module, ((inputs, labels),) = Stateful(), BATCH
    module.body.eval()
    first = copy.deepcopy(module.state_dict())
    second = {name: part if name == "_extra_state" else 2 * part for name, part in first.items()}
    second["_extra_state"] = {"version": 2}
    plain = copy.deepcopy(module)
    pending = torch.nn.functional.cross_entropy(module.head(torch.tanh(module.body(inputs))), labels)
    wanted = torch.autograd.grad(
        torch.nn.functional.cross_entropy(plain.head(torch.tanh(plain.body(inputs))), labels),
        list(plain.parameters()),
    )
    owned = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=6, generator=owned)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = (random.getstate(), torch.get_rng_state().tolist(), owned.get_state().tolist())
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002
    attributes = [dict(part.__dict__) for part in module.modules()]

    found = glitchtrace.influence(module, loader, loader, checkpoints=[first, second] if given else None)

    assert before == (random.getstate(), torch.get_rng_state().tolist(), owned.get_state().tolist())
    assert numpy_before == np.random.get_state()[1].tolist()  # noqa: NPY002
    for part, kept in zip(module.modules(), attributes, strict=True):
        assert all(part.__dict__[name] is value for name, value in kept.items())
        assert part.__dict__.keys() == kept.keys()
    assert (module.calls, module.tensor_calls.item(), module.hidden.item(), module.extra) == (
        0,
        0,
        0,
        {"version": 1},
    )
    assert all(torch.equal(*pair) for pair in zip(module.parameters(), plain.parameters(), strict=True))
    torch.testing.assert_close(
        torch.autograd.grad(pending, list(module.parameters())), wanted, rtol=0, atol=0
    )
    torch.nn.functional.cross_entropy(
        module(inputs), labels
    ).backward()  # its cache is no tensor of inference
    if given:  # what the module keeps of the first checkpoint is not the second one's
        plain.load_state_dict(second)
        plain.scale = None
        alone = glitchtrace.influence(plain, BATCH, BATCH).matrix()
        both = glitchtrace.influence(module, BATCH, BATCH, checkpoints=[first]).matrix()
        np.testing.assert_allclose(found.matrix(), alone + both, rtol=1e-5, atol=1e-6)


class Drawing(torch.nn.Module):
    """Not a function of the row, even in evaluation mode."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.head, self.kind = torch.nn.Linear(4, 3), kind
        self.norm = torch.nn.BatchNorm1d(4, track_running_stats=kind != "batch norm")
        self.last = torch.zeros(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "dropout":
            return self.head(torch.nn.functional.dropout(x, 0.5))
        if self.kind == "noise":
            return self.head(x + 0.1 * torch.randn_like(x))
        if self.kind == "lag":
            x, self.last = x + self.last, x
        return self.head(self.norm(x))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dropout", "answers the same batch otherwise a second time"),
        ("noise", "answers the same batch otherwise a second time"),
        ("lag", "answers the same batch otherwise a second time"),
        ("batch norm", r"norm \(BatchNorm1d\) normalises by the batch in evaluation mode"),
        ("function", None),
    ],
)
def test_the_answer_for_a_row_is_a_function_of_the_row(kind: str, message: str | None) -> None:
    torch.manual_seed(0)
    module = Drawing(kind)
    if message is None:
        glitchtrace.influence(module, BATCH, BATCH)
    else:
        with pytest.raises(GlitchtraceError, match=message):
            glitchtrace.influence(module, BATCH, BATCH)


def wrapped(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: part for name, part in state.items()}


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        (lambda state: "model.pt", r"a path; give a list of state dictionaries, \[torch.load"),
        (lambda state: [Path("model.pt")], r"checkpoints\[0\] .* give torch.load\(path\)$"),
        (lambda state: state, r"one mapping; give a list of state dictionaries, \[state\]"),
        (lambda state: [{"epoch": 3, "model": state}], "give its entry 'model'$"),
        (lambda state: [wrapped(state, "module.")], "take 'module.' off its names$"),
        (lambda state: [wrapped(state, "_orig_mod.net.")], "take '_orig_mod.net.' off its names$"),
        (lambda state: [{"0.weight": state["0.weight"]}], r"give module.state_dict\(\)$"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused_with_what_to_give(
    checkpoints: Callable[[Mapping[str, torch.Tensor]], object], message: str
) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3))
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.influence(module, BATCH, BATCH, checkpoints=checkpoints(module.state_dict()))  # type: ignore[arg-type]
    outer, inner = torch.nn.Sequential(module), module.state_dict()
    with pytest.raises(GlitchtraceError, match=r"put '0\.' before its names$"):
        glitchtrace.influence(outer, BATCH, BATCH, checkpoints=[inner])


def test_modules_without_values_or_layers_are_named() -> None:
    for module, message in (
        (torch.nn.Sequential(torch.nn.LazyLinear(3)), "0.weight has no shape before its first pass"),
        (torch.nn.Linear(4, 3, device="meta"), "weight lies on the device 'meta'"),
    ):
        with pytest.raises(GlitchtraceError, match=message):
            glitchtrace.influence(module, BATCH, BATCH)
    with warnings.catch_warnings(action="ignore"):  # torch deprecates what people still have
        scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 3)))
    with pytest.raises(GlitchtraceError, match="a scripted module shows no layers"):
        glitchtrace.influence(scripted, BATCH, BATCH)


def test_a_loader_that_can_be_passed_once_is_passed_once() -> None:
    module = torch.nn.Linear(4, 3)
    states = [copy.deepcopy(module.state_dict()) for _ in range(2)]
    assert glitchtrace.influence(module, iter(BATCH), iter(BATCH)).matrix().shape == (6, 6)
    with pytest.raises(
        GlitchtraceError, match=r"train loader is a list_iterator.* 2 checkpoints need 2 passes"
    ):
        glitchtrace.influence(module, iter(BATCH), BATCH, checkpoints=states)
    once = iter(BATCH)
    with pytest.raises(GlitchtraceError, match="can be passed once, and both parts need it"):
        glitchtrace.influence(module, once, once)


def test_the_module_s_own_error_is_the_message_and_the_cause() -> None:
    module = Around(lambda head, h: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(
        GlitchtraceError, match=r"the module fails on inputs of shape .*inconsistent tensor size"
    ) as caught:
        glitchtrace.influence(module, BATCH, BATCH, head="head")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_head_without_a_bias_has_none_that_counts() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 3, bias=False)
    found = glitchtrace.influence(module, BATCH, BATCH)
    without = glitchtrace.influence(module, BATCH, BATCH, include_bias=False)
    np.testing.assert_array_equal(found.matrix(), without.matrix())
    pd.testing.assert_frame_equal(found.signals(), without.signals())


class Around(torch.nn.Module):
    """A head that is declared first, and what is made of it."""

    def __init__(self, answer: Callable[[torch.nn.Linear, torch.Tensor], object]) -> None:
        super().__init__()
        self.head, self.body, self.drop = torch.nn.Linear(3, 3), torch.nn.Linear(4, 3), torch.nn.Dropout()
        self.answer = answer

    def forward(self, x: torch.Tensor) -> object:
        return self.answer(self.head, torch.relu(self.drop(self.body(x))))


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda head, h: head(h), None),
        (lambda head, h: head(input=h), None),
        (lambda head, h: head(h).float() - 7, None),
        (lambda head, h: head(h).softmax(dim=1), None),
        (lambda head, h: head(h).log_softmax(dim=1), None),
        (lambda head, h: (h, head(h)), None),
        (lambda head, h: {"loss": None, "logits": head(h)}, None),
        (lambda head, h: SimpleNamespace(logits=head(h)), None),
        (lambda head, h: head(h) + h, "answers neither with the logits"),
        (lambda head, h: head(h) * 5, "answers neither with the logits"),
        (lambda head, h: head(h).sigmoid(), "answers neither with the logits"),
        (lambda head, h: head(h).argmax(dim=1), "answers neither with the logits"),
        (lambda head, h: None, "passes 0 times through this layer"),
        (lambda head, h: head(head(h)), "passes 2 times through this layer"),
    ],
)  # fmt: skip
def test_the_module_answers_with_its_head(
    kind: torch.dtype, answer: Callable[[torch.nn.Linear, torch.Tensor], object], message: str | None
) -> None:
    torch.manual_seed(0)
    module = Around(answer).to(kind)
    batch = [(torch.randn(64, 4).to(kind), torch.arange(64) % 3)]
    if message is None:
        plain = Around(lambda head, h: head(h)).to(kind)
        plain.load_state_dict(module.state_dict())
        found, wanted = (glitchtrace.influence(one, batch, batch, head="head") for one in (module, plain))
        np.testing.assert_array_equal(found.matrix(), wanted.matrix())
        message = "name the last layer of head, body"  # the one declared last is not the head
        with pytest.raises(GlitchtraceError, match=message):
            glitchtrace.influence(module, batch, batch)
    else:
        with pytest.raises(GlitchtraceError, match=message):
            glitchtrace.influence(module, batch, batch, head="head")


class Transformed:
    """A loader of one batch that is disturbed anew in each pass."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.inputs = inputs

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield self.inputs + torch.rand(1), torch.zeros(len(self.inputs), dtype=torch.int64)


def test_a_loader_that_shuffles_is_refused(digits: dict[str, np.ndarray]) -> None:
    module = torch.nn.Linear(64, 10)
    data = TensorDataset(torch.from_numpy(digits["X"]).float(), torch.from_numpy(digits["y"]))
    states = [copy.deepcopy(module.state_dict()) for _ in range(2)]
    drawn = DataLoader(data, batch_size=99, shuffle=True)
    weighted = DataLoader(data, batch_size=1, sampler=WeightedRandomSampler([1.0] * len(data), len(data)))
    within = TensorDataset(
        data.tensors[0], torch.zeros(len(data), dtype=torch.int64)
    )  # labels do not tell it
    loaders = (drawn, weighted, DataLoader(within, batch_size=99, shuffle=True), Transformed(data.tensors[0]))
    for loader in loaders:
        for given in (None, states):
            with pytest.raises(GlitchtraceError, match=r"train loader .*shuffle=False"):
                glitchtrace.influence(module, loader, DataLoader(data), checkpoints=given)
        with pytest.raises(GlitchtraceError, match=r"validation loader .*shuffle=False"):
            glitchtrace.influence(module, DataLoader(data), loader)
    assert (
        glitchtrace.influence(module, iter(DataLoader(data)), DataLoader(data)).matrix().shape
        == (len(data),) * 2
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


def test_rows_and_labels_alone_are_enough(digits: dict[str, np.ndarray]) -> None:
    table = glitchtrace.detect(digits["X"], digits["y"])
    assert {"jury", "knn_vote", "simifeat", "mahalanobis", "knn_distance"} <= set(table)
    for name in ("jury", "knn_vote", "simifeat"):
        assert auroc(table[name].to_numpy(), digits["wrong"]) > 0.95, name
    assert (table["jury/proposed_label"] == (digits["y"] - 1) % 10)[digits["wrong"]].mean() > 0.9


def test_a_group_asks_those_detectors_whose_evidence_is_given(digits: dict[str, np.ndarray]) -> None:
    given = {"y": digits["y"][:80], "probabilities": digits["p"][:80]}
    assert list(glitchtrace.detect(**given, detectors="default")) == list(glitchtrace.detect(**given))
    with pytest.raises(GlitchtraceError, match="'jury' needs features"):
        glitchtrace.detect(**given, detectors=["default", "jury"])
    with pytest.raises(GlitchtraceError, match="none of 'all' can do"):
        glitchtrace.detect(y=digits["y"], detectors="all")
    signals = glitchtrace.influence(digits["X"][:80], digits["p"][:80], digits["y"][:80])
    with pytest.raises(GlitchtraceError, match="'knn_vote' needs features"):
        signals.signals("knn_vote")


@pytest.mark.filterwarnings("error")
def test_labels_that_all_differ_are_scored_without_a_library_s_warnings() -> None:
    rng = np.random.default_rng(0)
    found = glitchtrace.detect(rng.normal(size=(60, 3)), np.arange(60))
    assert np.isfinite(found["jury"]).all()


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
        ({"y": [3, 3], "X": np.eye(2)}, "one class only"),
        ({"y": [0, 0], "probabilities": np.ones((2, 1))}, "probabilities has 1 column"),
        ({"y": [0, 0], "out_of_fold": np.ones((2, 1))}, "out_of_fold has 1 column"),
        ({"y": [0, 5], "probabilities": np.eye(3)[:2]}, "2 different labels for 3 columns"),
        ({"y": [0, 1], "probabilities": np.eye(2), "detectors": ["CNCI"]}, "'CNCI' needs influence profiles"),
        ({"y": [0, 1], "probabilities": np.eye(3)}, "has 3 rows for 2 samples"),
        ({"y": [0, 1], "probabilities": np.eye(2), "validation": 3}, "validation: give three arrays"),
        ({"y": [0, 1], "validation": (None, None, [0])}, "validation: give three arrays"),
        ({"y": [0, 1], "validation": (np.eye(2), None, None)}, "validation: give three arrays"),
        ({"y": [0, 1], "validation": ({"a": np.eye(2)}, None, [0, 1])}, "validation: give three arrays"),
        ({"y": [0, 1], "probabilities": [np.eye(2)] * 3, "learning_rates": [1, 2]}, "for 3 checkpoints"),
        (
            {"y": [0, 1], "probabilities": np.eye(2), "learning_rates": 1},
            "checkpoints of the influence; give feat",
        ),
        (
            {"y": [0, 1], "X": np.eye(2), "classes": ["a"]},
            "labels of the columns of probabilities; give prob",
        ),
        (
            {"y": [0, 1], "probabilities": np.eye(2), "validation": (np.eye(2), None, [0, 1])},
            "give features= or X=",
        ),
    ],
)
def test_detect_refuses_in_one_line(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.detect(**arguments)  # type: ignore[arg-type]


ROWS, LABELS, CHANCES = np.arange(12.0).reshape(6, 2), np.array([0, 1, 2] * 2), np.full((6, 3), 1 / 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": ROWS[:5]}, "X has 5 rows for 6 samples"),
        ({"X": ROWS + np.inf}, "X: row 0 holds a value that is not finite"),
        ({"X": pd.DataFrame(ROWS, index=[5, 4, 3, 2, 1, 0]), "y": pd.Series(LABELS)}, "in another order"),
        ({"X": ROWS * 1e140}, "X, row 0, column 1: 1e[+]140 is too large for single precision; scale the column"),
        ({"X": ROWS * 1e-200}, "X, column 0: its values differ by less than single precision keeps"),
        ({"X": ROWS + 2.0**40}, "X, column 0: its values differ by less than single precision keeps"),
        ({"out_of_fold": CHANCES * 2}, "out_of_fold: row 0 sums to 2"),
        ({"pictures": ROWS}, "pictures have shape"),
        ({"X": ROWS, "validation": (ROWS[:2], None, [0, 7])}, "7 is not among the classes"),
        ({"detectors": []}, "none is named"),
        ({"detectors": [3]}, "3 is no name"),
        ({"detectors": 3}, "3 is no name"),
        ({"X": ROWS, "features": {"input": ROWS}}, "features: 'input' is the name of X"),
        ({"X": ROWS, "features": {"X": ROWS[:5]}}, "features 'X' has 5 rows"),
        ({"X": ROWS, "validation": (ROWS[:, :1], None, LABELS)}, "'input' have 1 columns, .* training samples 2"),
        ({"settings": {"knn_vote": {}}}, "settings: give them by detector"),
        ({"detectors": ["knn_vote"], "settings": {"knn_vote": {"k": 1}}, "X": ROWS}, "knn_vote: unknown key 'k'"),
        ({"detectors": ["knn_vote"], "settings": {"knn_vote": {"neighbours": -1}}, "X": ROWS}, "neighbours: -1"),
        ({"seed": -1}, "-1 is no seed"),
        ({"seed": 1.5}, "1.5 is no seed"),
        ({"X": ROWS[:1], "y": [0], "classes": [0, 1, 2], "probabilities": CHANCES[:1],
          "detectors": ["knn_vote"]}, "one sample has no others"),
        ({"X": np.ones((6, 2)), "out_of_fold": CHANCES, "detectors": ["jury"]}, "none can vouch for another"),
    ],
)  # fmt: skip
def test_what_is_given_is_checked_whether_or_not_it_is_read(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.detect(**{"y": LABELS, "probabilities": CHANCES, **arguments})  # type: ignore[arg-type]


def test_labels_of_validation_are_classes_of_the_training_samples() -> None:
    names = np.array(["a", "b", "c"])[LABELS]
    found = glitchtrace.influence(ROWS, CHANCES, names, (ROWS[:2], CHANCES[:2], ["c", "a"]))
    assert found.factors.validation.labels.tolist() == [2, 0]
    with pytest.raises(GlitchtraceError, match="validation labels: 5 is not among the classes"):
        glitchtrace.influence(ROWS, CHANCES, LABELS, (ROWS[:3], CHANCES[:3], [5, 6, 7]))


def test_named_columns_are_taken_by_their_names() -> None:
    rng = np.random.default_rng(0)
    rows, chances = pd.DataFrame(rng.normal(size=(6, 2)), columns=["u", "v"]), rng.dirichlet(np.ones(3), 6)
    for labels, own in ((LABELS, [0, 1, 2]), (np.array(list("abcabc")), list("abc"))):
        named = pd.DataFrame(chances, columns=own)
        mixed = named[[own[2], own[0], own[1]]]

        def scored(
            p: object, q: object, r: object, s: object, x: pd.DataFrame, labels: np.ndarray = labels
        ) -> pd.DataFrame:
            return glitchtrace.detect(
                rows, labels, probabilities=[p, q], out_of_fold=r, validation=(x, [p, s], labels),
                detectors=["AUM", "self_confidence", "knn_shapley", "SI", "CNCI"],
            )  # fmt: skip

        plain = scored(chances, chances, chances, chances, rows)
        for tables in ((named, named, chances, named), (named, mixed, mixed, named), (mixed,) * 4):
            pd.testing.assert_frame_equal(scored(*tables, rows[["v", "u"]]), plain)
        for tables in (
            (mixed, named, chances, mixed),
            (chances, mixed, mixed, named),
            (mixed, mixed, mixed, chances),
        ):
            with pytest.raises(GlitchtraceError, match="have no names, and those of"):
                scored(*tables, rows)
        found = glitchtrace.influence(rows, mixed, labels, (rows[["v", "u"]], [named], labels))
        wanted = glitchtrace.influence(rows, chances, labels)
        np.testing.assert_array_equal(found.matrix(), wanted.matrix())
        assert found.classes.tolist() == own
        for wrong in (
            named.rename(columns={own[1]: "none"}),
            mixed.set_axis([own[0], own[0], own[1]], axis=1),
        ):
            for tables in ((wrong, named, named, named), (named, wrong, chances, chances),
                           (named, named, wrong, named), (named, named, named, wrong)):  # fmt: skip
                with pytest.raises(GlitchtraceError, match=r"no column is named|two columns are named"):
                    scored(*tables, rows)


def test_columns_of_each_checkpoint_are_taken_by_their_names() -> None:
    rng = np.random.default_rng(0)
    names, chances = list("abc"), [rng.dirichlet(np.ones(3), size=6) for _ in range(2)]
    tables = [pd.DataFrame(rng.normal(size=(6, 3)), columns=names) for _ in range(2)]
    given = [tables[0], tables[1][["b", "a", "c"]]]  # each checkpoint has an order of its own
    wanted = glitchtrace.influence([part.to_numpy() for part in given], chances, LABELS).matrix()
    other = [tables[0][["c", "b", "a"]], tables[1]]
    found = glitchtrace.influence(given, chances, LABELS, (other, chances, LABELS)).matrix()
    np.testing.assert_array_equal(found, wanted)
    alone = glitchtrace.influence(given[:1], chances[:1], LABELS, (other[0], chances[:1], LABELS)).matrix()
    np.testing.assert_array_equal(
        alone, glitchtrace.influence(tables[0].to_numpy(), chances[0], LABELS).matrix()
    )
    other[1] = other[1].rename(columns={"c": "z"})
    with pytest.raises(GlitchtraceError, match=r"validation features\[1\]: no column is named 'c'"):
        glitchtrace.influence(given, chances, LABELS, (other, chances, LABELS))


def test_arrays_that_change_afterwards_change_no_influence() -> None:
    rng = np.random.default_rng(0)
    rows, chances = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(3), size=6)
    other = (rows.copy(), torch.from_numpy(chances.copy()), LABELS)
    wanted = glitchtrace.influence(rows.copy(), chances.copy(), LABELS).matrix()
    found = glitchtrace.influence(rows, [chances], LABELS, (other[0], [other[1]], LABELS))
    for part in (rows, chances, *other[:2]):
        part[:] = 0
    np.testing.assert_array_equal(found.matrix(), wanted)
    np.testing.assert_allclose(found.self_influence, np.diag(wanted), rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "kind"), [(100_000, np.float32), (4_000, np.float64), (2_000_000, np.float32)]
)
def test_blocks_take_as_much_memory_as_is_said(count: int, kind: type) -> None:
    rows, chances = np.ones((60, 1), kind), np.full((60, 2), 0.5, kind)
    other = (np.ones((count, 1), kind), np.full((count, 2), 0.5, kind), np.zeros(count, int))
    for _, block in glitchtrace.influence(rows, chances, [0, 1] * 30, other).blocks():
        assert block.nbytes <= 16 * 2**20
        break


def test_the_memory_layout_changes_no_bit(digits: dict[str, np.ndarray]) -> None:
    rows, p, labels = digits["X"][:150], digits["p"][:150], digits["y"][:150]

    def bits(rows: object, p: object) -> tuple[np.ndarray, np.ndarray]:
        named = {"detectors": ["jury", "mahalanobis", "knn_distance"]}
        return (
            glitchtrace.influence(rows, p, labels).matrix(),
            glitchtrace.detect(rows, labels, **named)[list(named["detectors"])].to_numpy(),
        )

    wanted = bits(rows, p)
    for layout in (np.asfortranarray, pd.DataFrame, lambda part: np.repeat(part, 2, axis=1)[:, ::2]):
        for found, expected in zip(bits(layout(rows), layout(p)), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_pictures_may_be_a_view(digits: dict[str, np.ndarray]) -> None:
    pictures = (digits["X"][:20] * 255).astype(np.uint8).reshape(20, 8, 8)
    given = {"y": digits["y"][:20], "detectors": ["picture_autoencoder"]}
    settings = {"settings": {"picture_autoencoder": {"epochs": 1}}}
    seen, copied = (
        glitchtrace.detect(pictures=part, **given, **settings)
        for part in (pictures[:, :, ::-1], pictures[:, :, ::-1].copy())
    )
    pd.testing.assert_frame_equal(seen, copied)


@pytest.mark.parametrize("named", ["X", "y", "features"])
def test_the_answer_has_the_index_of_the_table(digits: dict[str, np.ndarray], named: str) -> None:
    rows, labels = digits["X"][:40], digits["y"][:40]
    names = pd.Index([f"patient {number}" for number in range(40)], name="id")
    given = {
        "X": {"X": pd.DataFrame(rows, index=names), "y": pd.Series(labels)},  # numbered rows have no names
        "y": {"X": pd.DataFrame(rows), "y": pd.Series(labels, index=names)},
        "features": {"features": pd.DataFrame(rows, index=names), "y": labels},
    }[named]
    found = glitchtrace.detect(**given, detectors=["knn_vote"])
    plain = glitchtrace.detect(rows, labels, detectors=["knn_vote"])
    assert plain.index.equals(pd.RangeIndex(40))
    pd.testing.assert_frame_equal(found, plain.set_axis(names))
    if named != "y":
        signals = glitchtrace.influence(next(iter(given.values())), digits["p"][:40], labels).signals("SI")
        assert signals.index.equals(names)


def test_detectors_leave_the_caller_s_generators_and_environment(digits: dict[str, np.ndarray]) -> None:
    pictures = (digits["X"][:30] * 255).astype(np.uint8).reshape(30, 8, 8)
    given = {"X": digits["X"][:30], "y": digits["y"][:30], "pictures": pictures}
    names = ["autoencoder", "picture_autoencoder", "isolation_forest"]
    first = glitchtrace.detect(**given, detectors=names)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = (random.getstate(), torch.get_rng_state().tolist(), dict(os.environ))
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002
    second = glitchtrace.detect(**given, detectors=names)
    assert before == (random.getstate(), torch.get_rng_state().tolist(), dict(os.environ))
    assert numpy_before == np.random.get_state()[1].tolist()  # noqa: NPY002
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.filterwarnings("error")
def test_one_validation_row_is_taken_without_a_warning(digits: dict[str, np.ndarray]) -> None:
    rows, labels = digits["X"][:120], digits["y"][:120]
    other = (digits["X"][120:121], None, digits["y"][120:121])
    assert np.isfinite(
        glitchtrace.detect(rows, labels, validation=other, detectors="jury_validated")["jury_validated"]
    ).all()


def test_a_class_that_stands_twice_is_named() -> None:
    with pytest.raises(GlitchtraceError, match=r"^classes: 2 stands twice"):
        glitchtrace.influence(ROWS, CHANCES, LABELS, classes=np.array([0, 2, 2]))


def test_what_rounding_leaves_of_probabilities_is_taken_everywhere() -> None:
    rounded = CHANCES * 1.0015
    rounded[0] = [-1e-12, 0.5, 0.5]
    glitchtrace.detect(ROWS, LABELS, probabilities=rounded, out_of_fold=rounded, detectors=["one_minus_p"])
    glitchtrace.influence(ROWS, rounded, LABELS, (ROWS, rounded, LABELS)).signals()
    found = glitchtrace.audit(ROWS, LABELS, probabilities=rounded, gain_repeats=0)
    assert len(found.issues) == 6


@pytest.mark.parametrize(
    ("features", "probabilities", "other", "message"),
    [
        (ROWS, CHANCES, (ROWS[:, :1], CHANCES), "validation features have 1 columns, others 2"),
        (ROWS, CHANCES, (ROWS, CHANCES[:, :2]), "validation probabilities has 2 columns for 3 classes"),
        (ROWS, [CHANCES] * 2, (ROWS, CHANCES), "validation probabilities are of 1 checkpoints, probabilities of 2"),
        ([ROWS] * 2, [CHANCES] * 2, (ROWS, [CHANCES] * 2), "validation features are 1 arrays and features 2"),
        ([ROWS] * 3, [CHANCES] * 2, (ROWS, [CHANCES] * 2), "features are 3 arrays; give 1 or 2"),
        ([ROWS, ROWS[:, :1]], [CHANCES] * 2, (ROWS, [CHANCES] * 2), "^features have 1 columns, others 2"),
        (ROWS, CHANCES, (ROWS, CHANCES * 2), "validation probabilities: row 0 sums to 2"),
        (ROWS, [CHANCES] * 2, ([ROWS] * 2, [CHANCES] * 2), "2 arrays and features 1; give both"),
    ],
)  # fmt: skip
def test_parts_of_the_influence_fit_together(
    features: object, probabilities: object, other: tuple[object, object], message: str
) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        glitchtrace.influence(features, probabilities, LABELS, (*other, LABELS))


def test_tables_of_any_argument_are_in_the_same_order() -> None:
    table, other = pd.DataFrame(CHANCES), pd.DataFrame(CHANCES, index=range(5, -1, -1))
    for given, message in (
        ({"probabilities": [table, other]}, r"probabilities\[0\] and probabilities\[1\] have"),
        ({"probabilities": CHANCES, "features": {"y": table}, "out_of_fold": other}, "and features 'y' have"),
        ({"validation": (table, other, LABELS)}, "validation features and validation probabilities have"),
        ({"X": table, "probabilities": table.set_index(table.index + 9), "out_of_fold": other}, "and X have"),
    ):
        with pytest.raises(GlitchtraceError, match=message):
            glitchtrace.detect(**{"y": LABELS, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        ([(torch.zeros(3, 4), torch.tensor([0.5, 1, 2]))], {}, "row 0 is 0.5"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 3]))], {}, "row 2 is 3; with 3 classes"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1]))], {}, "has 2 rows for 3 samples"),
        ([(torch.zeros(3, 2), torch.tensor([0, 1, 2]))], {}, "the module fails on inputs of shape"),
        ([torch.zeros(3, 4)], {}, "no pair"),
        ([("a", "b")], {}, "no pair"),
        ([], {}, "gives no sample"),
        (TensorDataset(torch.zeros(3, 4)), {}, "a TensorDataset, which gives single samples; give DataLoader"),
        ([(torch.full((3, 4), torch.nan), torch.tensor([0, 1, 2]))], {}, "batch 0: .* of the head is not finite"),
        (None, {}, "loader is missing"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"checkpoints": []}, "none is given"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"checkpoints": 3}, "give a list of state dictionaries"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"checkpoints": [{"a": 1}]}, "no state of the module"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"head": "0"}, "name the last layer"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"learning_rates": [1, 2]}, "for 1 checkpoints"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"include_bias": "no"}, "include_bias: 'no'"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 2]))], {"validation": 3}, "give two loaders"),
    ],
)  # fmt: skip
def test_a_module_and_its_loaders_are_checked(
    batch: object, options: dict[str, object], message: str
) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    with pytest.raises(GlitchtraceError, match=message) as caught:
        glitchtrace.influence(module, batch, batch, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_weights_that_diverged_are_named() -> None:
    module = torch.nn.Linear(4, 3)
    lost = copy.deepcopy(module.state_dict())
    lost["weight"][1, 2] = torch.nan
    with pytest.raises(GlitchtraceError, match=r"checkpoints\[1\]: weight holds a value that is not finite"):
        glitchtrace.influence(module, BATCH, BATCH, checkpoints=[copy.deepcopy(module.state_dict()), lost])


def test_a_head_of_one_number_is_refused() -> None:
    batch = [(torch.zeros(3, 4), torch.tensor([0, 0, 0]))]
    with pytest.raises(GlitchtraceError, match="one number for a sample"):
        glitchtrace.influence(torch.nn.Linear(4, 1), batch, batch)


def test_a_module_in_half_precision_is_read() -> None:
    module = torch.nn.Linear(4, 3).bfloat16()
    batch = [(torch.ones(3, 4, dtype=torch.bfloat16), torch.tensor([0, 1, 2]))]
    assert glitchtrace.influence(module, batch, batch).matrix().dtype == np.float32

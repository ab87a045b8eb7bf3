"""Folders of pictures: every form is read as a person sees it, and what is broken is named and goes on."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from glitchtrace.audit import picture_samples
from glitchtrace.audit.run import audit_path
from glitchtrace.audit.settings import Settings
from glitchtrace.command import main
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.picture_folders import open_picture, read_folder, squares
from glitchtrace.data.table_files import Dialect


def half_dark(width: int = 20, height: int = 10) -> np.ndarray:
    """Grey pixels, dark on the left and bright on the right."""
    pixels = np.full((height, width), 40, dtype=np.uint8)
    pixels[:, width // 2 :] = 200
    return pixels


def test_every_form_shows_the_same_pixels(tmp_path: Path) -> None:
    grey = Image.fromarray(half_dark())
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    grey.convert("P").save(tmp_path / "palette.png")
    Image.fromarray(half_dark().astype(np.uint16) * 257).save(tmp_path / "deep.png")
    alpha = grey.convert("RGBA")
    alpha.save(tmp_path / "alpha.png")
    turned = grey.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    expected = np.repeat(half_dark()[:, :, None], 3, axis=2)
    for name in ("grey", "rgb", "palette", "deep", "alpha", "turned"):
        picture = open_picture(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(np.asarray(picture), expected, err_msg=name)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(open_picture(tmp_path / "clear.png")).min() == 255


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, b"\xff\xd8\xff\xe0broken"]
)
def test_a_broken_picture_is_named_not_fatal(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(content)
    Image.fromarray(half_dark()).save(tmp_path / "a" / "good.png")
    found = {
        row: (pixels, wrong) for row, pixels, _, wrong, _ in squares(read_folder(tmp_path), 16, range(2))
    }
    assert found[0][0] is None
    assert "cannot be read" in found[0][1]
    assert found[1][0] is not None
    assert found[1][0].shape == (16, 16, 3)
    with pytest.raises(GlitchtraceError, match=r"bad\.png: cannot be read as a picture"):
        open_picture(tmp_path / "a" / "bad.png")


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_keep_their_order_and_pass_on_a_thread_each(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    for row in range(7):
        Image.new("L", (4, 4), 30 * row).save(tmp_path / "a" / f"{row}.png")

    class Network:
        interpolation = "bilinear"

        def embed(self, pictures: np.ndarray, batch: int) -> dict[str, np.ndarray]:
            assert torch.get_num_threads() == 1
            time.sleep(0.02 if pictures.min() == 0 else 0)  # the first batch is the last to be done
            return {"mean": pictures.mean(axis=(1, 2))}

    monkeypatch.setattr(picture_samples, "_BATCH", 2)
    monkeypatch.setattr(picture_samples, "_loaded", lambda *_: (Network(), 4, "none"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        arrays, _ = picture_samples._seen(read_folder(tmp_path), (None, {}), lambda share: None)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(arrays["mean"][:, 0], 30 * np.arange(7))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_network_sees_pictures_resized_as_its_weights_were_trained(
    interpolation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(half_dark()).save(tmp_path / "a" / "0.png")
    seen = []

    class Network:
        def __init__(self) -> None:
            self.interpolation = interpolation

        def embed(self, pictures: np.ndarray, batch: int) -> dict[str, np.ndarray]:
            seen.append(pictures[0])
            return {"mean": pictures.mean(axis=(1, 2))}

    monkeypatch.setattr(picture_samples, "_loaded", lambda *_: (Network(), 40, "none"))
    picture_samples._seen(read_folder(tmp_path), (None, {}), lambda share: None)
    wanted = (
        Image.fromarray(half_dark()).convert("RGB").resize((40, 40), Image.Resampling[interpolation.upper()])
    )
    np.testing.assert_array_equal(seen[0], np.asarray(wanted))


def test_labels_come_from_subfolders_or_a_file(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(half_dark()).save(tmp_path / name)
    assert read_folder(tmp_path).labels == ("a", "b")
    assert read_folder(tmp_path, {"b/2.png": "x"}).files == ("b/2.png",)
    with pytest.raises(GlitchtraceError, match=r"names c/3\.png, which is not in the folder"):
        read_folder(tmp_path, {"c/3.png": "x"})
    (tmp_path / "a" / "nothing").mkdir()
    with pytest.raises(GlitchtraceError, match="no pictures"):
        read_folder(tmp_path / "a" / "nothing")
    with pytest.raises(GlitchtraceError, match="a/none: cannot be read"):
        read_folder(tmp_path / "a" / "none")


def test_links_are_followed_once_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    names = ("pictures/a/1.png", "pictures/a/.2.png", "pictures/.ipynb_checkpoints/3.png", "elsewhere/4.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(half_dark()).save(tmp_path / name)
    (folder / "a/5.heic").write_bytes(b"")
    (folder / "empty/below").mkdir(parents=True)
    (folder / "b").symlink_to(elsewhere)
    (folder / "a/round").symlink_to(folder)
    (elsewhere / "back").symlink_to(folder / "a")
    (folder / "a/gone.png").symlink_to(tmp_path / "nothing.png")
    found = read_folder(folder)
    assert found.files == ("a/1.png", "a/gone.png", "b/4.png", "b/back/1.png", "b/back/gone.png")
    assert found.labels == ("a", "a", "b", "b", "b")
    told = " ".join(found.notes)
    hidden = "Pictures with a name or a folder that begins with a dot are left out"
    assert f"{hidden}: 3 (the first: .ipynb_checkpoints/3.png)." in told
    assert "Files that do not end as a picture that is read are left out: 2 (the first: a/5.heic)." in told
    assert "Class folders without pictures are left out: 1 (the first: empty)." in told
    assert "Class folders" not in " ".join(read_folder(folder, labelled=False).notes)
    some = read_folder(folder, {"a/1.png": "x", "a/.2.png": "y"})
    assert some.labels == ("y", "x")
    assert some.notes[0].endswith("not stand in the labels file are left out: 4 (the first: a/gone.png).")
    for path in (f"{folder.as_posix()}/b/4.png", "pictures/b/4.png"):
        with pytest.raises(GlitchtraceError, match=r"begin in this folder: write b/4\.png$"):
            read_folder(folder, {path: "x"})
    with pytest.raises(GlitchtraceError, match=r"names a/5\.heic, which is no picture"):
        read_folder(folder, {"a/5.heic": "x"})


@pytest.mark.parametrize(
    "name", ["sub\\é.png", " sub/é.png ", "./sub/é.png", "sub/e\N{COMBINING ACUTE ACCENT}.png"]
)
def test_a_picture_is_found_however_its_path_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    for file in ("sub/é.png", "b.png"):
        Image.fromarray(half_dark()).save(tmp_path / file)
    (tmp_path / "l.csv").write_text(f"file,caption\n{name},one thing\nb.png,another\n")
    settings = Settings(labels=str(tmp_path / "l.csv"))
    found = picture_samples.read_pictures(tmp_path, settings, Dialect())
    assert found.ids.tolist() == ["b.png", "sub/é.png"]
    (tmp_path / "l.csv").write_text("file,label\nb.png,1\n,2\n")
    with pytest.raises(GlitchtraceError, match="line 3: column 'file' names no file"):
        picture_samples.read_pictures(tmp_path, settings, Dialect())


def test_noise_is_noisier_than_strokes_of_more_contrast(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    (tmp_path / "a").mkdir()
    for number, digit in enumerate(load_digits().images[:200]):
        picture = Image.fromarray((digit * 15.9).astype(np.uint8)).resize((28, 28), Image.Resampling.BICUBIC)
        picture.save(tmp_path / "a" / f"{number:03}.png")
    noise = np.random.default_rng(0).normal(128, 30, (28, 28)).clip(0, 255)
    Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "a" / "200.png")
    found = [each[4] for each in squares(read_folder(tmp_path), 8, range(201))]
    assert picture_samples._at_sight(np.array(found), {}) == {
        200: "the picture is far noisier than the others"
    }


def test_names_that_are_no_utf8_are_escaped_in_folders_and_refused_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng, odd = np.random.default_rng(0), os.fsdecode(b"caf\xe9")
    try:
        Path("own", odd).mkdir(parents=True)
    except OSError:
        pytest.skip("this file system has no such names")
    Path("own/plain").mkdir()
    for number in range(6):
        for label in (odd, "plain"):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("own", label, f"{odd}{number}.png"))
    Path("own", odd, f"{odd}.png").write_bytes(b"broken")
    Path("own", odd, f"{odd}.txt").touch()
    np.save("p.npy", np.full((13, 2), 0.5))
    assert main(["audit", "own", "--probabilities", "p.npy", "--out", "out"]) == 0
    issues = pd.read_parquet("out/issues.parquet").set_index("row").sort_index()
    assert issues.id[0] == r"caf\xe9/caf\xe9.png"
    assert issues.verdict[0] == "corrupted"
    assert set(issues.observed) == {r"caf\xe9", "plain"}
    assert r"caf\\xe9/caf\\xe9.txt" in Path("out/summary.json").read_text()
    assert main(["apply", "out/issues.csv"]) == 0
    assert Path("out/cleaned-reviewed.csv").read_bytes() == Path("out/cleaned.csv").read_bytes()
    capsys.readouterr()
    for name in (f"{odd}.csv", "own.csv"):
        Path(name).write_text("x,y\n" + "1,a\n2,b\n" * 9)
    for path, out in ((f"{odd}.csv", "other"), ("own.csv", odd)):
        assert main(["audit", path, "--label", "y", "--out", out]) == 1
        assert "the path is no UTF-8" in capsys.readouterr().err


def test_a_message_names_the_column_of_the_labels_file(tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(half_dark()).save(tmp_path / f"{number}.png")
    (tmp_path / "l.csv").write_text("file,val\n0.png,\n1.png,\n")
    settings = Settings(labels=str(tmp_path / "l.csv"), label="val")
    with pytest.raises(GlitchtraceError, match=r"l\.csv: column 'val' holds no labels"):
        picture_samples.read_pictures(tmp_path, settings, Dialect())


def test_classes_of_folders_stand_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["none", "9", "10"]
    for name in names:
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.fromarray(half_dark()).save(tmp_path / "pictures" / name / "1.png")
    found = picture_samples.read_pictures(tmp_path / "pictures", Settings(), Dialect())
    assert found.class_names == ("10", "9", "none")  # as ImageFolder of torchvision has them
    assert found.labels is not None
    assert (found.labels >= 0).all()
    (tmp_path / "l.csv").write_text(
        "file,label\n" + "".join(f"{name}/1.png,{n}\n" for n, name in enumerate(names))
    )
    settings = Settings(labels=str(tmp_path / "l.csv"), label="label")
    found = picture_samples.read_pictures(tmp_path / "pictures", settings, Dialect())
    assert found.observed().tolist() == ["2", "1", "0"]


def test_a_folder_is_audited_where_it_lies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            pixels = half_dark(24, 24) if label == "right" else half_dark(24, 24)[:, ::-1]
            noisy = np.clip(pixels + rng.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / label / f"{number:02d}.png")
    twin = (folder / "left" / "00.png").read_bytes()
    (folder / "left" / "twin.png").write_bytes(twin)
    for label in ("left", "right"):
        (folder / label / "broken.jpg").write_bytes(b"no picture")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.*")}
    found = audit_path(folder, out=tmp_path / "out", side=32, gain_repeats=0).issues.set_index("id")
    assert found.verdict["left/twin.png"] == "near duplicate"
    assert found.duplicate_of["left/twin.png"] == "left/00.png"
    for label in ("left", "right"):  # what cannot be read resembles nothing, not even each other
        assert found.verdict[f"{label}/broken.jpg"] == "corrupted"
        assert found.evidence[f"{label}/broken.jpg"].startswith("cannot be read as a picture")
        assert ";" not in found.evidence[f"{label}/broken.jpg"]
        assert not found.loc[f"{label}/broken.jpg", ["duplicate_of", "proposed", "supporters"]].any()
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.*")} == before
    assert not list((tmp_path / "out").rglob("*.png"))


def test_pictures_that_were_saved_anew_leak(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        blocks = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(np.kron(blocks, np.ones((8, 8, 1), dtype=np.uint8)))
        place = tmp_path / "train" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number}.png")
        (tmp_path / "test").mkdir(exist_ok=True)
        if number == 3:
            picture.save(tmp_path / "test/same.bmp")
        if number == 4:
            picture.save(tmp_path / "test/again.jpg", quality=95)
    for place in ("train/a", "test"):  # the first of both: no leak
        (tmp_path / place / "0.png").write_bytes(b"no picture")
    found = audit_path(
        tmp_path / "train", side=32, trusted=str(tmp_path / "test"), gain_repeats=0
    ).issues.set_index("id")
    assert found.leak_of[found.leak_of != ""].to_dict() == {"b/3.png": "same.bmp", "a/4.png": "again.jpg"}
    assert found.evidence["a/4.png"].startswith("nearly the same content")

"""Reading pictures: every format comes out as upright RGB, every failure is one error that names the file."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fluoroscope.errors import InputError
from fluoroscope.model.images import MAX_PIXELS, read_image, read_images, to_batch


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture whose left half is red and whose right half is blue."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0], pixels[:, 30:, 2] = 255, 255
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG of that size without its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "jfif", "webp", "bmp", "gif", "tif", "tiff", "ppm"])
def test_formats(photo: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"copy.{suffix}"
    Image.open(photo).save(path, format={"jfif": "JPEG", "tif": "TIFF"}.get(suffix))
    image = read_image(path)
    assert image.mode == "RGB" and image.size == (60, 40)
    pixels = np.asarray(image).astype(int)
    assert np.abs(pixels[20, 5] - [255, 0, 0]).max() <= 12
    assert np.abs(pixels[20, 55] - [0, 0, 255]).max() <= 12


def test_orientation_of_exif_is_applied(photo: Path, tmp_path: Path) -> None:
    image = Image.open(photo)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    path = tmp_path / "turned.png"
    image.save(path, exif=exif)
    upright = read_image(path)
    assert upright.size == (40, 60)
    assert upright.getpixel((20, 5)) == (255, 0, 0) and upright.getpixel((20, 55)) == (0, 0, 255)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, 2:] = (200, 10, 20, 255)
    pixels[:, 1] = (0, 0, 0, 127)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    image = read_image(tmp_path / "clear.png")
    assert [image.getpixel((x, 0)) for x in (0, 1, 2)] == [(255, 255, 255), (128, 128, 128), (200, 10, 20)]


def test_palette_with_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 255, 0, 9, 8, 7] + [0] * 762)
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    read = read_image(tmp_path / "palette.png")
    assert read.getpixel((0, 0)) == (255, 255, 255) and read.getpixel((1, 0)) == (9, 8, 7)


def test_sixteen_bits_keep_their_scale(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png"))[0, :, 1].tolist() == [0, 100, 255]


def test_fractions_and_wide_numbers(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5]], np.float32)).save(tmp_path / "unit.tif")
    Image.fromarray(np.array([[-100.0, 300.0]], np.float32)).save(tmp_path / "wide.tif")
    found = read_images([tmp_path / "unit.tif", tmp_path / "wide.tif"])
    assert np.asarray(found.images[0])[0, :, 0].tolist() == [0, 128]
    assert np.asarray(found.images[1])[0, :, 0].tolist() == [0, 255]
    assert any("-100 ... 300" in note for note in found.notes)


def test_cmyk_grey_and_bilevel(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "ink.tif")
    Image.new("L", (2, 2), 77).save(tmp_path / "grey.png")
    Image.new("1", (2, 2), 1).save(tmp_path / "bit.png")
    assert read_image(tmp_path / "ink.tif").getpixel((0, 0)) == (255, 0, 0)
    assert read_image(tmp_path / "grey.png").getpixel((0, 0)) == (77, 77, 77)
    assert read_image(tmp_path / "bit.png").getpixel((0, 0)) == (255, 255, 255)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    found = read_images(tmp_path / "moving.gif")
    assert found.images[0].getpixel((0, 0)) == (255, 0, 0)
    assert found.notes == ("moving.gif: the first of 2 frames",)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "none.png").touch()
    with pytest.raises(InputError, match=r"none\.png is empty"):
        read_images(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
def test_truncated_files_never_give_a_picture(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    Image.effect_noise((64, 64), 80).convert("RGB").save(whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\."):
        read_image(cut)


def test_corrupt_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "noise.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4)
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "pointer.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(InputError, match="noise"):
        read_image(tmp_path / "noise.jpg")
    with pytest.raises(InputError, match=r"text\.png is not a picture"):
        read_image(tmp_path / "text.png")
    with pytest.raises(InputError, match="git lfs pull"):
        read_image(tmp_path / "pointer.png")


def test_postscript_is_not_handed_to_another_program(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(InputError, match="is not a picture"):
        read_image(tmp_path / "page.png")


def test_huge_pictures_are_refused_by_their_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(50_000, 50_000))

    def decode(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(InputError, match="too large") as caught:
        read_image(path)
    assert f"{50_000**2:,}" in str(caught.value)


def test_own_limit_holds_where_the_one_of_pil_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    side = int(MAX_PIXELS**0.5) + 1
    (tmp_path / "large.png").write_bytes(png_header(side, side))
    with pytest.raises(InputError, match=f"{side:,} x {side:,} pixels"):
        read_image(tmp_path / "large.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(photo: Path) -> None:
    photo.chmod(0)
    with pytest.raises(InputError, match="can't be read"):
        read_image(photo)


def test_permission_error_is_told(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read_image(photo)


def test_missing_names_the_nearest(photo: Path) -> None:
    with pytest.raises(InputError, match=r"nearest: +'photo\.png'"):
        read_images(photo.with_name("foto.png"))


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="not a regular file"):
        read_images(tmp_path / "pipe.png")


def test_folder_is_sorted_flat_and_says_what_it_passed_over(photo: Path, tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", ".hidden.png"):
        (tmp_path / name).write_bytes(photo.read_bytes())
    (tmp_path / "labels.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.png").write_bytes(photo.read_bytes())
    found = read_images(tmp_path)
    assert found.names == ("a.PNG", "b.png", "photo.png")
    (note,) = found.notes
    assert "1 .txt" in note and "1 subfolder" in note
    assert read_images(tmp_path, limit=2).names == ("a.PNG", "b.png")
    assert [name for name, _ in found] == list(found.names) and found[1][0] == "b.png" and len(found) == 3


def test_limit_opens_no_more_than_it_needs(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "z.png").write_text("broken")
    assert read_images(tmp_path, limit=1).notes == ()


def test_bad_picture_in_a_folder_is_skipped_and_told(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("nothing")
    found = read_images(tmp_path)
    assert found.names == ("photo.png",)
    assert any("skipped" in note and "bad.png" in note for note in found.notes)
    with pytest.raises(InputError, match=r"bad\.png"):
        read_images([photo, tmp_path / "bad.png"])
    photo.unlink()
    with pytest.raises(InputError, match="none of the 1 pictures"):
        read_images(tmp_path)


def test_folder_without_pictures_lists_what_it_holds(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "deeper").mkdir()
    with pytest.raises(InputError, match="no pictures") as caught:
        read_images(tmp_path)
    assert "2 .txt" in str(caught.value) and "1 .csv" in str(caught.value) and "subfolders" in str(caught.value)
    empty = tmp_path / "deeper"
    with pytest.raises(InputError, match="an empty folder"):
        read_images(empty)


def test_same_name_in_two_folders_stays_apart(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "photo.png").write_bytes(photo.read_bytes())
    assert len(set(read_images([photo, other]).names)) == 2


def test_batch_in_every_form_of_answer(photo: Path) -> None:
    images = read_images([photo, photo])

    def tensor(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float32))

    expected = torch.stack([tensor(image) for image in images.images])
    answers = {
        "single": tensor,
        "batch of one": lambda i: tensor(i)[None],
        "array": lambda i: tensor(i).numpy(),
        "processor": lambda i: {"pixel_values": tensor(i)[None], "other": 1},
        "processor with lists": lambda i: {"pixel_values": [tensor(i).numpy()]},
    }
    for form, preprocess in answers.items():
        assert torch.equal(to_batch(images, preprocess), expected), form
    assert to_batch(images.images, tensor, dtype=torch.float64).dtype == torch.float64
    assert to_batch(images, lambda i: tensor(i).to(torch.uint8), dtype=torch.float16).dtype == torch.uint8


def test_batch_refuses_what_does_not_fit(photo: Path) -> None:
    images = read_images([photo])
    with pytest.raises(InputError, match="preprocess"):
        to_batch(images, None)
    with pytest.raises(InputError, match=r"photo\.png.*\n.*KeyError"):
        to_batch(images, lambda i: {}["x"])
    with pytest.raises(InputError, match=r"shape \(40, 60\)"):
        to_batch(images, lambda i: np.zeros((40, 60)))
    with pytest.raises(InputError, match=r"shape \(5, 3, 8, 8\)"):
        to_batch(images, lambda i: torch.zeros(5, 3, 8, 8))
    with pytest.raises(InputError, match="NoneType"):
        to_batch(images, lambda i: None)
    with pytest.raises(InputError, match="at least one"):
        to_batch([], lambda i: i)


def test_pictures_of_different_sizes_name_the_culprit(photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    images = read_images([photo, tmp_path / "small.png"])
    with pytest.raises(InputError, match=r"small\.png: \(3, 8, 8\)"):
        to_batch(images, lambda i: np.asarray(i).transpose(2, 0, 1))


def test_photographs(assets: Path) -> None:
    found = read_images(assets / "photos", limit=5)
    assert len(found) == 5 and all(i.mode == "RGB" and min(i.size) > 50 for i in found.images)


def test_pictures_in_memory_are_inputs_too() -> None:
    import torch
    from torch import nn

    import fluoroscope as fs

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    subject = fs.Subject(model, preprocess=fs.ImagePreprocess(16))
    pictures = [Image.new("RGBA", (20, 30), (255, 0, 0, 128)), Image.new("L", (40, 20), 7)]
    found = fs.Saliency()(subject, pictures, target=0)
    assert found.values.shape == (2, 16, 16)
    assert found.samples.names == ("picture 0", "picture 1")
    by_hand = torch.stack([subject.preprocess(p) for p in (Image.new("RGB", (20, 30), (255, 127, 127)), pictures[1])])
    assert abs(found.values - fs.Saliency()(subject, by_hand, target=0).values).max() < 1e-3
    assert fs.Saliency()(subject, pictures[1], target=0).values.shape == (1, 16, 16)

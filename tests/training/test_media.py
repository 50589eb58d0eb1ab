"""Pictures and texts of a run: kept within bounds, read one by one, checked before they are believed."""

import io

import numpy as np
import pytest
from PIL import Image

from fluoroscope.errors import InputError
from fluoroscope.results import ImageSeries, Media, open_result
from fluoroscope.results.picture_file import MOST_PIXELS, picture_file
from fluoroscope.training.store import RunWriter, media_rows, open_runs


def picture(level=0, kind="PNG", size=(7, 5), mode="L"):
    file = io.BytesIO()
    Image.new(mode, size, level).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "mime", "options"),
    [
        ("PNG", "image/png", {}),
        ("JPEG", "image/jpeg", {}),
        ("JPEG", "image/jpeg", {"progressive": True}),
        ("GIF", "image/gif", {}),
        ("WEBP", "image/webp", {"lossless": True}),
        ("WEBP", "image/webp", {}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_types_and_sizes_are_those_that_a_decoder_finds(kind, mime, options, mode):
    if kind == "JPEG" and mode == "RGBA":
        pytest.skip("JPEG has no transparency")
    file = io.BytesIO()
    Image.new(mode, (301, 17)).save(file, kind, **options)
    assert picture_file(file.getvalue()) == (mime, 301, 17)
    cut = [picture_file(file.getvalue()[:n]) for n in range(len(file.getvalue()))]
    assert all(found in (None, (mime, 301, 17)) for found in cut)


def test_what_could_be_anything_else_is_refused():
    huge = bytearray(picture())
    huge[16:24] = (MOST_PIXELS).to_bytes(4, "big") + (2).to_bytes(4, "big")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    for data in (
        b"",
        svg,
        b"%PDF-1.7" + bytes(100),
        bytes(100),
        bytes(huge),
        picture(kind="BMP"),
        picture(kind="TIFF"),
    ):
        assert picture_file(data) is None
    with pytest.raises(InputError, match="PNG, JPEG, GIF or WebP"):
        ImageSeries.of([0], [svg])


def test_pictures_and_texts_come_back_and_cross_to_a_file(tmp_path):
    with RunWriter(tmp_path, "run") as writer:
        for step in (0, 5, 5):
            writer.images(step, "p <b>", [picture(step), picture(step + 1, "JPEG")], time=100.0 + step)
            writer.texts(step, "t", [f"at {step}", "\ud800 \u202e <script>"], time=100.0 + step)
        with pytest.raises(InputError, match="p2"):
            writer.images(6, "p2", [b"<svg>"])
    run = open_runs(tmp_path)["run"]
    assert (run.last_step, run.last_written, run.names()) == (5, 105.0, ())
    found = run.media()
    series = found.images["p <b>"]
    assert series.steps.tolist() == [0, 0, 5, 5, 5, 5] and series.parts.tolist() == [0, 1] * 3
    assert series.mimes == ("image/png", "image/jpeg") * 3 and not len(series.data)
    assert [series.picture(i) for i in (0, 3)] == [picture(0), picture(6, "JPEG")]
    assert series.sizes.tolist() == [len(series.picture(i)) for i in range(6)]
    odd = "\\ud800 \u202e <script>"
    assert found.texts["t"].texts == ("at 0", odd, "at 5", odd, "at 5", odd)
    assert found.values.tolist() == [6, 6]
    again = open_result(found.save(tmp_path / "m.fluo"))
    assert isinstance(again, Media) and again.images["p <b>"].picture(5) == picture(6, "JPEG")
    assert run.media(["t"]).images == {}


def test_a_run_without_them_has_no_tables_and_an_empty_answer(tmp_path):
    with RunWriter(tmp_path, "run") as writer:
        writer.scalars(0, {"loss": 1.0})
    found = open_runs(tmp_path)["run"].media()
    assert found.images == {} and found.texts == {} and found.notes == ()


def test_of_very_many_moments_evenly_spaced_ones_stay_and_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr(media_rows, "MOMENTS", 8)
    with RunWriter(tmp_path, "run") as writer:
        for step in range(101):
            writer.texts(step, "t", [str(step)])
            kept = open_runs(tmp_path)["run"].media().texts["t"].steps
            assert len(kept) <= 9 and kept[-1] == step and kept[0] == 0
    found = open_runs(tmp_path)["run"].media()
    assert found.texts["t"].steps.tolist() == [0, 16, 32, 48, 64, 80, 96, 100]
    assert "93 moments" in found.notes[0]


def test_bytes_are_bounded_and_the_largest_series_pays(tmp_path, monkeypatch):
    monkeypatch.setattr(media_rows, "BYTES", 100_000)
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    large, small = file.getvalue(), picture()
    with RunWriter(tmp_path, "run") as writer:
        for step in range(200):
            writer.images(step, "large", [large])
            if step % 20 == 0:
                writer.images(step, "small", [small])
        assert open_runs(tmp_path)["run"].media().images["small"].steps.tolist() == list(range(0, 200, 20))
        bound = 100_000 * 17 / 16 + len(large)
        assert sum(s.sizes.sum() for s in open_runs(tmp_path)["run"].media().images.values()) <= bound
        for number in range(60):  # series of one moment, which can't be thinned
            writer.images(0, f"single {number}", [large])
    found = open_runs(tmp_path)["run"].media()
    assert sum(s.sizes.sum() for s in found.images.values()) <= bound
    assert found.images["large"].steps.tolist() == [0, 199]


def test_a_full_transaction_that_fails_leaves_neither_half(tmp_path):
    with RunWriter(tmp_path, "run") as writer:
        writer.images(0, "p", [picture()])
        with pytest.raises(RuntimeError), writer.together():
            writer.images(1, "p", [picture(1)])
            raise RuntimeError
        writer.images(2, "p", [picture(2)])
    assert open_runs(tmp_path)["run"].media().images["p"].steps.tolist()[0] == 0

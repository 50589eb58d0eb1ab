"""What each command answers and writes."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import fluoroscope as fs
from fluoroscope.results import Attribution, FeatureMaps, TensorSummary
from tests.cli.conftest import as_json


def test_layers(run, model):
    result = run("layers", model)
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("conv2"))
    # 8 filters of 4 x 3 x 3 and 8 biases; 2 multiply-adds of each weight at 8 x 8 positions
    assert row.split()[:2] == ["conv2", "Conv2d"]
    assert "1 x 8 x 8 x 8" in row and " 296 " in row and "36.9 k" in row
    assert "made-up input (1, 3, 16, 16)" in result.stderr


def test_layers_json_has_the_library_s_numbers(run, model, folder):
    answer = as_json(run("layers", model, "--json"))
    table = fs.LayerTable(input_shape=(3, 16, 16))(fs.load(model))
    assert [row["name"] for row in answer["layers"]] == [row.name for row in table]
    assert answer["parameters"] == table.parameters
    assert answer["flops"] == table.flops


def test_layers_depth(run, folder):
    (folder / "deep.py").write_text(
        "from torch import nn\ndef net():\n"
        "    return nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 2))"
    )
    names = [row["name"] for row in as_json(run("layers", f"{folder}/deep.py:net", "--depth", 1, "--json"))["layers"]]
    assert names == ["0", "1"]


def test_layers_input_shape(run, model):
    answer = as_json(run("layers", model, "--input-shape", "3,32,32", "--json"))
    assert answer["input_shapes"] == [[1, 3, 32, 32]]


def test_explain(run, model, photos, tmp_path):
    result = run("explain", model, "--images", photos, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert written == ["grad-cam.fluo", "grad-cam.png", "saliency.fluo", "saliency.png"]
    assert all(str(tmp_path / "out" / name) in result.stdout for name in written)
    maps = fs.open_result(tmp_path / "out" / "grad-cam.fluo")
    assert isinstance(maps, Attribution)
    subject = fs.load(model)
    expected = fs.GradCAM()(subject, [f"{photos}/{n}" for n in ("a.png", "b.png", "c.png")])
    np.testing.assert_array_equal(maps.values, expected.values)
    assert maps.samples.names == ("a.png", "b.png", "c.png")
    with Image.open(tmp_path / "out" / "grad-cam.png") as figure:
        assert min(figure.size) > 200


def test_explain_says_the_highest_classes(run, model, photos, tmp_path):
    result = run("explain", model, "--images", f"{photos}/a.png", "--out", tmp_path, "--method", "saliency", "--json")
    answer = as_json(result)
    scores = [entry["score"] for entry in answer["inputs"][0]["classes"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 3
    best = answer["inputs"][0]["classes"][0]
    saliency = answer["methods"]["saliency"]
    assert saliency["scores"] == [pytest.approx(best["score"], rel=1e-6)]
    assert saliency["labels"] == [[best["label"]]]
    assert [p.rpartition("/")[2] for p in answer["files"]] == ["saliency.fluo", "saliency.png"]


def test_explain_target_layer_and_option(run, model, photos, tmp_path):
    given = (
        "--images",
        photos,
        "--out",
        tmp_path,
        "--target",
        "green",
        "--layer",
        "conv1",
        "--set",
        "saliency.reduce=norm",
    )
    assert run("explain", model, *given).exit_code == 0
    assert set(fs.open_result(tmp_path / "grad-cam.fluo").targets) == {1}
    assert fs.open_result(tmp_path / "grad-cam.fluo").meta["layer"] == "conv1"
    assert fs.open_result(tmp_path / "saliency.fluo").meta["options"]["reduce"] == "norm"


def test_explain_several_targets(run, model, photos, tmp_path):
    assert run("explain", model, "--images", photos, "--out", tmp_path, "--target", "top2").exit_code == 0
    assert fs.open_result(tmp_path / "saliency.fluo").values.shape[:2] == (3, 2)


def test_limit(run, model, photos, tmp_path):
    result = run("explain", model, "--images", photos, "--out", tmp_path, "--limit", 2)
    assert len(fs.open_result(tmp_path / "saliency.fluo").values) == 2
    assert "only the first 2 inputs" in result.stderr


def test_a_failing_method_leaves_the_others(run, model, photos, tmp_path):
    result = run("explain", model, "--images", photos, "--out", tmp_path, "--layer", "unused")
    assert result.exit_code == 4
    assert "FS-LAYER" in result.stderr and "did not run" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["saliency.fluo", "saliency.png"]


def test_explain_list(run):
    result = run("explain", "--list")
    assert result.exit_code == 0
    assert "saliency" in result.stdout and "reduce" in result.stdout and "activations" not in result.stdout


def test_activations(run, model, photos, tmp_path):
    result = run("activations", model, "--images", photos, "--out", tmp_path, "--layer", "conv1", "--layer", "relu")
    assert result.exit_code == 0, result.stderr
    found = fs.open_result(tmp_path / "activations.fluo")
    assert isinstance(found, FeatureMaps) and found.layers == ("conv1", "relu")
    assert {f"activations-{n}.png" for n in "abc"} < {p.name for p in tmp_path.iterdir()}
    row = next(line for line in result.stdout.splitlines() if line.startswith("relu"))
    assert "N=3 C=8 H=8 W=8" in row
    zero = float((found.maps["relu"] == 0).mean())
    assert f"{100 * zero:.1f} %" in row


def test_weights(run, model, tmp_path):
    result = run("weights", model, "--out", tmp_path, "--match", "*.weight", "--json")
    answer = as_json(result)
    assert [t["name"] for t in answer["tensors"]] == ["conv1.weight", "conv2.weight", "unused.weight", "fc.weight"]
    conv1 = fs.load(model).module.conv1.weight.detach().numpy()
    assert answer["tensors"][0]["statistics"]["mean"] == pytest.approx(conv1.mean(), rel=1e-4)
    assert isinstance(fs.open_result(tmp_path / "weights.fluo"), TensorSummary)
    assert (tmp_path / "weights.png").stat().st_size > 1000


def test_weights_of_a_layer(run, model, tmp_path):
    answer = as_json(run("weights", model, "--out", tmp_path, "--layer", "conv2", "--json"))
    assert [t["name"] for t in answer["tensors"]] == ["conv2.weight", "conv2.bias"]


def weights_file(tmp_path, changes=()):
    """A file of weights with hostile names, some of them changed."""
    torch.manual_seed(0)
    tensors = {
        "a.weight": torch.randn(20, 30),
        "a.bias": torch.zeros(20),
        "b\x1b[31m<b>.weight": torch.randn(4, 3, 5, 5),
    }
    tensors["a.weight"][3] = 0
    tensors["a.weight"][7] = tensors["a.weight"][2]
    path = tmp_path / f"{'changed' if changes else 'plain'}.safetensors"
    save_file({**tensors, **dict(changes)}, path)
    return path


def test_weights_of_a_file_without_a_network(run, tmp_path):
    result = run("weights", weights_file(tmp_path), "--out", tmp_path / "out", "--page")
    assert result.exit_code == 0, result.stderr
    assert "a.weight: 1 of 20 rows are dead" in result.stderr
    assert "a.weight: 1 of 20 rows are duplicate" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"weights.png", "weights.fluo", "weights.html"}
    answer = as_json(run("weights", weights_file(tmp_path), "--out", tmp_path / "out", "--layer", "a", "--json"))
    assert [t["name"] for t in answer["tensors"]] == ["a.bias", "a.weight"]


def test_spectra_of_a_file(run, tmp_path):
    result = run("weights", weights_file(tmp_path), "--out", tmp_path, "--spectrum", "--json", "--match", "a.*")
    (found,) = as_json(result)["spectra"]
    expected = torch.linalg.svdvals(load_file(tmp_path / "plain.safetensors")["a.weight"].double())
    assert found["values"] == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)
    table = run("weights", weights_file(tmp_path), "--out", tmp_path, "--spectrum").stdout.splitlines()
    assert table[0].split()[:3] == ["tensor", "matrix", "largest"]
    assert "20 x 30" in table[1]


def test_weights_compared(run, model, tmp_path):
    other = weights_file(tmp_path, {"a.weight": torch.zeros(20, 31), "new": torch.ones(2)}.items())
    result = run("weights", weights_file(tmp_path), "--out", tmp_path, "--compare", other)
    assert result.exit_code == 0, result.stderr
    assert "only in changed.safetensors: new" in result.stderr
    assert "a.weight: 20 x 30 became 20 x 31" in result.stderr
    answer = as_json(run("weights", weights_file(tmp_path), "--out", tmp_path, "--compare", other, "--json"))
    assert answer["comparison"]["unchanged"] == ["a.bias", "b\x1b[31m<b>.weight"]
    same = as_json(run("weights", model, "--out", tmp_path, "--compare", model, "--json"))
    assert len(same["comparison"]["unchanged"]) == len(same["tensors"]) == 8


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--spectrum", "--compare", "x.safetensors"], 2, "exclude"),
        (["--weights", "x.safetensors"], 2, "goes with a network"),
        (["--layer", "aa"], 4, "'a'"),
        (["--match", "nothing*"], 2, "no tensor's name fits"),
        (["--compare", "absent.safetensors"], 5, "no file"),
    ],
)
def test_mistakes_with_files_of_weights(run, tmp_path, options, code, words):
    result = run("weights", weights_file(tmp_path), "--out", tmp_path, *options)
    assert result.exit_code == code
    assert words in result.stderr


def test_report(run, model, photos, tmp_path):
    result = run("report", model, "--images", photos, "--out", tmp_path / "page.html", "--title", "My <net>")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<title>My &lt;net&gt;</title>" in page
    titles = [page.index(f'"title":"{t}"') for t in ("Layers", "Weights", "Activations", "Attribution")]
    assert titles == sorted(titles)


def test_report_without_data(run, model, tmp_path):
    result = run("report", model, "--out", tmp_path / "page.html", "--json")
    assert result.exit_code == 0
    answer = as_json(result)
    assert list(answer["sections"]) == ["before"]
    assert "Grad-CAM" in answer["left_out"]


def test_methods(run):
    answer = as_json(run("methods", "--json"))
    saliency = next(m for m in answer["methods"] if m["name"] == "saliency")
    assert saliency["class"] == "Saliency" and saliency["returns"] == "Attribution" and saliency["phase"] == "inference"
    reduce = next(o for o in saliency["options"] if o["name"] == "reduce")
    assert reduce["default"] == "max" and reduce["choices"] == ["max", "norm", "none"]
    named = run("methods", "GradCAM")
    assert "grad-cam" in named.stdout and "saliency" not in named.stdout


def test_arrays_as_inputs(run, folder, tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    given = ("--inputs", tmp_path / "rows.npy", "--method", "saliency", "--out", tmp_path / "out")
    result = run("explain", f"{folder}/net.py:table", *given)
    assert result.exit_code == 0, result.stderr
    assert fs.open_result(tmp_path / "out" / "saliency.fluo").values.shape == (4, 5)


def test_a_default_that_does_not_apply_is_no_failure(run, folder, tmp_path):
    """Rows of a table have no positions: Grad-CAM, which nobody named, is left out with a note."""
    np.save(tmp_path / "rows.npy", np.ones((2, 5), np.float32))
    given = (f"{folder}/net.py:table", "--inputs", tmp_path / "rows.npy", "--out", tmp_path / "out")
    result = run("explain", *given)
    assert result.exit_code == 0 and "grad-cam does not apply" in result.stderr
    assert run("explain", *given, "--method", "grad-cam", "--method", "saliency").exit_code == 4


def test_what_the_network_prints_stays_off_stdout(run, model):
    result = run("layers", model, "--arg", "loud=True", "--json")
    assert as_json(result)["layers"]
    assert "building a network" in result.stderr


def test_names_can_not_send_escapes(run, model, photos, tmp_path):
    result = run("explain", model, "--images", photos, "--out", tmp_path)
    assert "\\x1b[31mblue" in result.stdout
    assert "\x1b" not in result.output


def test_arguments_of_the_factory(run, model):
    assert run("layers", model, "--arg", "kind=Nan", "--arg", "width=7").exit_code == 0
    text = run("layers", model, "--arg", "widht=7").stderr
    assert "FS-OPTION" in text and "'width'" in text


def test_preprocess_options(run, folder, photos, tmp_path):
    given = ("--images", photos, "--out", tmp_path, "--method", "saliency")
    scaled = ("--preprocess", "signed", "--size", "12,18")
    assert run("explain", f"{folder}/net.py:bare", *given, *scaled).exit_code == 0
    assert fs.open_result(tmp_path / "saliency.fluo").size == (12, 18)
    assert run("explain", f"{folder}/net.py:bare", *given, "--mean", "0.5", "--std", "0.5", "--size", 10).exit_code == 0
    assert fs.open_result(tmp_path / "saliency.fluo").size == (10, 10)


def test_classes_from_a_file(run, folder, photos, tmp_path):
    (tmp_path / "names.txt").write_text("eins\nzwei\ndrei\n", encoding="utf-8-sig")
    given = (
        "--images",
        photos,
        "--out",
        tmp_path,
        "--preprocess",
        "unit",
        "--size",
        16,
        "--classes",
        tmp_path / "names.txt",
    )
    answer = as_json(run("explain", f"{folder}/net.py:bare", *given, "--target", "zwei", "--json"))
    assert {c["label"] for c in answer["inputs"][0]["classes"]} == {"eins", "zwei", "drei"}
    assert answer["methods"]["grad-cam"]["targets"] == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_dtype(run, model, photos, tmp_path, dtype):
    given = ("--images", photos, "--out", tmp_path, "--dtype", dtype, "--batch-size", 1, "--seed", 3)
    assert run("explain", model, *given).exit_code == 0
    meta = fs.open_result(tmp_path / "saliency.fluo").meta
    assert meta["dtype"] == dtype and meta["seed"] == 3 and meta["options"]["batch_size"] == 1


def test_quiet(run, model):
    assert run("layers", model, "-q").stderr == ""


def test_a_trained_network(run, assets, tmp_path):
    given = ("--arg", "name=mobilenet_v2_imagenet", "--images", assets / "photos" / "cat_720p.jpg", "--out", tmp_path)
    result = run("explain", f"{assets / 'models.py'}:load", *given)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"cat_720p\.jpg\n +[\d.]+ +Egyptian cat", result.stdout)


READER = """
import torch
from torch import nn
import fluoroscope as fs

WORDS = {"a": 1, "fine": 2, "film": 3}

class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 2)
        nn.init.constant_(self.embed.weight, 0.0)
        self.embed.weight.data[2, 1] = 5.0
    def forward(self, x):
        return self.embed(x).sum(1)

def net():
    return fs.Subject(Reader(), tokenizer=lambda text: [WORDS[w] for w in text.split()], classes=["bad", "good"])
"""


def test_texts_on_the_command_line(run, folder, tmp_path):
    (folder / "reader.py").write_text(READER)
    spec = f"{folder}/reader.py:net"
    answer = as_json(
        run("explain", spec, "--text", "a fine film", "--method", "feature-ablation", "--out", tmp_path, "--json")
    )
    assert answer["inputs"][0]["name"] == "a fine film"
    assert answer["methods"]["feature-ablation"]["labels"] == [["good"]]
    np.testing.assert_allclose(fs.open_result(tmp_path / "feature-ablation.fluo").values, [[0, 5, 0]])
    both = run("explain", spec, "--text", "a", "--images", folder, "--out", tmp_path)
    assert both.exit_code != 0
    assert "--images and --text" in both.stderr


def test_texts_need_a_tokenizer(run, model, tmp_path):
    result = run("explain", model, "--text", "a fine film", "--out", tmp_path)
    assert result.exit_code != 0
    assert "tokenizer" in result.stderr

"""Loading networks by name: from code, from model libraries, from files."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fluoroscope.errors import InputError, MissingExtra, ModelError, NotApplicable, OptionError
from fluoroscope.model.preprocess import ImagePreprocess
from fluoroscope.model.spec import load
from fluoroscope.model.subject import Subject

HEAD = """
import torch
from torch import nn
from fluoroscope.model.preprocess import preset
from fluoroscope.model.subject import Subject
"""
Write = Callable[..., str]

NO_FILES = b"PK\x05\x06" + bytes(18)
"""A zip archive without files."""


def usable(name: str) -> Any:
    """An optional library, or a skip that says why not."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 (a library that does not fit this torch fails in its own way)
        pytest.skip(f"{name} can't be imported: {type(error).__name__}: {error}")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(text, name)`` puts a Python file down and returns its path."""

    def put(text: str, name: str = "nets.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + textwrap.dedent(text))
        return str(path)

    return put


def test_answers_of_a_factory(write: Write) -> None:
    file = write(
        """
        def bare(width=3): return nn.Linear(2, width)
        def pair(): return nn.Linear(2, 2), preset("cifar10")
        def triple(): return nn.Linear(2, 2), None, ["cat", "dog"]
        def mapped(): return nn.Linear(2, 3), None, {0: "cat", 2: "dog"}
        def subject(): return Subject(nn.Linear(2, 2), classes=("a", "b"), name="mine")
        class Net(nn.Linear):
            def __init__(self, n=5): super().__init__(n, n)
        ready = nn.Linear(7, 7)
        """
    )
    assert load(f"{file}:bare").module.out_features == 3
    assert load(f"{file}:bare", width=9).module.out_features == 9
    assert load(f"{file}:bare", width=9).name == "bare(width=9)"
    pair = load(f"{file}:pair")
    assert isinstance(pair.preprocess, ImagePreprocess) and pair.invert == pair.preprocess.invert
    assert pair.input_shape == (3, 32, 32)
    assert load(f"{file}:triple").classes == ("cat", "dog")
    assert load(f"{file}:mapped").classes == ("cat", "1", "dog")
    assert load(f"{file}:subject").name == "mine" and load(f"{file}:subject").classes == ("a", "b")
    assert load(f"{file}:Net", n=4).module.in_features == 4
    assert load(f"{file}:ready").module.in_features == 7
    with pytest.raises(OptionError, match="takes no arguments"):
        load(f"{file}:ready", n=1)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        ("None", "NoneType"),
        ("'text'", "str"),
        ("(None, 1)", "(NoneType, int)"),
        ("(nn.ReLU(), None, None, None)", "(ReLU, NoneType, NoneType, NoneType)"),
        ("(nn.ReLU(), 3)", "int"),
        ("(nn.ReLU(), None, 'cat')", "str"),
        ("(nn.ReLU(), None, {'cat': 0})", "('cat', 0)"),
        ("[nn.ReLU()]", "list"),
    ],
)
def test_other_answers_are_refused(write: Write, answer: str, got: str) -> None:
    file = write(f"def build(): return {answer}")
    with pytest.raises(ModelError) as caught:
        load(f"{file}:build")
    assert caught.value.parts()["got"] == got


def test_wrong_arguments_list_the_signature(write: Write) -> None:
    file = write("def build(depth, width=3): return nn.Linear(depth, width)")
    with pytest.raises(OptionError, match=r"build\(depth, width=3\)") as caught:
        load(f"{file}:build", depth=1, widht=2)
    assert "nearest:  'width'" in str(caught.value)
    with pytest.raises(OptionError, match="depth"):
        load(f"{file}:build")


def test_a_type_error_deep_inside_keeps_its_traceback(write: Write) -> None:
    file = write("""
    def inner(): return 1 + "a"
    def build(): return inner()
    """)
    with pytest.raises(ModelError, match="factory build raised") as caught:
        load(f"{file}:build")
    cause = caught.value.__cause__
    assert isinstance(cause, TypeError) and cause.__traceback__ is not None
    frame, names = cause.__traceback__, []
    while frame:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next  # type: ignore[assignment]
    assert names[-1] == "inner"


def test_failures_while_importing(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"importing .* failed\n.*ZeroDivisionError"):
        load(write("1 / 0", "a.py") + ":f")
    with pytest.raises(ModelError, match="SyntaxError"):
        load(write("def (", "b.py") + ":f")
    with pytest.raises(ModelError, match="__main__"):
        load(write("raise SystemExit(2)", "c.py") + ":f")
    with pytest.raises(ModelError, match=r"pkg\.module:factory"):
        load(write("from . import x", "d.py") + ":f")
    with pytest.raises(ModelError, match=r"nearest: +'build'"):
        load(write("def build(): return nn.ReLU()", "e.py") + ":biuld")
    with pytest.raises(InputError, match=r"nearest: +'e\.py'"):
        load(str(tmp_path / "ee.py") + ":build")
    with pytest.raises(ModelError, match="build"):
        load(write("def build(): pass", "f.py"))
    assert not [
        m
        for m in sys.modules
        if m.startswith("_fluoroscope") and getattr(sys.modules[m], "__file__", "").endswith("a.py")
    ]


def test_files_in_two_folders_keep_their_own_neighbours(write: Write, tmp_path: Path) -> None:
    for folder, width in (("one", 1), ("two", 2)):
        write(f"WIDTH = {width}", f"{folder}/layers_beside.py")
        write(
            """
            import layers_beside
            def build():
                import layers_late
                return nn.Linear(layers_beside.WIDTH, layers_late.WIDTH)
            """,
            f"{folder}/net.py",
        )
        write(f"WIDTH = {width * 10}", f"{folder}/layers_late.py")
    path = list(sys.path)
    for folder, width in (("one", 1), ("two", 2), ("one", 1)):
        module = load(f"{tmp_path}/{folder}/net.py:build").module
        assert (module.in_features, module.out_features) == (width, width * 10)
    assert sys.path == path


def test_modules_of_the_program_stay(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = types.ModuleType("my_shared_name")
    monkeypatch.setitem(sys.modules, "my_shared_name", program)
    write("WIDTH = 6", "my_shared_name.py")
    file = write("import my_shared_name\ndef build(): return nn.Linear(1, my_shared_name.WIDTH)")
    assert load(f"{file}:build").module.out_features == 6
    assert sys.modules["my_shared_name"] is program


def test_a_file_that_hides_an_installed_package_does_not_stay(write: Write) -> None:
    write("here = True", "sklearn/__init__.py")
    file = write("import sklearn\ndef build(): return nn.Linear(1, 1) if sklearn.here else None")
    before = sys.modules.get("sklearn")
    load(f"{file}:build")
    assert sys.modules.get("sklearn") is before


def test_classes_of_a_file_know_their_module(write: Write) -> None:
    file = write("""
    import dataclasses
    from typing import ClassVar
    @dataclasses.dataclass
    class Options:
        kind: "ClassVar[str]" = "x"
        width: "int" = 4
    class Net(nn.Module):
        def __init__(self): super().__init__(); self.fc = nn.Linear(Options().width, 2)
        def forward(self, x): return self.fc(x)
    """)
    net = load(f"{file}:Net").module
    assert sys.modules[type(net).__module__].Net is type(net)
    assert torch.export.export(net, (torch.ones(1, 4),)).module()(torch.ones(1, 4)).shape == (1, 2)


def test_an_edited_file_is_read_again(write: Write) -> None:
    file = write("def build(): return nn.Linear(1, 1)")
    assert load(f"{file}:build").module.out_features == 1
    write("def build(): return nn.Linear(1, 22)")
    assert load(f"{file}:build").module.out_features == 22


def test_package_in_the_current_folder(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("def build(): return nn.Linear(1, 8)", "pkg_of_test/models.py")
    write("", "pkg_of_test/__init__.py")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load("pkg_of_test.models:build").module.out_features == 8
    assert sys.path == path
    with pytest.raises(ModelError, match=r"nearest: +'models'"):
        load("pkg_of_test.model:build")
    assert load("torch.nn:ReLU").module.__class__ is nn.ReLU
    for name in [m for m in sys.modules if m.startswith("pkg_of_test")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet18", "does not say which network"),
        ("", "does not say which network"),
        ("timm:", "names no network"),
        ("weights.pt", "--weights weights.pt"),
        ("weights.safetensors", "--weights weights.safetensors"),
        ("no_such_module_here:f", "no module 'no_such_module_here'"),
        ("a b:f", "not the name of a module"),
    ],
)
def test_specs_that_name_nothing(spec: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load(spec)


def test_a_network_in_hand_is_not_a_spec() -> None:
    with pytest.raises(ModelError, match=r"Subject\(model\)"):
        load(nn.ReLU())  # type: ignore[arg-type]


def test_weights_go_in_whole_or_not_at_all(write: Write, tmp_path: Path) -> None:
    file = write("def build(): return nn.Linear(2, 2)")
    torch.save({"state_dict": {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}}, tmp_path / "w.pt")
    subject = load(f"{file}:build", weights=tmp_path / "w.pt")
    assert subject.module.weight.tolist() == [[1, 1], [1, 1]] and "'state_dict'" in subject.notes[0]
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "part.pt")
    with pytest.raises(ModelError, match="1 missing"):
        load(f"{file}:build", weights=tmp_path / "part.pt")
    assert any("'bias'" in n for n in load(f"{file}:build", tmp_path / "part.pt", strict=False).notes)


def test_exported_programs_need_trust(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.ones(1, 3),)), path)
    with pytest.raises(ModelError, match="trust=True"):
        load(str(path))
    subject = load(str(path), trust=True)
    assert torch.allclose(subject(torch.ones(1, 3)), net(torch.ones(1, 3)))
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"not a program of torch\.export"):
        load(str(path), trust=True)


def test_untrusted_programs_are_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pt2").write_bytes(NO_FILES)
    monkeypatch.setattr(torch.export, "load", lambda *a, **k: pytest.fail("opened"))
    with pytest.raises(ModelError, match="was not opened"):
        load(str(tmp_path / "net.pt2"))


def test_onnx_says_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(NotApplicable, match="structure and weights only"):
        load(str(tmp_path / "net.onnx"))
    with pytest.raises(InputError, match="nearest"):
        load(str(tmp_path / "nett.onnx"))


@pytest.mark.parametrize(
    ("spec", "package", "remedy"),
    [
        ("timm:resnet18", "timm", r"fluoroscope\[timm\]"),
        ("hf:some/name", "transformers", r"fluoroscope\[hf\]"),
        ("torchvision:resnet18", "torchvision", "pip install torchvision"),
        ("keras:net.keras", "keras", r"fluoroscope\[keras\]"),
    ],
)
def test_missing_packages_name_the_extra(
    spec: str, package: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    for name in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.keras").write_bytes(NO_FILES)
    with pytest.raises(MissingExtra, match=remedy):
        load(spec)


def test_keras_on_another_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.keras").write_bytes(NO_FILES)
    keras = types.ModuleType("keras")
    keras.config = types.SimpleNamespace(backend=lambda: "jax")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", keras)
    with pytest.raises(ModelError, match=r"(?s)'jax'.*KERAS_BACKEND=torch"):
        load(f"keras:{tmp_path}/net.keras")
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(ModelError, match="'tensorflow'"):
        load(f"keras:{tmp_path}/net.keras")


class Transform(types.SimpleNamespace):
    """What timm and torchvision make of a picture: something to be called, with settings."""

    def __call__(self, image: Any) -> torch.Tensor:
        raise AssertionError("no picture is prepared here")


def fake_timm(calls: list[dict[str, Any]]) -> tuple[types.ModuleType, types.ModuleType]:
    timm, data = types.ModuleType("timm"), types.ModuleType("timm.data")

    def create_model(name: str, **arguments: Any) -> nn.Module:
        calls.append({"name": name, **arguments})
        if arguments["pretrained"] and name == "net_b":
            raise OSError("no route to host")
        model = nn.Linear(2, arguments.get("num_classes", 2))
        model.num_classes = model.out_features  # type: ignore[assignment]
        return model.train()

    timm.is_model = lambda name: name in ("net_a", "net_b")  # type: ignore[attr-defined]
    timm.list_models = lambda: ["net_a", "net_b"]  # type: ignore[attr-defined]
    timm.create_model = create_model  # type: ignore[attr-defined]
    config = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "input_size": (3, 64, 48)}
    data.resolve_model_data_config = lambda model: config  # type: ignore[attr-defined]
    data.create_transform = lambda is_training, **config: Transform(**config)  # type: ignore[attr-defined]
    data.infer_imagenet_subset = lambda model: "tiny"  # type: ignore[attr-defined]
    names = types.SimpleNamespace(num_classes=lambda: 2, index_to_description=lambda i: ["hen", "owl"][i])
    data.ImageNetInfo = lambda subset: names  # type: ignore[attr-defined]
    return timm, data


def test_timm_by_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    timm, data = fake_timm(calls)
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    subject = load("timm:net_a")
    assert calls == [{"name": "net_a", "pretrained": False}]
    assert subject.classes == ("hen", "owl") and subject.input_shape == (3, 64, 48)
    assert subject.preprocess == Transform(mean=(0.5,) * 3, std=(0.25,) * 3, input_size=(3, 64, 48))
    assert "random weights" in subject.notes[0] and not subject.module.training
    assert subject.invert is not None and subject.invert(torch.zeros(1, 3, 1, 1))[0, 0, 0].tolist() == [128] * 3
    assert load("timm:net_a", pretrained=True).notes == ()
    assert load("timm:net_a", num_classes=7).classes is None
    with pytest.raises(ModelError, match=r"nearest: +'net_a'"):
        load("timm:nett_a")
    with pytest.raises(ModelError, match=r"(?s)no route to host.*connection"):
        load("timm:net_b", pretrained=True)


def test_torchvision_by_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    import enum

    class Weights(enum.Enum):
        V1 = 1
        V2 = 2
        DEFAULT = V2

        def transforms(self) -> Any:
            return Transform(mean=[0.5] * 3, std=[0.5] * 3, crop_size=[32])

        @property
        def meta(self) -> dict[str, Any]:
            return {"categories": ["hen", "owl"]}

    given: list[Any] = []

    def get_model(name: str, weights: Any, **arguments: Any) -> nn.Module:
        given.append(weights)
        return nn.Linear(2, arguments.get("num_classes", 2))

    models = types.ModuleType("torchvision.models")
    models.list_models = lambda: ["net"]  # type: ignore[attr-defined]
    models.get_model_weights = lambda name: Weights  # type: ignore[attr-defined]
    models.get_model = get_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    subject = load("torchvision:net")
    assert subject.classes == ("hen", "owl") and subject.input_shape == (3, 32, 32) and "random" in subject.notes[0]
    assert subject.invert is not None
    load("torchvision:net", pretrained=True)
    load("torchvision:net", pretrained="V1")
    assert given == [None, Weights.V2, Weights.V1]
    assert load("torchvision:net", num_classes=5).classes is None
    with pytest.raises(ModelError, match="V1, V2"):
        load("torchvision:net", pretrained="V3")
    with pytest.raises(ModelError, match="no network 'nat'"):
        load("torchvision:nat")


def test_timm_itself() -> None:
    usable("timm")
    subject = load("timm:resnet18")
    assert subject.classes is not None and len(subject.classes) == 1000 and subject.input_shape == (3, 224, 224)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small vision transformer with names of classes and an image processor, as transformers saves it."""
    transformers = usable("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    labels = {0: "cat", 1: "dog", 2: "hen"}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=3, id2label=labels)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    scaling = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "do_normalize": True, "do_rescale": True}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(processor | scaling))
    return tmp_path / "vit"


def test_checkpoint_of_transformers(checkpoint: Path) -> None:
    from PIL import Image

    from fluoroscope.model.images import to_batch

    subject = load(f"hf:{checkpoint}")
    assert type(subject.module).__name__ == "ViTForImageClassification" and subject.classes == ("cat", "dog", "hen")
    white = to_batch([Image.new("RGB", (50, 40), "white")], subject.preprocess)
    assert white.shape == (1, 3, 32, 32) and torch.allclose(white, torch.tensor(2.0))
    assert subject.invert is not None and subject.invert(white).min() == 255
    random = load(f"hf:{checkpoint}", pretrained=False)
    assert "random weights" in random.notes[0]
    wanted, bare = subject.module.state_dict(), random.module.state_dict()
    assert any(not torch.equal(bare[k], v) for k, v in wanted.items())
    again = load(f"hf:{checkpoint}", weights=checkpoint / "model.safetensors").module.state_dict()
    assert all(torch.equal(again[k], v) for k, v in wanted.items())


def test_folders_that_are_no_checkpoints(tmp_path: Path) -> None:
    usable("transformers")
    with pytest.raises(InputError, match="no folder"):
        load(f"hf:{tmp_path}/nothing")
    with pytest.raises(InputError, match=r"without config\.json"):
        load(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json can't be read"):
        load(f"hf:{tmp_path}")


KERAS = """
import sys
from fluoroscope.model.spec import load
import torch
subject = load("keras:" + sys.argv[1])
assert isinstance(subject.module, torch.nn.Module)
print(subject.input_shape, tuple(subject(torch.zeros(1, *subject.input_shape)).shape))
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnet8_cifar10.keras2.h5", "(32, 32, 3) (1, 10)"), ("mobilenet_vww.keras2.h5", "(96, 96, 3) (1, 2)")],
)
def test_files_of_keras_2(assets: Path, name: str, said: str) -> None:
    """In a process of its own: Keras can't change its backend once it is imported."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    command = [sys.executable, "-c", KERAS, str(assets / "models" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == said


def test_real_networks_by_file(assets: Path) -> None:
    subject = load(f"{assets}/models.py:load", name="resnet20_cifar10")
    assert isinstance(subject, Subject) and subject.name == "load(name='resnet20_cifar10')"
    assert subject.classes is not None and subject.classes[3] == "cat" and subject.invert is not None
    with pytest.raises(ModelError, match="KeyError: 'resnet21'"):
        load(f"{assets}/models.py:load", name="resnet21")

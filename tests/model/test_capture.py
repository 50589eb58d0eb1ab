"""Replay, modes and the guard: the same numbers by doing less, and nothing left behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, LayerError, ModelError
from fluoroscope.model.capture import gradients, tape
from fluoroscope.model.guard import Guard
from fluoroscope.model.inputs import prepare_inputs
from fluoroscope.model.modes import RELU, FunctionTap, OperationTap
from fluoroscope.model.replay import Replay
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject
from tests.contract.networks import Functional, Plain, differences, images, network, snapshot


class Branched(nn.Module):
    """A residual network with a shared in-place ReLU and lines of its own between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(i, 4, 3, padding=1) for i in (3, 4, 4))
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.relu(self.a(x))
        second = self.relu(self.b(first) + 0.1)
        third = self.relu(self.c(second) + first * 2)
        return self.fc(third.mean((2, 3)))


@pytest.mark.parametrize("layer", ["a", "b", "c", "relu@0", "relu@1", "relu"])
@pytest.mark.parametrize("times", [1, 3])
def test_replay_equals_a_whole_run(layer: str, times: int) -> None:
    """A changed layer output gives the same scores by replay as by a hook in a whole run."""
    torch.manual_seed(0)
    model, x = Branched().eval(), images(2)
    before = snapshot(model)
    subject = Subject(model)
    with Study(subject) as study, torch.no_grad():
        name = study.layer(layer)
        replay = Replay(study, prepare_inputs(x, subject), name)
        new = replay.activation.repeat_interleave(times, 0) * torch.rand(2 * times, 4, 1, 1)
        kept = new.clone()
        _, scores = replay(new, times)
    assert torch.equal(new, kept)
    assert differences(before, snapshot(model)) == []
    calls = iter(range(9))
    wanted = name.call if name.call is not None else (2 if name.module == "relu" else 0)
    handle = model.get_submodule(name.module).register_forward_hook(
        lambda m, a, out: new.clone() if next(calls) == wanted else None
    )
    with torch.no_grad():
        expected = model(x.repeat_interleave(times, 0))
    handle.remove()
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


def test_replay_computes_the_tail_only() -> None:
    model, x = network(), images(2)
    subject = Subject(model)
    ran: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            usual = module._conv_forward if isinstance(module, nn.Conv2d) else None
            if usual is not None:
                module._conv_forward = lambda *a, u=usual, n=name: (ran.append(n), u(*a))[1]  # type: ignore[method-assign]
    with Study(subject) as study, torch.no_grad():
        replay = Replay(study, prepare_inputs(x, subject), study.layer("block"))
        ran.clear()
        replay(replay.activation)
        assert ran == []
        assert replay.skipped == 1  # the stem, as one
        replay = Replay(study, prepare_inputs(x, subject), study.layer("stem"))
        ran.clear()
        replay(replay.activation)
    assert ran == ["block.0"]


def test_replay_of_a_layer_that_does_not_run() -> None:
    subject = Subject(network(Functional))
    with Study(subject) as study, pytest.raises(LayerError, match="did not run"):
        Replay(study, prepare_inputs(images(1), subject), study.layer("stem"))


def test_several_layers_share_one_tape() -> None:
    torch.manual_seed(0)
    model, x = Branched().eval(), images(2)
    subject = Subject(model)
    with Study(subject) as study:
        inputs = prepare_inputs(x, subject)
        names = [study.layer(n) for n in ("b", "a")]
        taped = tape(study, inputs, names)
        both = gradients(study, taped, taped.scores[:, 0])
        assert study.forwards == 2
        for name in names:
            alone = tape(study, inputs, [name])
            torch.testing.assert_close(gradients(study, alone, alone.scores[:, 0])[name], both[name])


def test_function_mode_sees_functional_and_module_calls_alike() -> None:
    """Guided backpropagation by a mode: the same for nn.ReLU and F.relu, where module hooks would miss the second."""

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            return grad.clamp(min=0) * (x > 0)

    def guided(model: nn.Module) -> torch.Tensor:
        x = images(2).requires_grad_()
        with FunctionTap(dict.fromkeys(RELU, lambda f, args, kwargs: Guided.apply(args[0]))):
            score = model.eval()(x)[:, 1].sum()
        return torch.autograd.grad(score, x)[0]

    functional, modules = guided(network(Functional)), guided(network(Plain))
    torch.testing.assert_close(functional, modules)
    x = images(2).requires_grad_()
    plain = torch.autograd.grad(network(Functional).eval()(x)[:, 1].sum(), x)[0]
    assert not torch.allclose(functional, plain)


def test_dispatch_mode_sees_every_operation() -> None:
    seen: list[str] = []
    with OperationTap(lambda op, args, kwargs, out: seen.append(op._schema.name)), torch.no_grad():
        network(Functional).eval()(images(1))
    assert seen.count("aten::convolution") == 2
    assert any("relu" in name for name in seen)
    assert "aten::addmm" in seen


def test_the_guard_restores_parameters_flags_and_refuses_changes() -> None:
    class Changing(Plain):
        def forward(self, x: torch.Tensor) -> Any:
            with torch.no_grad():
                self.fc.bias.add_(1)
            return super().forward(x)

    with pytest.raises(ModelError, match="changes its own parameters"):
        fs.GradCAM()(network(Changing), images(1), target=0)


def test_the_guard_restores_running_statistics_in_training_mode() -> None:
    """Batch norm changes them without counting a change; a backward that is still to come must not notice either."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    pending = model(torch.randn(5, 3)).square().sum()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with Guard(model):
        model(torch.randn(5, 3))
        assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    pending.backward()


def test_the_guard_restores_replaced_and_deleted_attributes() -> None:
    model = network()
    model.cache = {"a": [1]}  # type: ignore[assignment]
    before = snapshot(model)
    with Guard(model):
        del model.calls
        model.extra = 3  # type: ignore[assignment]
        model.cache["b"] = 2  # type: ignore[index]
        model.stem = nn.Identity()  # type: ignore[assignment]
        model.fc.bias.requires_grad_(False)
        model.fc.register_forward_hook(lambda *_: None)
        model.seen = torch.ones(())
        model.fc.weight.grad = None
        torch.rand(3)
    assert differences(before, snapshot(model)) == []


class MovesStatistics(nn.BatchNorm2d):
    """Normalizes by the batch in every mode, which moves the statistics and counts no change of them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, var = self.running_mean, self.running_var
        return nn.functional.batch_norm(x, mean, var, self.weight, self.bias, True, 0.1, self.eps)


@pytest.mark.parametrize("write", ["batch norm", "data", "numpy"])
def test_the_guard_restores_buffers_whose_change_was_not_counted(write: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), MovesStatistics(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean: Any = model[1].running_mean
    count = mean._version
    with Guard(model):
        if write == "batch norm":
            model(images(2))
        elif write == "data":
            mean.data.add_(1)
        else:
            mean.numpy()[0] = 7
        assert mean._version == count
        assert not torch.equal(mean, before["1.running_mean"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("method", [fs.Saliency(), fs.GradCAM(layer="0"), fs.Occlusion(window=6, stride=6)])
def test_methods_leave_statistics_that_move_in_eval_mode(method: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), MovesStatistics(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    method(model, images(2), target=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_nothing_keeps_the_network_alive() -> None:
    model = network()
    fs.GradCAM()(model, images(1), target=0)
    fs.Activations(layer="block")(model, images(1))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_batches_shrink_when_memory_runs_out() -> None:
    class Small(Plain):
        def forward(self, x: torch.Tensor) -> Any:
            if len(x) > 2:
                raise torch.OutOfMemoryError("planted")
            return super().forward(x)

    found = fs.GradCAM(batch_size=5)(network(Small), images(5), target=0)
    expected = fs.GradCAM(layer="block")(network(), images(5), target=0)
    torch.testing.assert_close(torch.from_numpy(found.values), torch.from_numpy(expected.values), rtol=1e-5, atol=1e-8)
    assert any("memory ran out; batches were cut to 2" in n for n in found.notes)


def test_inputs_of_every_form() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.fc(x)
            return (y if scale is None else y * scale[:, None]), x

    model, x = Two(), torch.rand(3, 4)
    alone = fs.Saliency()(model, x, target=0).values
    scale = torch.tensor([1.0, 2.0, 3.0])
    for given in ((x, scale), {"x": x, "scale": scale}, [x.numpy(), scale.numpy()][0]):
        found = fs.Saliency(batch_size=2)(model, given, target=0).values
        factor = 1.0 if not isinstance(given, tuple | dict) else scale.numpy()[:, None]
        torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(alone * factor))
    with pytest.raises(InputError, match="no input"):
        fs.Saliency()(model, (), target=0)
    with pytest.raises(InputError, match="batch axis"):
        fs.GradCAM()(network(), images(1)[0])
    with pytest.raises(InputError, match="failed on this input"):
        fs.Saliency()(model, torch.rand(2, 5))


@pytest.mark.parametrize(
    ("shape", "told"), [((128,), "x[None]"), ((1, 128), "x[None]"), ((2, 3, 128), "takes 1 channel, the input has 3")]
)
def test_axes_and_channels_that_do_not_fit_are_told(shape: tuple[int, ...], told: str) -> None:
    layers = nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)
    with pytest.raises(InputError, match="failed on this input") as error:
        fs.Saliency()(nn.Sequential(*layers).eval(), torch.rand(shape), target=0)
    assert told in str(error.value)


def test_a_class_is_no_network() -> None:
    with pytest.raises(ModelError, match=r"Linear\(\.\.\.\)"):
        fs.Saliency()(nn.Linear, torch.rand(2, 3))  # type: ignore[arg-type]


class Pooled(nn.Module):
    """An encoder that gives its tokens and, beside them, what it made of them; the score rests on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.pool = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.block(x)
        return tokens, self.pool(tokens.mean(1)).tanh()


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.encoder, self.head = nn.Embedding(9, 4), Pooled(), nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(ids))[1])


def test_a_layer_whose_output_is_not_used_is_passed_over() -> None:
    """The encoder's tokens lead nowhere, though the encoder itself used them: the layer that is found is one inside."""
    torch.manual_seed(0)
    result = fs.GradCAM()(Reader(), torch.randint(0, 9, (2, 5)), target=1)
    assert result.meta["layer"] == "encoder.block"
    assert np.abs(result.values).max() > 0

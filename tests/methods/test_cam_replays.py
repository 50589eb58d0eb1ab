"""Class activation maps from running the network, or the rest of it, again: Ablation-CAM, Score-CAM, SS-CAM, IS-CAM."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import NotApplicable
from fluoroscope.methods.cam import ablation_cam, score_map
from tests.contract.networks import Plain, images, network
from tests.methods.test_cam_gradients import Curved, Tokens, curved


def ablated(model: Curved | Plain, row: torch.Tensor, target: int) -> np.ndarray:
    """The map of one example: every channel is set to zero by itself, and the tail run by hand."""
    with torch.no_grad():
        a = model.stem(row[None])
        tail = model.tail if isinstance(model, Curved) else lambda y: model.fc(model.block(y).mean((2, 3)))
        score = float(tail(a.clone())[0, target])
        total = torch.zeros(a.shape[2:], dtype=a.dtype)
        for k in range(a.shape[1]):
            without = a.clone()
            without[0, k] = 0
            total += (score - float(tail(without)[0, target])) * a[0, k]
    return total.clamp(min=0).numpy()


@pytest.mark.parametrize("target", [0, 3])
def test_ablation_equals_its_formula(target: int) -> None:
    for model in (curved(), network().double().eval()):
        x = images(2, (7, 9)).double()
        found = fs.AblationCAM(layer="stem")(model, x, target=target)
        expected = np.stack([ablated(model, row, target) for row in x])
        assert expected.max() > 1e-4
        np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-13)
        assert found.meta["exact"] is False
        assert found.meta["tail_forwards"] >= 2 * expected[0].ndim


def test_the_closed_form_equals_running_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network().double(), images(3).double()
    closed = fs.AblationCAM(layer="block")(model, x, target=[0, 1, 2])
    assert closed.meta["exact"] is True
    assert closed.meta["backwards"] == 3
    monkeypatch.setattr(fs.AblationCAM, "_closed_form", lambda *args: None)
    run = fs.AblationCAM(layer="block")(model, x, target=[0, 1, 2])
    assert run.meta["exact"] is False
    np.testing.assert_allclose(closed.values, run.values, rtol=1e-10, atol=1e-14)
    assert closed.values.max() > 0


def test_many_channels_in_one_run_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = curved(), images(2, (7, 9)).double()
    whole = fs.AblationCAM(layer="stem")(model, x, target=0)
    monkeypatch.setattr(ablation_cam, "CACHED", 1)
    one = fs.AblationCAM(layer="stem")(model, x, target=0)
    np.testing.assert_allclose(whole.values, one.values, rtol=1e-12, atol=1e-15)


class Masked(nn.Module):
    """Affine in the recorded operations, not in truth: a factor is found from the layer itself, without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x).mean((2, 3))
        return self.fc(y * (y > 0))


def test_a_tail_that_only_looks_affine_is_run() -> None:
    torch.manual_seed(0)
    model, x = Masked().eval(), images(2)
    found = fs.AblationCAM(layer="stem")(model, x, target=1)
    assert found.meta["exact"] is False
    with pytest.raises(NotApplicable, match="depends on the layer"):
        fs.CAM(layer="stem")(model, x, target=1)


def test_negative_scores_do_not_invert_the_map() -> None:
    """A bias that makes the score negative changes no fall."""
    model, x = network().eval(), images(2)
    before = fs.AblationCAM(layer="block")(model, x, target=1)
    with torch.no_grad():
        model.fc.bias[1] -= 100
    after = fs.AblationCAM(layer="block")(model, x, target=1)
    assert (after.scores < 0).all()
    assert before.values.max() > 0
    np.testing.assert_allclose(after.values, before.values, rtol=1e-3, atol=1e-4 * before.values.max())


def test_ablation_of_tokens_leaves_the_class_token() -> None:
    torch.manual_seed(0)
    model, x = Tokens().double().eval(), images(1, (16, 24)).double()
    found = fs.AblationCAM(layer="norm")(model, x, target=0)
    tokens: list[torch.Tensor] = []
    handle = model.norm.register_forward_hook(lambda m, args, out: tokens.append(out))
    with torch.no_grad():
        score = model(x)[0, 0]
        handle.remove()
        total = torch.zeros(24, dtype=torch.float64)
        for k in range(8):
            changed = tokens[0].clone()
            changed[:, 1:, k] = 0
            with_hook = model.norm.register_forward_hook(lambda m, args, out, new=changed: new)
            total += (score - model(x)[0, 0]) * tokens[0][0, 1:, k]
            with_hook.remove()
    np.testing.assert_allclose(found.values[0].ravel(), total.clamp(min=0).numpy(), rtol=1e-9, atol=1e-13)
    assert found.values.max() > 0


# ------------------------------------------------------------------------------------------------------------ Score-CAM


def weights_of(model: nn.Module, masked: list[torch.Tensor], target: int) -> np.ndarray:
    with torch.no_grad():
        scores = np.array([float(model(m)[0, target]) for m in masked])
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def masks_of(a: torch.Tensor, size: tuple[int, int]) -> list[torch.Tensor]:
    made = []
    for k in range(len(a)):
        span = a[k].max() - a[k].min()
        small = (a[k] - a[k].min()) / span if span > 0 else torch.zeros_like(a[k])
        made.append(F.interpolate(small[None, None], size, mode="bilinear", align_corners=False))
    return made


@pytest.mark.parametrize("kind", ["score", "is", "is by one", "is summed"])
def test_score_cam_equals_its_formula(kind: str) -> None:
    model, x = network().double().eval(), images(2, (9, 11)).double()
    with torch.no_grad():
        model.fc.weight.mul_(4)
        model.block[1].bias[0] = -100  # a dead channel: its mask is empty
    steps = {"is": [0.25, 0.5, 0.75, 1.0], "is summed": [0.25, 0.75, 1.5, 2.5]}.get(kind, [1.0])
    path = "summed" if kind == "is summed" else "straight"
    method = fs.ScoreCAM(layer="block", chunk=3)
    method = method if kind == "score" else fs.ISCAM(layer="block", steps=len(steps), path=path)
    found = method(model, x, target=2)
    for n, row in enumerate(x):
        with torch.no_grad():
            a = model.features(row[None])[0]
        assert not a[0].any()
        with torch.no_grad():
            every = [[float(model(row * m * s)[0, 2]) for s in steps] for m in masks_of(a, (9, 11))]
        scores = np.array(every).mean(1)
        weights = np.exp(scores) / np.exp(scores).sum()
        assert np.ptp(weights) > 1e-4
        expected = np.maximum(np.einsum("k,kxy->xy", weights, a.numpy()), 0)
        np.testing.assert_allclose(found.values[n], expected, rtol=1e-9, atol=1e-13)
    assert found.values.max() > 0


def test_ss_cam_without_noise_is_score_cam_and_with_noise_averages() -> None:
    model, x = network(), images(2)
    plain = fs.ScoreCAM()(model, x, target=1).values
    np.testing.assert_allclose(fs.SSCAM(samples=2, noise=0)(model, x, target=1).values, plain, rtol=1e-5)
    noisy = fs.SSCAM(samples=2, noise=1)(model, x, target=1).values
    assert not np.allclose(noisy, plain, rtol=1e-4)


def test_ss_cam_equals_its_formula() -> None:
    """The masks that the network was given are those of the formula plus noise; the rest is made here."""
    model, x = network().double().eval(), images(1, (9, 11)).double()
    seen: list[torch.Tensor] = []
    handle = model.register_forward_pre_hook(lambda m, args: seen.append(args[0].clone()))
    found = fs.SSCAM(layer="block", samples=3, noise=0.5, chunk=8)(model, x, target=2)
    handle.remove()
    noisy = torch.cat([s for s in seen if len(s) == 8])
    with torch.no_grad():
        a = model.features(x)[0]
        scores = model(noisy)[:, 2].view(3, 8).mean(0).numpy()
    noise = noisy.view(3, 8, 3, 9, 11) / x - torch.cat(masks_of(a, (9, 11)))
    assert 0.4 < float(noise[:, :, 0].std()) < 0.6
    assert abs(float(noise.mean())) < 0.1
    weights = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(found.values[0], np.maximum(np.einsum("k,kxy->xy", weights, a.numpy()), 0), rtol=1e-8)


def test_empty_masks_are_run_once() -> None:
    model, x = network().eval(), images(1)
    with torch.no_grad():
        model.block[1].weight.zero_()
        model.block[1].bias.copy_(torch.arange(8) - 3.5)  # every map is the same everywhere
    found = fs.ScoreCAM(layer="block")(model, x, target=0)
    again = fs.ScoreCAM(layer="block")(model, x, target=0)
    assert again.meta["forwards"] == 2
    np.testing.assert_allclose(found.values, np.full_like(found.values, (0.5 + 1.5 + 2.5 + 3.5) / 8), rtol=1e-5)


def test_predicted_stays_the_class_of_the_whole_input() -> None:
    """The empty input is predicted otherwise; the masked scores must still be those of the example's own class."""
    model, x = network(), images(3)
    predicted = fs.ScoreCAM()(model, x)
    named = fs.ScoreCAM()(model, x, target=predicted.targets)
    np.testing.assert_array_equal(predicted.values, named.values)


def test_inputs_that_can_not_be_masked_are_refused() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.conv, self.fc = nn.Embedding(9, 4), nn.Conv1d(4, 4, 3), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(self.table(x).transpose(1, 2)).relu().mean(2))

    with pytest.raises(NotApplicable, match="laid over the input"):
        fs.ScoreCAM(layer="conv")(Words(), torch.randint(9, (2, 12)), target=0)


def test_many_masks_run_a_verified_faster_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(), images(2)
    plain = fs.ScoreCAM(layer="block")(model, x, target=1)
    assert "runs_as" not in plain.meta
    monkeypatch.setattr(score_map, "WORTH_A_COPY", 1)
    fast = fs.ScoreCAM(layer="block")(model, x, target=1)
    assert fast.meta["runs_as"] == "program"
    np.testing.assert_allclose(fast.values, plain.values, rtol=1e-4)


class Twice(nn.Module):
    """The same layers for two pictures, which are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head((self.stem(one).tanh() - self.stem(other).tanh()).mean((2, 3)) ** 2)
        return found


@pytest.mark.parametrize("method", [fs.GradCAM, fs.AblationCAM, fs.ScoreCAM, fs.ISCAM, fs.ShapleyCAM])
def test_which_call_of_a_layer_is_meant_is_told(method: type[fs.Method]) -> None:
    model, pair = Twice().double(), (images(2).double(), images(2).flip(0).double())
    last, named = (method(layer=layer)(model, pair, target=1) for layer in ("stem", "stem@1"))  # type: ignore[call-arg]
    assert any("ran 2 times; its last call is used" in note for note in last.notes)
    assert not any("ran 2 times" in note for note in named.notes)
    np.testing.assert_array_equal(last.values, named.values)

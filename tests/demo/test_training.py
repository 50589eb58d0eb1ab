"""The demo's network and training loop: it learns, repeats, and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fluoroscope.demo.life_cycle import Size, _train
from fluoroscope.demo.network import SceneNet, make_network
from fluoroscope.demo.recording import Watched
from fluoroscope.demo.scenes import Scenes, make_scenes
from fluoroscope.demo.training import TrainingRun, accuracy, as_history, gradient_norms, steps_of, train
from fluoroscope.errors import OptionError
from fluoroscope.methods.progress import listening
from fluoroscope.results import open_result

STAGES = {"stem", "layer1", "layer2", "layer3", "fc"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are quickest on one thread, most of all where other tests run beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scenes(epoch: int) -> Scenes:
    return make_scenes(330, epoch, size=40)


def short(network: SceneNet, seed: int = 3, **options: object) -> TrainingRun:
    validation = make_scenes(60, 9, size=40, split="validation")
    return train(network, scenes, validation, epochs=3, batch_size=32, seed=seed, **options)  # type: ignore[arg-type]


def tiny(seed: int = 0) -> SceneNet:
    return make_network(seed, channels=(8, 12, 16))


@pytest.fixture(scope="module")
def trained() -> tuple[SceneNet, TrainingRun]:
    network = tiny()
    return network, short(network)


def test_a_short_training_learns_its_scenes_and_no_training_learns_nothing() -> None:
    few = make_scenes(64, 0, size=40)
    network = tiny()
    run = train(network, lambda epoch: few, few, epochs=20, batch_size=32, learning_rate=1e-2)
    assert run.loss[-2:].mean() < 0.6 * run.loss[:2].mean()
    assert run.validation_accuracy[-1] > 0.6
    assert accuracy(network, few) == run.validation_accuracy[-1]
    assert accuracy(tiny(), few) < 0.3


def test_epochs_steps_and_rates_are_counted_rightly(trained: tuple[SceneNet, TrainingRun]) -> None:
    run = trained[1]
    assert run.epoch_steps.tolist() == [10, 20, 30]  # 330 scenes are 10 batches of 32, the rest is left out
    assert run.examples == 960
    assert len(run.loss) == len(run.learning_rate) == len(run.batch_accuracy) == 30
    assert run.train_accuracy == pytest.approx(run.batch_accuracy.reshape(3, 10).mean(1))
    assert run.learning_rate.argmax() == 5  # one cycle: up for a fifth of the 30 steps, then down
    assert run.learning_rate[-1] < run.learning_rate[0] < run.learning_rate[5]


def test_gradient_norms_are_those_of_the_gradients_of_each_stage() -> None:
    network = tiny()
    network(torch.rand(4, 1, 40, 40)).square().sum().backward()
    norms = gradient_norms(network)
    assert set(norms) == {"total"} | STAGES
    whole = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    assert norms["total"] == pytest.approx(float(whole.norm()), rel=1e-4)
    layer = torch.cat([p.grad.flatten() for p in network.layer2.parameters() if p.grad is not None])
    assert norms["layer2"] == pytest.approx(float(layer.norm()), rel=1e-4)


def test_the_total_gradient_is_the_root_of_the_stages_squares(trained: tuple[SceneNet, TrainingRun]) -> None:
    norms = trained[1].gradient_norms
    stages = np.sqrt(sum(norms[s] ** 2 for s in STAGES))
    assert norms["total"] == pytest.approx(stages, rel=1e-4)


def test_a_seed_repeats_to_the_bit_and_another_does_not(trained: tuple[SceneNet, TrainingRun]) -> None:
    again, other = tiny(), tiny()
    assert np.array_equal(short(again).loss, trained[1].loss)
    first = trained[0].state_dict()
    assert all(torch.equal(value, first[name]) for name, value in again.state_dict().items())
    assert not np.array_equal(short(other, seed=4).loss, trained[1].loss)


def test_the_callers_state_is_as_before() -> None:
    torch.manual_seed(11)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    network = tiny()
    with torch.no_grad():
        short(network)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not network.training
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert all(p.is_contiguous() for p in network.parameters())


def test_the_random_state_is_as_before_after_an_interruption_too() -> None:
    def stop(step: int, total: int, loss: float, right: float) -> None:
        raise KeyboardInterrupt

    torch.manual_seed(11)
    state, network = torch.get_rng_state(), tiny()
    with pytest.raises(KeyboardInterrupt):
        short(network, progress=stop)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training


def test_progress_is_told_every_step() -> None:
    seen: list[tuple[int, int, float, float]] = []
    run = short(tiny(), progress=lambda *told: seen.append(told))
    assert [s[0] for s in seen] == list(range(1, 31))
    assert {s[1] for s in seen} == {30}
    assert [s[2] for s in seen] == run.loss.tolist()
    assert [s[3] for s in seen] == run.batch_accuracy.tolist()


@pytest.mark.parametrize(("examples", "epochs", "batch", "steps"), [(5000, 8, 64, 624), (64, 2, 64, 2), (10, 3, 64, 3)])
def test_a_remainder_that_does_not_fill_a_batch_is_no_step(examples: int, epochs: int, batch: int, steps: int) -> None:
    assert steps_of(examples, epochs, batch) == steps


def test_the_demo_tells_as_many_steps_as_it_makes(tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    with listening(lambda *at: told.append(at)):
        size = Size(training=100, epochs=2)
        run = _train(tiny(), make_scenes(20, 9, split="validation"), size, 0, Watched(tmp_path, "training"))
    assert len(run.loss) == 2
    assert [(done, total) for _, done, total in told] == [(0, 2), (1, 2), (2, 2)]


def test_accuracy_is_the_share_of_right_answers_and_keeps_the_mode() -> None:
    some = make_scenes(40, 0)
    network = make_network().train()
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.arange(10) == 7)
    assert accuracy(network, some, batch_size=16) == pytest.approx(0.1)
    assert network.training


def test_history_has_every_series_in_its_group_and_survives_a_file(
    trained: tuple[SceneNet, TrainingRun], tmp_path: object
) -> None:
    run = trained[1]
    history = open_result(as_history(run).save(f"{tmp_path}/run"))
    groups = {s.group for s in history.series.values()}
    assert groups == {"loss", "accuracy", "gradient norm", "learning rate"}
    assert np.array_equal(history.series["loss"].values, run.loss)
    assert history.series["loss"].steps.tolist() == list(range(1, 31))
    assert history.series["validation accuracy"].steps.tolist() == [10, 20, 30]
    assert np.array_equal(history.series["validation accuracy"].values, run.validation_accuracy)
    assert {f"gradient norm, {s}" for s in STAGES | {"total"}} <= set(history.series)


@pytest.mark.parametrize(("epochs", "batch_size"), [(0, 32), (1, 1)])
def test_wrong_options_are_refused(epochs: int, batch_size: int) -> None:
    with pytest.raises(OptionError):
        train(tiny(), scenes, scenes(0), epochs=epochs, batch_size=batch_size)


def test_epochs_of_different_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="different sizes"):
        train(tiny(), lambda epoch: make_scenes(64 + epoch, 0, size=40), scenes(0), epochs=2, batch_size=32)


def test_the_network_is_the_one_that_is_promised() -> None:
    network = make_network()
    assert [name for name, _ in network.named_children()] == ["stem", "layer1", "layer2", "layer3", "pool", "fc"]
    assert 100_000 < sum(p.numel() for p in network.parameters()) < 250_000
    seen = []
    network.layer3.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    network(torch.zeros(2, 1, 64, 64))
    assert seen == [(2, 64, 16, 16)]


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(5)
    state, one = torch.get_rng_state(), make_network(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(one.fc.weight, make_network(1).fc.weight)
    assert not torch.equal(one.fc.weight, make_network(2).fc.weight)

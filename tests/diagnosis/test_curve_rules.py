"""Rules that look at curves, each on a run where it must speak and on ones where it must not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.diagnosis.made_runs import ask, asked, falling, history, noisy, tensors

S = 300
LN10 = math.log(10)
RATIO = np.full((1, S), 1e-3)


def moving(ratio: float) -> object:
    return tensors(("w.weight",), update_ratio=np.full((1, S), ratio))


def test_a_loss_that_jumps_and_never_comes_back() -> None:
    loss = noisy(np.full(S, 2.3), 0.02)
    loss[3:20] = 30.0
    (found,) = asked("learning-rate-high", history(loss=loss), moving(1e-3))
    assert found.advice[0] == "a learning rate of a third to a tenth"
    (far,) = asked("learning-rate-high", history(loss=loss), moving(4.0))
    assert far.advice[0].startswith("a learning rate 400 to 4,000 times lower")  # 4 / 0.01 and 4 / 0.001
    assert found.severity == "problem"
    assert found.numbers["highest over first loss"] == pytest.approx(30 / loss[:3].min(), rel=0.05)
    back = falling()
    back[3:20] = 30.0  # jumped, and then learned all the same
    assert not asked("learning-rate-high", history(loss=back), moving(1e-3))


def test_one_odd_batch_is_no_jump_of_the_learning_rate() -> None:
    loss = noisy(np.full(S, 2.3), 0.02)
    loss[30] = 300.0
    assert not asked("learning-rate-high", history(loss=loss), moving(1e-3))
    heavy = noisy(np.full(S, 0.1), 0.6)  # goes on with a trained network: noise of small losses
    heavy[0], heavy[30:33] = 0.08, 0.3
    assert not asked("learning-rate-high", history(loss=heavy), moving(1e-3))


def test_a_loss_that_ends_high_and_stays_there_after_steps_that_threw_the_weights() -> None:
    """A step that is too large and then saturation: the loss neither rises any more nor ever comes back."""
    loss = noisy(np.full(S, 80.0), 0.2)
    loss[:10] = 2.3
    loss[10:60] = np.geomspace(1.0, 80.0, 50)
    ratio = np.full((1, S), 1e-4)
    ratio[0, :20] = 0.3
    thrown = tensors(("w.weight",), update_ratio=ratio)
    (found,) = asked("learning-rate-high", history(loss=loss), thrown)
    assert (found.severity, found.layers) == ("problem", ())
    late = loss[S // 2 :].reshape(10, -1)
    assert found.numbers["lowest late over first loss"] == pytest.approx(np.median(late, 1).min() / 2.3, rel=0.1)
    assert found.numbers["early update over weight"] == pytest.approx(0.3)
    assert not asked("learning-rate-high", history(loss=loss), moving(1e-3))  # an objective that grows by design
    back = loss.copy()
    back[-60:] = 1.0
    assert not asked("learning-rate-high", history(loss=back), thrown)
    one = np.full((1, S), 1e-4)
    one[0, 5] = 0.3  # one odd step
    assert not asked("learning-rate-high", history(loss=loss), tensors(("w.weight",), update_ratio=one))


def test_weights_that_are_rewritten_without_gain() -> None:
    stuck = history(loss=noisy(np.full(S, 2.3), 0.02))
    assert [f.severity for f in asked("learning-rate-high", stuck, moving(0.1))] == ["problem"]
    assert not asked("learning-rate-high", stuck, moving(1e-3))
    assert not asked("learning-rate-high", history(loss=falling()), moving(0.1))


def test_a_loss_that_goes_up_and_down_in_turn() -> None:
    swing = falling(noise=0) * (1 + 0.1 * (-1.0) ** np.arange(S))
    assert [f.severity for f in asked("learning-rate-high", history(loss=swing), moving(1e-3))] == ["warning"]
    assert not asked("learning-rate-high", history(loss=falling(noise=0.1)), moving(1e-3))


def test_curvature_beyond_what_the_learning_rate_bears() -> None:
    rate, steps = np.full(S, 0.1), np.arange(10, S, 10)
    sharp = history(loss=falling(), learning_rate=rate, curvature=(steps, np.full(len(steps), 60.0)))
    (found,) = asked("learning-rate-high", sharp)
    assert found.reference == pytest.approx(20.0)
    edge = history(loss=falling(), learning_rate=rate, curvature=(steps, np.full(len(steps), 21.0)))
    assert not asked("learning-rate-high", edge)
    momentum = sharp.replace(meta={"config": {"momentum": 0.9}})
    assert asked("learning-rate-high", momentum)[0].reference == pytest.approx(38.0)


def test_recorded_curvature_is_held_against_the_recorded_limit() -> None:
    steps = np.arange(10, S, 10)
    level = np.ones(len(steps))
    rate = np.full(S, 0.001)
    recorded = {"curvature/largest": (steps, 60 * level), "curvature_residual/plain": (steps, 0.01 * level)}
    adam = {
        **recorded,
        "preconditioned_curvature/largest": (steps, 70000 * level),
        "preconditioned_curvature/limit": (steps, 38000 * level),
    }
    (found,) = asked("learning-rate-high", history(loss=falling(), learning_rate=rate, **adam))
    assert found.reference == pytest.approx(38000)
    adam["preconditioned_curvature/largest"] = (steps, 40000 * level)
    assert not asked("learning-rate-high", history(loss=falling(), learning_rate=rate, **adam))
    assert not asked("learning-rate-high", history(loss=falling(), learning_rate=np.full(S, 1.0), **recorded))
    limit = {"curvature/limit": (steps, 20 * level)}
    (found,) = asked("learning-rate-high", history(loss=falling(), learning_rate=rate, **recorded, **limit))
    assert found.reference == pytest.approx(20)


def test_a_learning_rate_that_is_too_low() -> None:
    slow = history(loss=noisy(np.linspace(2.3, 2.25, S), 0.01))
    (found,) = asked("learning-rate-low", slow, moving(1e-6))
    assert found.numbers["update over weight"] == pytest.approx(1e-6)
    assert not asked("learning-rate-low", slow, moving(1e-3))
    assert not asked("learning-rate-low", history(loss=falling()), moving(1e-6))


def test_a_loss_that_rises() -> None:
    (found,) = asked("diverging", history(loss=noisy(np.linspace(2.3, 9, S), 0.05)))
    assert found.numbers["last over first loss"] == pytest.approx(9 / 2.3, rel=0.15)
    assert not asked("diverging", history(loss=falling()))
    assert not asked("diverging", history(loss=noisy(np.full(S, 2.3), 0.3)))


def test_a_plateau_and_its_beginning() -> None:
    curve = np.where(np.arange(S) < 90, np.linspace(2.3, -1.7, S), 1.1)
    (found,) = asked("plateau", history(loss=noisy(curve, 0.02)))
    assert found.severity == "hint"
    assert 75 <= found.steps[0] <= 120
    assert not asked("plateau", history(loss=noisy(np.linspace(2.3, 0.5, S), 0.02)))
    assert not asked("plateau", history(loss=falling(end=0.001)))  # arrived
    assert [f.severity for f in asked("plateau", history(loss=noisy(np.full(S, 2.3), 0.02)))] == ["warning"]


def test_a_loss_that_stands_while_validation_falls_is_noise_and_no_plateau() -> None:
    loss, steps = noisy(np.full(S, 1.6), 0.2), np.arange(1, S + 1, 20)
    loss[0] = 1.4
    (alone,) = asked("plateau", history(loss=loss))
    assert alone.severity == "warning"
    assert not asked("plateau", history(loss=loss, val_loss=(steps, np.linspace(2.1, 1.7, len(steps)))))
    for flat in (np.full(len(steps), 2.1), 2.1 + 0.2 * np.sin(3.0 * steps), np.linspace(1.7, 2.1, len(steps))):
        assert asked("plateau", history(loss=loss, val_loss=(steps, flat)))


def test_a_plateau_is_a_warning_where_no_more_answers_are_right() -> None:
    loss = 0.09 + 0.13 * np.exp(-np.arange(S) / 8) + 1e-3 * np.random.default_rng(0).standard_normal(S)
    chance, learned = noisy(np.full(S, 0.1), 0.1), noisy(np.full(S, 0.6), 0.1)
    plateau = {name: history(loss=loss, accuracy=right) for name, right in (("chance", chance), ("learned", learned))}
    assert [f.severity for f in asked("plateau", plateau["chance"], classes=10)] == ["warning"]
    assert [f.severity for f in asked("plateau", plateau["learned"], classes=10)] == ["hint"]
    assert [f.severity for f in asked("plateau", plateau["chance"])] == [
        "hint"
    ]  # how many classes there are is unknown
    goes_on = history(loss=noisy(np.full(S, 0.1), 0.05), accuracy=np.full(S, 0.98))
    assert [f.severity for f in asked("plateau", goes_on, classes=10)] == ["hint"]


def overfit(rise: float, accuracy: object = None) -> object:
    steps = np.arange(10, S + 1, 10)
    val = np.concatenate([np.linspace(2.3, 1.0, 10), np.linspace(1.0, 1.0 + rise, 20)])
    curves = {"loss": falling(end=0.01), "val_loss": (steps, val + 0.005 * np.sin(7 * steps))}
    return history(**curves, **({} if accuracy is None else {"val_accuracy": (steps, accuracy)}))


def test_overfitting_and_the_step_to_stop_at() -> None:
    (found,) = asked("overfitting", overfit(1.0))
    assert found.severity == "problem"
    assert abs(found.numbers["best step"] - 100) <= 10
    assert found.numbers["lost"] == pytest.approx(1.0 / 1.3, rel=0.1)
    assert [f.severity for f in asked("overfitting", overfit(0.3))] == ["warning"]
    assert [f.severity for f in asked("overfitting", overfit(1.0, np.linspace(0.5, 0.9, 30)))] == ["warning"]
    assert not asked("overfitting", overfit(0.03))
    rising = history(loss=np.linspace(0.5, 3, S), val_loss=(np.arange(10, S + 1, 10), np.linspace(0.5, 3, 30)))
    assert not asked("overfitting", rising)  # training rises too: that is no overfitting


def test_spikes_of_the_loss() -> None:
    loss = falling(noise=0.03)
    loss[[150, 200, 250]] = 4.0
    (found,) = asked("loss-spikes", history(loss=loss))
    assert (found.severity, found.steps, found.numbers["spikes"]) == ("problem", (151, 251), 3)
    assert not asked("loss-spikes", history(loss=falling(noise=0.3)))
    hard = falling(end=1e-4, noise=0.1)
    hard[250] = 0.4  # one hard example: a thousand times the median, and little of what was gained
    assert not asked("loss-spikes", history(loss=hard))


def test_where_a_loss_begins_to_fall_and_to_scatter_is_no_spike() -> None:
    random = np.random.default_rng(3)
    begins = 1.1 - np.maximum(0, np.arange(S) - 60) / S + 0.01 * random.standard_normal(S)
    scatters = begins + np.where(np.arange(S) > 65, 0.15, 0.0) * random.standard_normal(S)
    scatters[75] = 1.45
    assert not asked("loss-spikes", history(loss=scatters))
    begins[75] = 1.45
    assert asked("loss-spikes", history(loss=begins))


def test_a_jump_is_told_once_it_is_known_that_the_loss_comes_back() -> None:
    loss = falling(noise=0.03)
    loss[150] = 4.0
    assert not asked("loss-spikes", history(loss=loss[:158]))
    assert asked("loss-spikes", history(loss=loss[:170]))


def test_a_jump_after_the_learning_rate_was_raised_is_no_spike() -> None:
    loss, rate = falling(noise=0.02), np.full(S, 1e-3)
    loss[150:153], rate[149:] = 4.0, 1e-1
    assert not asked("loss-spikes", history(loss=loss, learning_rate=rate))
    assert asked("loss-spikes", history(loss=loss, learning_rate=np.full(S, 1e-3)))


def test_the_first_loss_against_that_of_knowing_nothing() -> None:
    assert [f.severity for f in asked("initialization", history(loss=falling(40.0)), classes=10)] == ["problem"]
    assert [f.severity for f in asked("initialization", history(loss=falling(5.0)), classes=10)] == ["warning"]
    assert not asked("initialization", history(loss=falling(2.6)), classes=10)
    assert "initialization" in ask("initialization", history(loss=falling(40.0))).skipped  # classes not known


def epochs(pattern: object, period: int = 25, count: int = 12, noise: float = 0.05) -> object:
    curve = np.tile(pattern, count) * np.linspace(1, 0.5, period * count)
    return history(loss=noisy(curve, noise))


def test_data_sorted_by_class_and_data_in_a_fixed_order() -> None:
    ramp = 1.5 + np.sin(np.arange(25) * 2 * np.pi / 25)
    (found,) = asked("data-order", epochs(ramp), steps_per_epoch=25)
    assert found.severity == "problem"
    (unknown,) = asked("data-order", epochs(ramp))
    assert unknown.numbers["period"] == 25
    shuffled_once = np.exp(0.3 * np.random.default_rng(0).standard_normal(25))
    assert [f.severity for f in asked("data-order", epochs(shuffled_once), steps_per_epoch=25)] == ["hint"]
    assert not asked("data-order", epochs(np.ones(25), noise=0.3), steps_per_epoch=25)
    restarts = history(loss=epochs(ramp).series["loss"].values, learning_rate=np.tile(np.linspace(1, 0.01, 25), 12))
    assert "learning rate" in ask("data-order", restarts, steps_per_epoch=25).skipped["data-order"]


def test_a_loss_that_stays_at_chance() -> None:
    stuck = history(loss=noisy(np.full(S, LN10), 0.01))
    assert [f.severity for f in asked("chance-level", stuck, moving(1e-3), classes=10)] == ["problem"]
    assert [f.severity for f in asked("chance-level", stuck, moving(1e-8), classes=10)] == ["warning"]
    assert [f.severity for f in asked("chance-level", stuck, moving(1e-3))] == ["warning"]  # told from the level
    assert not asked("chance-level", stuck, moving(1e-3), classes=4)
    assert not asked("chance-level", history(loss=falling()), classes=10)


def test_a_loss_that_begins_to_leave_chance_has_not_stayed_there() -> None:
    leaving = LN10 - np.concatenate([np.zeros(S // 2), np.linspace(0, 0.06, S // 2)])
    found = ask("chance-level", history(loss=noisy(leaving, 0.005)), moving(1e-3), classes=10)
    assert found.skipped["chance-level"] == "the loss has begun to leave chance"


def test_validation_that_never_beats_chance() -> None:
    steps = np.arange(10, S + 1, 10)
    run = history(loss=falling(end=0.01), val_loss=(steps, np.linspace(LN10, 6, 30)))
    (found,) = asked("chance-level", run, classes=10)
    assert found.title == "Validation never beats chance"
    fine = history(loss=falling(end=0.01), val_loss=(steps, np.linspace(LN10, 0.5, 30)))
    assert not asked("chance-level", fine, classes=10)


def test_a_softmax_applied_twice_has_a_floor() -> None:
    floor = math.log(math.e + 9) - 1
    accuracy = np.linspace(0.1, 1.5, S).clip(0, 0.97)
    loss = floor + np.maximum(1 - accuracy, 0.005) * (LN10 - floor)
    loss[-80:] = floor + 0.03
    (found,) = asked("double-softmax", history(loss=loss, accuracy=accuracy), classes=10)
    assert found.reference == pytest.approx(floor)
    below = loss - 0.2
    assert not asked("double-softmax", history(loss=below, accuracy=accuracy), classes=10)
    assert not asked("double-softmax", history(loss=falling(end=1.5), accuracy=np.full(S, 0.4)), classes=10)


def test_validation_far_better_than_training() -> None:
    steps, loss = np.arange(15, S + 1, 15), falling(end=0.5)
    for share, severity in ((0.05, "problem"), (0.2, "warning"), (0.6, None), (1.1, None)):
        run = history(loss=loss, val_loss=(steps, share * loss[steps - 1]))
        assert [f.severity for f in asked("validation-leak", run)] == [severity] * (severity is not None)


def test_a_schedule_that_ended() -> None:
    for part, loss, severity in (
        (0.5, noisy(np.full(S, 2.0)), "problem"),
        (0.25, falling(), "warning"),
        (0.05, falling(), None),
    ):
        rate = np.full(S, 0.1)
        rate[int(S * (1 - part)) :] = 0.0
        found = asked("schedule-ended", history(loss=loss, learning_rate=rate))
        assert [f.severity for f in found] == [severity] * (severity is not None)
    cosine = 0.05 * (1 + np.cos(np.linspace(0, np.pi, S)))
    assert not asked("schedule-ended", history(loss=falling(), learning_rate=cosine))


def test_memory_that_grows() -> None:
    grows = history(loss=falling(), **{"memory/process": np.linspace(1e9, 4e9, S)})
    assert [f.severity for f in asked("memory-growth", grows)] == ["problem"]
    (found,) = asked("memory-growth", grows)
    assert found.numbers["per step"] == pytest.approx(3e9 / (S - 1), rel=0.05)
    slow = history(loss=falling(), **{"memory/process": np.linspace(1e9, 1.3e9, S)})
    assert [f.severity for f in asked("memory-growth", slow)] == ["warning"]
    rare = history(loss=falling(), **{"memory/process": (np.arange(1, S + 1, 20), np.linspace(1e9, 4e9, 15))})
    assert [f.severity for f in asked("memory-growth", rare)] == ["problem"]  # as fs.record looks at it


def test_memory_that_first_uses_up_what_was_freed_grows_all_the_same() -> None:
    late = 1e9 + 2e6 * np.maximum(0, np.arange(S) - 0.45 * S)
    (found,) = asked("memory-growth", history(loss=falling(), **{"memory/process": late}))
    assert found.severity == "warning"
    assert found.numbers["per step"] == pytest.approx(2e6, rel=0.25)
    once = np.where(np.arange(S) < 0.5 * S, 1e9, 1.5e9)  # one larger batch
    assert not asked("memory-growth", history(loss=falling(), **{"memory/process": once}))


def test_memory_that_fills_or_slows_down_is_no_leak() -> None:
    caches = np.minimum(np.linspace(1e9, 12e9, S), 2e9)  # fills and stays
    slows = 1e9 + 1e9 * (1 - np.exp(-np.arange(S) / 60))
    for memory in (caches, slows):
        assert not asked("memory-growth", history(loss=falling(), **{"memory/process": memory}))
    epoch = np.minimum(np.linspace(1e9, 4e9, S), 2.2e9)  # the first epoch fills a cache for 120 steps
    assert not asked("memory-growth", history(loss=falling(), **{"memory/process": epoch}), steps_per_epoch=120)
    peak = history(loss=falling(), **{"memory/accelerator_peak": np.linspace(1e9, 4e9, S)})
    assert "memory-growth" in ask("memory-growth", peak).skipped

"""Rules that look at tensors, each on a run where it must speak and on ones where it must not."""

from __future__ import annotations

import numpy as np
import pytest

from fluoroscope.training.diagnosis.evidence import Curve
from fluoroscope.training.diagnosis.lost_gain import never_won_back
from tests.diagnosis.made_runs import ask, asked, falling, history, noisy, tensors

LAYERS = tuple(f"{i}.weight" for i in range(8))
S = 200
FLAT = np.ones((8, S))


def test_gradients_that_fall_by_three_from_layer_to_layer_vanish() -> None:
    levels = 1e-1 * 0.2 ** np.arange(7, -1, -1)[:, None] * FLAT
    (found,) = asked("vanishing-gradients", history(loss=falling()), tensors(LAYERS, gradient_norm=noisy(levels)))
    assert found.severity == "problem"
    assert "0.weight" in found.layers and "7.weight" not in found.layers
    assert found.numbers["smallest over largest"] == pytest.approx(0.2**7, rel=0.3)


def test_gradients_that_are_small_everywhere_alike_do_not_vanish() -> None:
    assert not asked("vanishing-gradients", history(), tensors(LAYERS, gradient_norm=noisy(1e-9 * FLAT)))
    levels = 0.5 ** np.arange(7, -1, -1)[:, None] * FLAT
    assert not asked("vanishing-gradients", history(), tensors(LAYERS, gradient_norm=noisy(levels)))


def test_vanished_gradients_that_the_optimizer_rescales_are_a_hint() -> None:
    levels = 1e-1 * 0.2 ** np.arange(7, -1, -1)[:, None] * FLAT
    made = tensors(LAYERS, gradient_norm=noisy(levels), update_ratio=noisy(1e-3 * FLAT))
    assert [f.severity for f in asked("vanishing-gradients", history(), made)] == ["hint"]


def test_gradients_that_grow_on_their_way_back_do_not_vanish() -> None:
    levels = 1e-1 * 0.2 ** np.arange(8)[:, None] * FLAT
    assert not asked("vanishing-gradients", history(), tensors(LAYERS, gradient_norm=noisy(levels)))


def test_a_gradient_that_became_zero_has_vanished_and_one_that_always_was_has_not() -> None:
    levels = noisy(FLAT)
    levels[:4, 5:] = 0.0
    (found,) = asked("vanishing-gradients", history(), tensors(LAYERS, gradient_norm=levels))
    assert found.layers == LAYERS[:4]
    levels[:4] = 0.0  # cut off: another rule tells of it
    assert not asked("vanishing-gradients", history(), tensors(LAYERS, gradient_norm=levels))


def test_biases_with_tiny_gradients_are_no_vanishing() -> None:
    names = tuple(n for i in range(4) for n in (f"{i}.weight", f"{i}.bias"))
    levels = np.where(np.arange(8) % 2, 1e-9, 1.0)[:, None] * FLAT
    assert not asked("vanishing-gradients", history(), tensors(names, gradient_norm=noisy(levels)))


def test_gradients_that_grow_backwards() -> None:
    levels = 3.0 ** np.arange(8, 0, -1)[:, None] * FLAT
    (found,) = asked("gradients-grow-backwards", history(), tensors(LAYERS, gradient_norm=noisy(levels)))
    assert found.numbers["first over last third"] == pytest.approx(3.0**6, rel=0.3)
    turned = 1e4 * np.where(np.arange(8) == 3, 1e4, 1.0)[:, None] * FLAT  # one layer with a large gradient: no growth
    assert not asked("gradients-grow-backwards", history(), tensors(LAYERS, gradient_norm=noisy(turned)))
    assert not asked("gradients-grow-backwards", history(), tensors(LAYERS, gradient_norm=noisy(levels[::-1])))


def test_a_burst_of_the_gradient_that_costs_loss() -> None:
    norms, loss = noisy(np.ones((1, S))), falling(noise=0.02, steps=S)
    norms[0, 119], loss[120:125] = 500.0, 3.0
    (found,) = asked("exploding-gradients", history(loss=loss), tensors(("w.weight",), gradient_norm=norms))
    assert found.severity == "problem"
    assert found.steps == (120, 120)
    assert found.layers == ("w.weight",)
    assert found.numbers["times the median before"] == pytest.approx(500, rel=0.1)
    quiet = asked("exploding-gradients", history(loss=falling(steps=S)), tensors(("w.weight",), gradient_norm=norms))
    assert [f.severity for f in quiet] == ["hint"]


def test_what_a_burst_costs_is_measured_by_what_had_been_gained() -> None:
    norms, steps = noisy(np.ones((1, S))), np.arange(S)
    norms[0, 119] = 500.0
    for top, severity in ((2.0, "problem"), (1.05, "warning"), (0.6, "hint")):
        loss = falling(end=0.1, noise=0.001, steps=S)
        before, first = float(np.median(loss[114:119])), float(np.median(loss[:20]))
        loss[121] = top
        (found,) = asked("exploding-gradients", history(loss=loss), tensors(("w.weight",), gradient_norm=norms))
        rise = (max(loss[119:130]) - before) / (first - before)
        assert found.severity == severity
        assert found.numbers["rise of the loss over the gain"] == pytest.approx(rise if rise >= 0.01 else 0.0)
    hard = 2.3 * np.exp(-steps / 10) + 1e-3  # a loss of one hard example, a hundred times the median, costs nothing
    hard[121] = 0.1
    (found,) = asked("exploding-gradients", history(loss=hard), tensors(("w.weight",), gradient_norm=norms))
    assert found.severity == "hint"


def plainly_never_won_back(loss: np.ndarray, step: int) -> float:
    """The formula, one step at a time; steps count from 1."""
    before, after = loss[: step - 1], loss[step:]
    first, level = np.median(loss[:20]), np.median(before[-5:])
    lowest = min(np.median(after[i : i + 10]) for i in range(len(after) - 9))
    return float((lowest - level) / (first - level))


def test_what_was_never_won_back_is_as_the_plain_formula_says() -> None:
    loss = noisy(np.where(np.arange(S) < 60, np.linspace(1.1, -0.9, S), 1.0), 0.02)
    curve = Curve("loss", np.arange(1, S + 1), loss)
    steps = np.array([40, 61])
    expected = [plainly_never_won_back(loss, int(step)) for step in steps]
    np.testing.assert_allclose(never_won_back(curve, steps), expected)
    assert expected[1] > 0.7
    too_late, too_early, no_gain = never_won_back(curve, np.array([S // 2 + 2, 4, 8]))
    assert np.isnan([too_late, too_early, no_gain]).all()
    flat = Curve("loss", curve.steps, noisy(np.full(S, 1.1), 0.02))
    assert np.isnan(never_won_back(flat, np.arange(10, 60))).mean() > 0.9  # within the noise nothing was gained


def test_a_burst_among_bursts_is_told_by_the_gain_that_was_lost_for_good() -> None:
    random = np.random.default_rng(0)
    early = 10 ** (1.0 + 0.5 * random.standard_normal(60))  # nothing but bursts, up to where learning ends
    norms = np.concatenate([early, 10 ** (0.1 * random.standard_normal(S - 60))])[None]
    norms[0, 59] = 60.0
    lost = noisy(np.where(np.arange(S) < 60, np.linspace(1.1, -0.9, S), 1.08), 0.01)
    (found,) = asked("exploding-gradients", history(loss=lost), tensors(("w.weight",), gradient_norm=norms))
    assert found.severity == "problem" and 60 in found.steps and "never won back" in found.evidence
    learned = noisy(np.linspace(1.1, 0.1, S), 0.01)
    assert not asked("exploding-gradients", history(loss=learned), tensors(("w.weight",), gradient_norm=norms))


def test_earlier_bursts_do_not_hide_a_burst() -> None:
    random = np.random.default_rng(0)
    norms = 10 ** (0.4 * random.standard_normal((1, S)))  # a wide past: 0.4 decades
    norms[0, 119] = 10 ** (3.5 * 0.4 + 0.6)
    loss = falling(noise=0.02, steps=S)
    loss[120:125] = 3.0
    (found,) = asked("exploding-gradients", history(loss=loss), tensors(("w.weight",), gradient_norm=norms))
    assert (found.severity, found.steps) == ("problem", (120, 120))


def test_a_burst_that_throws_the_weights_where_nothing_is_learned_is_a_warning() -> None:
    norms, loss = noisy(np.ones((1, S))), noisy(np.full(S, 1.1), 0.02)
    norms[0, 49] = 500.0
    update = 1e-3 * norms
    made = tensors(("w.weight",), gradient_norm=norms, update_norm=update)
    assert [f.severity for f in asked("exploding-gradients", history(loss=loss), made)] == ["warning"]
    clipped = tensors(("w.weight",), gradient_norm=norms, update_norm=noisy(np.full((1, S), 1e-3)))
    assert [f.severity for f in asked("exploding-gradients", history(loss=loss), clipped)] == ["hint"]
    learns = history(loss=falling(noise=0.02, steps=S))
    assert [f.severity for f in asked("exploding-gradients", learns, made)] == ["hint"]


def test_a_gradient_that_runs_away_until_nothing_is_finite() -> None:
    norms, loss = noisy(np.ones((2, 40))), noisy(np.full(40, 2.3), 0.02)
    norms[1, 26:30] = 10.0 ** np.array([2, 4, 8, 16])
    norms[:, 30:], loss[30:] = np.nan, np.nan
    (found,) = asked("exploding-gradients", history(loss=loss), tensors(("a.weight", "b.weight"), gradient_norm=norms))
    assert (found.severity, found.layers, found.steps[-1]) == ("problem", ("b.weight",), 30)
    assert found.numbers["times the norm before"] == pytest.approx(1e16 / np.sqrt(2), rel=0.1)
    norms[1, 26:30] = 1.0  # NaN out of nothing: no explosion
    assert not asked("exploding-gradients", history(loss=loss), tensors(("a.weight", "b.weight"), gradient_norm=norms))
    norms[1, 26:30] = 10.0 ** np.array([2, 4, 8, 16])
    norms[:, 31:], loss[30:] = 1.0, 2.3  # one step that a gradient scaler left out
    found = asked("exploding-gradients", history(loss=loss), tensors(("a.weight", "b.weight"), gradient_norm=norms))
    assert "afterwards nothing is finite" not in "".join(f.evidence for f in found)


def test_heavy_noise_of_the_gradient_is_no_burst() -> None:
    heavy = np.exp(np.random.default_rng(3).standard_normal((1, 400)))
    assert not asked("exploding-gradients", history(), tensors(("w.weight",), gradient_norm=heavy))
    small = np.concatenate([np.ones(200), 1e-4 * np.ones(200)])[None] * noisy(np.ones((1, 400)))
    small[0, 350] = 0.1  # a thousand times its neighbours, and less than what the run began with
    assert not asked("exploding-gradients", history(), tensors(("w.weight",), gradient_norm=small))


def test_a_gradient_that_grows_without_end() -> None:
    norms = noisy(10 ** np.linspace(0, 4, S)[None], 0.1)
    (found,) = asked("exploding-gradients", history(), tensors(("w.weight",), gradient_norm=norms))
    assert found.severity == "problem"
    assert "still growing" in found.evidence


def unchanged(gradient: object, meta: dict[str, object], rate: float = 0.1) -> list[tuple[str, str]]:
    """Severity and title for two parameters of which the second never changes."""
    weight = np.stack([5 + np.arange(S) * 1e-3, np.full(S, 7.0)])
    update = np.stack([np.full(S, 1e-3), np.zeros(S)])
    made = tensors(("a.weight", "b.weight"), meta, weight_norm=weight, update_norm=update, gradient_norm=gradient)
    run = history(learning_rate=np.full(S, rate))
    return [(f.severity, f.title) for f in asked("unchanged-parameters", run, made)]


def test_reasons_why_a_parameter_never_changes_are_told_apart() -> None:
    both = noisy(np.ones((2, S)))
    none, zero, tiny = both.copy(), both.copy(), both.copy()
    none[1], zero[1], tiny[1] = np.nan, 0.0, 1e-9
    known = {"frozen": []}
    assert unchanged(both, known) == [("problem", "Parameters get a gradient and are not updated")]
    assert unchanged(none, known) == [("problem", "No gradient reaches parameters")]
    assert unchanged(zero, known) == [("problem", "The gradient of parameters is exactly zero")]
    assert unchanged(none, {"frozen": ["b.weight"]}) == [("hint", "Parameters are frozen")]
    assert unchanged(none, {}) == [("warning", "Parameters without a gradient")]
    assert unchanged(tiny, known) == []  # rounding hides the change
    assert ("problem", "No optimizer holds parameters") in unchanged(tiny, {"frozen": [], "outside": ["c.weight"]})


def test_parameters_that_change_and_a_rate_of_zero_give_no_finding() -> None:
    weight = 5 + np.arange(S)[None] * 1e-3
    made = tensors(("a.weight",), weight_norm=weight, update_norm=np.full((1, S), 1e-3), gradient_norm=np.ones((1, S)))
    assert not asked("unchanged-parameters", history(learning_rate=np.full(S, 0.1)), made)
    still = tensors(("a.weight",), weight_norm=np.ones((1, S)), update_norm=np.zeros((1, S)))
    found = ask("unchanged-parameters", history(learning_rate=np.zeros(S)), still)
    assert found.skipped["unchanged-parameters"] == "the learning rate is zero"


@pytest.mark.parametrize(("rule", "quantity"), [("dead-units", "dead"), ("saturated-units", "saturated")])
def test_layers_whose_units_say_nothing(rule: str, quantity: str) -> None:
    share = np.stack([np.full(S, 0.1), np.full(S, 0.95), np.full(S, 0.2)])
    (found,) = asked(rule, history(), tensors(("a", "b", "c"), **{f"activation_{quantity}": share}))
    assert (found.severity, found.layers) == ("problem", ("b",))
    share[1, -40:] = np.linspace(0.95, 0.8, 40)  # coming back
    assert not asked(rule, history(), tensors(("a", "b", "c"), **{f"activation_{quantity}": share}))
    share[1] = 0.4
    assert not asked(rule, history(), tensors(("a", "b", "c"), **{f"activation_{quantity}": share}))
    share[1, :100] = 0.95  # recovered since
    assert not asked(rule, history(), tensors(("a", "b", "c"), **{f"activation_{quantity}": share}))


def test_a_last_layer_that_is_sure_is_no_problem() -> None:
    share = np.stack([np.full(S, 0.1), np.full(S, 0.95)])
    found = asked("saturated-units", history(), tensors(("hidden", "answer"), activation_saturated=share))
    assert [f.severity for f in found] == ["warning"]


@pytest.mark.parametrize(
    ("rule", "quantity"), [("dead-units", "activation_dead"), ("saturated-units", "activation_saturated")]
)
def test_the_learning_rate_is_blamed_only_for_units_that_were_alive_at_first(rule: str, quantity: str) -> None:
    share = np.stack([np.full(S, 0.1), np.full(S, 0.95), np.full(S, 0.1)])
    (found,) = asked(rule, history(), tensors(("a", "b", "c"), **{quantity: share}))
    assert found.advice and not any("learning rate" in advice for advice in found.advice)
    share[1, 0] = 0.2
    (found,) = asked(rule, history(), tensors(("a", "b", "c"), **{quantity: share}))
    assert "learning rate" in found.advice[0]  # figures show three


@pytest.mark.parametrize(("modules", "told"), [((), True), (("BatchNorm2d", "ReLU"), False)])
def test_what_the_network_has_is_no_advice(modules: tuple[str, ...], told: bool) -> None:
    norms = np.stack([np.full(S, v) for v in (1e-6, 1e-6, 1e-6, 1.0)])
    names = ("a.weight", "b.weight", "c.weight", "d.weight")
    meta = {"modules": list(modules)}
    (found,) = asked("vanishing-gradients", history(), tensors(names, meta, gradient_norm=norms))
    assert any("normalization" in advice for advice in found.advice) is told
    assert found.advice[0].startswith("ReLU-like")
    assert "moves" not in found.numbers  # without updates it is not known
    assert {type(name) for name in found.layers} == {str}
    dead = np.stack([*np.full((4, S), np.nan), np.full(S, 0.1)])
    norms = np.concatenate([norms, np.full((1, S), np.nan)])
    (found,) = asked(
        "vanishing-gradients",
        history(),
        tensors((*names, "relu"), meta, gradient_norm=norms, activation_dead=dead),
    )
    assert not any("ReLU-like" in advice for advice in found.advice)


def test_units_that_saturate_as_the_loss_arrives_are_a_hint() -> None:
    made = tensors(("hidden", "answer"), activation_saturated=np.stack([np.full(S, 0.6), np.full(S, 0.1)]))
    for end, severity in ((0.5, "warning"), (0.005, "hint")):
        loss = np.concatenate([np.geomspace(2.3, end, S // 2), np.full(S - S // 2, end)])
        assert [f.severity for f in asked("saturated-units", history(loss=loss), made)] == [severity]


def test_a_spread_that_shrinks_from_layer_to_layer_is_a_bad_initialization() -> None:
    spread = 0.3 ** np.arange(8)[:, None] * FLAT
    (found,) = asked("initialization", history(), tensors(LAYERS, activation_std=noisy(spread, 0.05)))
    assert found.severity == "problem"
    assert found.numbers["last over first spread"] == pytest.approx(0.3**7, rel=0.2)
    steady = noisy(np.ones((8, S)), 0.3)
    assert not asked("initialization", history(), tensors(LAYERS, activation_std=steady))


def test_weights_that_are_all_zero() -> None:
    zero = np.zeros((4, S))
    (found,) = asked("initialization", history(), tensors(LAYERS[:4], weight_norm=zero))
    assert found.layers == LAYERS[:4]
    zero[1:] = 1.0  # one zero layer is a habit, not a fault
    assert not asked("initialization", history(), tensors(LAYERS[:4], weight_norm=zero))


def test_gradients_that_add_up() -> None:
    random = np.random.default_rng(0)
    batch = 0.6 * np.ones((S, 30)) + random.standard_normal((S, 30))
    added = np.linalg.norm(np.cumsum(batch, 0), axis=1)[None]
    (found,) = asked("accumulating-gradients", history(), tensors(("w.weight",), gradient_norm=added))
    assert 0.6 < found.numbers["power"] < 1.2
    single = np.linalg.norm(batch, axis=1)[None]
    assert not asked("accumulating-gradients", history(), tensors(("w.weight",), gradient_norm=single))
    smooth = np.exp(-np.linspace(0, 3, S))[None]  # full batch
    assert not asked("accumulating-gradients", history(), tensors(("w.weight",), gradient_norm=smooth))


def means(kind: str, count: int = 6) -> np.ndarray:
    """Mean entries (L, S) of gradients: of batches, of their sum, of a full batch, of one that escapes a saddle."""
    random = np.random.default_rng(4)
    level = random.uniform(0.3, 1.0, (count, 1)) * random.choice([-1, 1], (count, 1))
    batch = level + random.standard_normal((count, S))
    smooth = level * np.exp(-np.linspace(0, 3, S))
    made = {"batch": batch, "sum": np.cumsum(batch, 1), "full": smooth, "escape": level * 1e-3 * 1.1 ** np.arange(S)}
    return np.asarray(made[kind])


def test_sums_of_gradients_are_told_by_changes_that_are_not_undone() -> None:
    names, level = tuple(f"{i}.weight" for i in range(6)), noisy(np.ones((6, S)))  # norms that tell nothing
    made = {k: tensors(names, gradient_norm=level, gradient_mean=means(k)) for k in ("batch", "sum", "full", "escape")}
    (found,) = asked("accumulating-gradients", history(), made["sum"])
    assert (found.severity, found.layers) == ("problem", names)
    changes = np.diff(means("sum")[:, :64], axis=1)
    share = np.median(np.median(np.abs(changes), 1) / np.median(np.abs(means("sum")[:, 16:64]), 1))
    assert found.numbers["change"] == pytest.approx(share)
    undone = np.median((changes[:, 1:] * changes[:, :-1]).mean(1) / (changes**2).mean(1))
    assert found.numbers["correlation of changes"] == pytest.approx(undone, abs=0.1)
    for kind in ("batch", "full", "escape"):
        assert not asked("accumulating-gradients", history(), made[kind]), kind


def test_a_gradient_that_is_always_clipped() -> None:
    norms = np.full((1, S), 1e-3)
    slow = tensors(("w.weight",), gradient_norm=norms, update_ratio=np.full((1, S), 1e-6))
    assert [f.severity for f in asked("clipping-always", history(loss=np.full(S, 2.3)), slow)] == ["problem"]
    works = tensors(("w.weight",), gradient_norm=norms, update_ratio=np.full((1, S), 1e-3))
    assert [f.severity for f in asked("clipping-always", history(loss=falling(steps=S)), works)] == ["hint"]
    assert not asked("clipping-always", history(), tensors(("w.weight",), gradient_norm=noisy(norms)))


def test_weights_that_shrink_to_nothing() -> None:
    shrinking = 10 * np.exp(-np.linspace(0, 4, S))[None]
    stuck = history(loss=noisy(np.full(S, 2.3), 0.01))
    (found,) = asked("weights-collapse", stuck, tensors(("w.weight",), weight_norm=shrinking))
    assert found.numbers["last over first norm"] == pytest.approx(np.exp(-4), rel=0.1)
    assert not asked("weights-collapse", history(loss=falling(steps=S)), tensors(("w.weight",), weight_norm=shrinking))
    assert not asked("weights-collapse", stuck, tensors(("w.weight",), weight_norm=np.full((1, S), 10.0)))


def nan_run(kind: str, layer: int, step: int, value: float = np.nan) -> object:
    made = {k: noisy(np.ones((3, S))) for k in ("activation_std", "gradient_norm", "weight_norm")}
    made[kind][: layer + 1 if kind == "gradient_norm" else None, step - 1 :] = value
    if kind != "gradient_norm":
        made[kind][:layer] = 1.0
    return tensors(("a.weight", "b.weight", "c.weight"), **made)


def test_the_origin_of_nan_is_the_first_activation_and_the_last_gradient() -> None:
    loss = falling(steps=S)
    loss[49:] = np.nan
    (found,) = asked("nan-origin", history(loss=loss), nan_run("activation_std", 1, 50))
    assert (found.layers, found.steps, found.severity) == (("b.weight",), (50,), "problem")
    loss[49] = 0.5
    (found,) = asked("nan-origin", history(loss=loss), nan_run("gradient_norm", 1, 50))
    assert (found.layers, found.steps) == (("b.weight",), (50,))
    assert "still finite" in found.evidence
    (found,) = asked("nan-origin", history(loss=loss), nan_run("weight_norm", 2, 30, np.inf))
    assert (found.layers, found.steps) == (("c.weight",), (30,))
    assert found.title.startswith("Infinity")


def test_a_loss_alone_that_is_nan_and_one_that_never_is() -> None:
    loss = falling(steps=S)
    assert not asked("nan-origin", history(loss=loss))
    loss[7] = np.nan
    (found,) = asked("nan-origin", history(loss=loss))
    assert found.steps == (8,)
    (found,) = asked("nan-origin", history(loss=falling(steps=S), val_loss=np.append(falling(steps=20), np.nan)))
    assert (found.severity, found.steps) == ("warning", (21,))


def test_steps_that_a_gradient_scaler_left_out_are_a_hint() -> None:
    gradient = noisy(np.ones((1, S)))
    gradient[0, [20, 90]] = np.inf
    made = tensors(("w.weight",), gradient_norm=gradient, weight_norm=np.ones((1, S)))
    assert [f.severity for f in asked("nan-origin", history(loss=falling(steps=S)), made)] == ["hint"]

"""Results that look like a small CNN's and a small training's, made of arithmetic alone, hostile names included."""

from __future__ import annotations

import numpy as np

from fluoroscope.results import (
    SPECTRAL,
    STATISTICS,
    Attribution,
    ExpertGrid,
    FeatureMaps,
    Finding,
    Findings,
    History,
    LayerRow,
    LayerSummary,
    ModelGraph,
    NeuronDiagram,
    NeuronLayer,
    Samples,
    Scorecard,
    Series,
    Spectra,
    Spectrum,
    TensorHistograms,
    TensorHistory,
    TensorRecord,
    TensorSummary,
)
from fluoroscope.results.pyramid import reduced
from tests.render import graphs

SIZE = 64
PLACES = ((20, 22), (40, 18), (30, 46))
BREAKOUT = '</script><img src=x onerror="window.broken=1"><b>\'"'
RTL = "\u202eتجربة\u202c שלום.png"
LONG = "a very long name " * 300
NAMES = (BREAKOUT, RTL, LONG[:5000])
LABELS = (("seven", "one"), ("\U0001f40b whale & <i>calf</i>", "two"), ("zebra\x00\u0007", "three"))


def images() -> np.ndarray:
    """Three scenes (N, H, W, RGB): a bright ring among soft clutter."""
    y, x = np.mgrid[:SIZE, :SIZE]
    out = np.zeros((len(PLACES), SIZE, SIZE, 3))
    for n, (row, column) in enumerate(PLACES):
        distance = np.hypot(y - row, x - column)
        clutter = 0.25 + 0.12 * np.sin(x / (4 + n)) * np.cos(y / 5) + 0.1 * np.sin((x + y) / 7 + n)
        ring = np.exp(-(((distance - 8) / 2.2) ** 2))
        out[n] = np.stack([clutter + 0.7 * ring, clutter + 0.55 * ring * (n != 1), clutter + 0.5 * ring * (n != 0)], -1)
    return (np.clip(out, 0, 1) * 255).astype(np.uint8)


def samples() -> Samples:
    """The scenes with hostile names."""
    return Samples(names=NAMES, images=images())


def bump(rows: int, columns: int, place: tuple[float, float], width: float) -> np.ndarray:
    """A Gaussian over cells that tile the scene, 1 at ``place`` (in pixels)."""
    y = (np.arange(rows) + 0.5) * SIZE / rows
    x = (np.arange(columns) + 0.5) * SIZE / columns
    return np.exp(-((y[:, None] - place[0]) ** 2 + (x[None] - place[1]) ** 2) / (2 * width**2))


def grad_cam() -> Attribution:
    """Coarse unsigned maps, 8 x 8, for two targets each."""
    maps = np.stack([[4.0 * bump(8, 8, p, 9), 1.5 * bump(8, 8, (SIZE - p[0], SIZE - p[1]), 12)] for p in PLACES])
    return Attribution(
        title="Grad-CAM",
        caption="Channels of the last convolution, weighted by the mean gradient of the target's logit.",
        data=maps.astype(np.float32),
        axes=("N", "K", "H", "W"),
        scores=np.array([[7.31, 1.2], [5.02, 0.3], [6.0, -2.0]], np.float32),
        targets=np.array([[7, 1], [3, 2], [0, 3]]),
        labels=LABELS,
        size=(SIZE, SIZE),
        unit="logit",
        samples=samples(),
        meta={
            "method": "GradCAM",
            "layer": BREAKOUT,
            "seed": 0,
            "seconds": 0.0123,
            "verdict": "peak on the digit: 96 %",
        },
    )


def occlusion() -> Attribution:
    """Signed maps with centres of their own and one NaN."""
    maps = np.stack([[3 * bump(13, 13, p, 8) - 0.8 * bump(13, 13, (50, 50), 10)] * 2 for p in PLACES])
    maps[1, 0, 2, 3] = np.nan
    return Attribution(
        title="Occlusion",
        caption="Fall of the score when a window is covered.",
        data=maps.astype(np.float32),
        axes=("N", "K", "H", "W"),
        scores=np.array([[7.31, 1.2], [5.02, 0.3], [6.0, -2.0]], np.float32),
        targets=np.array([[7, 1], [3, 2], [0, 3]]),
        labels=LABELS,
        size=(SIZE, SIZE),
        centers=((8.0, 4.0), (8.0, 4.0)),
        signed=True,
        unit="logit",
        samples=samples(),
        meta={"method": "Occlusion", "window": 16, "stride": 4, "notes": ("One window gave NaN.",)},
    )


def saliency() -> Attribution:
    """Fine maps with outliers."""
    rng = np.random.default_rng(0)
    maps = np.stack([[np.abs(rng.normal(size=(SIZE, SIZE))) * (0.05 + bump(SIZE, SIZE, p, 7))] * 2 for p in PLACES])
    maps[:, :, 0, 0] = 30.0
    return Attribution(
        title="Saliency",
        data=maps.astype(np.float32),
        axes=("N", "K", "H", "W"),
        scores=np.array([[7.31, 1.2], [5.02, 0.3], [6.0, -2.0]], np.float32),
        targets=np.array([[7, 1], [3, 2], [0, 3]]),
        labels=LABELS,
        size=(SIZE, SIZE),
        unit="logit per unit of input",
        samples=samples(),
        meta={"method": "Saliency"},
    )


def tokens() -> Attribution:
    """A sentence, signed."""
    words = ("the", " film", " is", " not", " at", " all", " bad", " <b>", "\U0001f600")
    return Attribution(
        title="Input x gradient",
        data=np.array([[0.02, 0.3, -0.05, -1.4, 0.1, 0.2, 2.25, 0.0, np.nan]], np.float32),
        axes=("N", "L"),
        scores=np.array([1.75], np.float32),
        targets=np.array([1]),
        labels=(("positive",),),
        signed=True,
        unit="logit",
        samples=Samples(names=("review 17",), features=(words,)),
    )


def columns() -> Attribution:
    """A row of a table, signed."""
    names = ("fare", "age", "sex", "class", "siblings", "parents", "port <S>", BREAKOUT)
    return Attribution(
        title="Shapley values",
        data=np.array([[0.21, -0.13, 0.42, -0.08, 0.01, 0.0, -0.02, 0.005]], np.float32),
        axes=("N", "D"),
        scores=np.array([0.81], np.float32),
        targets=np.array([1]),
        labels=(("survived",),),
        signed=True,
        unit="probability",
        samples=Samples(names=("passenger 12",), features=(names,)),
    )


def series() -> Attribution:
    """A signal of two channels over time."""
    t = np.arange(200)
    signal = np.stack([np.cos(t / 9) + (t == 120) * 4, 300 + t / 2]).astype(np.float32)
    return Attribution(
        title="Integrated gradients",
        data=(np.sin(t / 9) * np.exp(-(((t - 120) / 40) ** 2)))[None].astype(np.float32),
        axes=("N", "T"),
        scores=np.array([2.5], np.float32),
        targets=np.array([0]),
        labels=(("beat",),),
        signed=True,
        unit="logit",
        samples=Samples(names=("recording",), series=signal[None, ..., None]),
    )


def feature_maps() -> FeatureMaps:
    """A convolution's maps, a later layer's, a series', a dense layer's; the second layer has 100 channels."""
    rng = np.random.default_rng(1)
    rings = np.stack([[np.roll(images()[n, :, :, c % 3] / 255.0, c, 0) for c in range(16)] for n in range(3)])
    early = rings * (1 + np.arange(16))[None, :, None, None] - 0.4
    late = np.maximum(0, np.stack([[bump(16, 16, p, 5 + c % 7) * (c % 11) for c in range(100)] for p in PLACES]) - 0.2)
    return FeatureMaps(
        title="Feature maps",
        caption="What each layer puts out for the three scenes.",
        maps={
            "features.0": early.astype(np.float32),
            f"features.{BREAKOUT}": late.astype(np.float32),
            "series": rng.normal(size=(3, 6, 120)).astype(np.float32).cumsum(-1),
            "head": rng.normal(size=(3, 10)).astype(np.float32),
        },
        axes={
            "features.0": ("N", "C", "H", "W"),
            f"features.{BREAKOUT}": ("N", "C", "H", "W"),
            "series": ("N", "C", "T"),
            "head": ("N", "D"),
        },
        samples=samples(),
        meta={"method": "Activations", "seconds": 0.2},
    )


def tensor(name: str, values: np.ndarray, form: str, role: str = "") -> TensorRecord:
    """The record of a whole tensor."""
    numbers = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(numbers, 41)
    found = (
        numbers.mean(),
        numbers.std(),
        numbers.min(),
        numbers.max(),
        np.sqrt((numbers**2).sum()),
        (numbers == 0).mean(),
        values.size - numbers.size,
    )
    return TensorRecord(
        name=name,
        shape=values.shape,
        dtype="float32",
        role=role,
        statistics=dict(zip(STATISTICS, map(float, found), strict=True)),
        edges=edges,
        counts=counts,
        picture=values,
        form=form,
    )


def tensor_summary() -> TensorSummary:
    """Colour filters, plain filters, a matrix, a bias with a NaN."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[-3:4, -3:4]
    gabors = [
        np.exp(-(x**2 + y**2) / 8) * np.cos((x * np.cos(a) + y * np.sin(a)) * f + p) * tint
        for a, f, p, tint in zip(
            rng.uniform(0, 3, 48), rng.uniform(0.3, 1.6, 48), rng.uniform(0, 6, 48), rng.normal(1, 1, 48), strict=True
        )
    ]
    hues = 0.6 + 0.5 * rng.normal(size=(48, 3, 1, 1))
    bias = rng.normal(size=300).astype(np.float32)
    bias[7], bias[8] = np.nan, np.inf
    filters = np.stack(gabors)[:, None] * hues * 0.2
    return TensorSummary(
        title="Weights",
        caption="All parameters of the network.",
        tensors=(
            tensor("features.0.weight", filters.astype(np.float32), "filters", "convolution"),
            tensor(
                "features.3.weight",
                (rng.standard_t(4, size=(24, 16, 3, 3)) * 0.05).astype(np.float32),
                "filters",
                "convolution",
            ),
            tensor(BREAKOUT, bias, "vector", "bias"),
            tensor("head.weight", (rng.normal(size=(10, 64)) * 0.1).astype(np.float32), "matrix", "dense"),
            *(
                tensor(f"stage.{i}.norm.weight", rng.normal(1, 0.1, 64).astype(np.float32), "vector", "norm")
                for i in range(12)
            ),
        ),
    )


def spectra() -> Spectra:
    """An exact spectrum and a part of one, and a table of experts."""
    values = np.geomspace(4, 0.01, 40)
    numbers = dict.fromkeys(SPECTRAL, 2.5)

    def one(name: str, exact: bool) -> Spectrum:
        return Spectrum(
            name=name,
            shape=(60, 40),
            dtype="float32",
            unfolding="60 x 40, as it is",
            matrix=(60, 40),
            values=values,
            errors=np.full(40, 0.1),
            exact=exact,
            reference=np.linspace(2.4, 0.3, 40),
            statistics={**numbers, "above_edge": 7.0, "alpha": float("nan")},
        )

    table = np.arange(6.0).reshape(2, 3)
    table[1, 2] = np.nan
    grid = ExpertGrid(pattern=BREAKOUT, layers=(0, 4), experts=(0, 1, 9), tables={"norm": table})
    return Spectra(title="Spectra", spectra=(one("fc.weight", True), one(BREAKOUT, False)), grids=(grid,))


def large_matrix() -> TensorSummary:
    """A matrix with levels, one outlier, a dead row and a duplicate."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(256, 512)).astype(np.float32) * 0.01
    values[9] = 0
    values[200] = values[4]
    values[100, 300] = -7.0
    coarse = reduced(values, 4, 8)
    record = tensor("big.weight", values, "matrix", "dense")
    return TensorSummary(
        title="Large",
        tensors=(
            record.replace(
                picture=coarse,
                reduced=True,
                levels=(reduced(values, 2, 4), values),
                steps=((4, 8), (2, 4), (1, 1)),
                row_norms=np.linalg.norm(values, axis=1),
                column_norms=np.linalg.norm(values, axis=0),
                peak=(100, 300),
                dead=np.array([9]),
                duplicates=np.array([[200, 4]]),
                likeness=np.array([1.0]),
                statistics={**record.statistics, "dead": 1.0, "duplicates": 1.0},
            ),
        ),
    )


def layer_summary() -> LayerSummary:
    """A small tree with a shared module."""
    rows = [
        LayerRow(name="", type="Net", leaf=False, parameters=13_706, flops=4_120_000, calls=1, output_shape=(3, 10))
    ]
    rows.append(
        LayerRow(
            name="features",
            type="Sequential",
            depth=1,
            leaf=False,
            parameters=7_066,
            flops=4_100_000,
            calls=1,
            output_shape=(3, 64, 8, 8),
        )
    )
    parts = ((448, 2_000_000), (0, 0), (4_640, 1_800_000), (0, 0), (1_978, 300_000))
    for i, (count, flops) in enumerate(parts):
        rows.append(
            LayerRow(
                name=f"features.{i}",
                type="Conv2d" if count else "ReLU",
                depth=2,
                parameters=count,
                own=count,
                trainable=count,
                flops=flops,
                bytes=4 * 3 * 16 * 32 * 32,
                calls=1 if count else 2,
                output_shape=(3, 16, 32, 32),
                dtype="float32",
                uses=("maps", "weights") if count else ("maps",),
            )
        )
    rows.append(LayerRow(name=BREAKOUT, type="<b>Odd</b>", depth=1, calls=0))
    rows.append(
        LayerRow(
            name="head",
            type="Linear",
            depth=1,
            parameters=6_640,
            own=6_640,
            trainable=6_640,
            flops=20_000,
            bytes=120,
            calls=1,
            output_shape=(3, 10),
            uses=("vectors", "weights"),
        )
    )
    return LayerSummary(
        title="Architecture",
        rows=tuple(rows),
        input_shapes=((3, 3, SIZE, SIZE),),
        parameters=13_706,
        trainable=13_706,
        parameter_bytes=54_824,
        buffer_bytes=0,
        flops=4_120_000,
    )


def history() -> History:
    """Loss with NaN, accuracy, gradient norms on a log scale, one long series."""
    rng = np.random.default_rng(3)
    steps = np.arange(400)
    loss = 2.3 * np.exp(-steps / 90) + 0.08 + 0.05 * rng.random(400)
    loss[210:216] = np.nan
    loss[300] = np.inf
    epochs = np.arange(0, 400, 40)
    validation = 2.3 * np.exp(-epochs / 100) + 0.16
    found = {
        "loss": Series(steps=steps, values=loss, unit="nats", group="loss"),
        "validation loss": Series(steps=epochs, values=validation, unit="nats", group="loss"),
        "accuracy": Series(steps=epochs, values=1 - 0.9 * np.exp(-epochs / 80), unit="share", group="accuracy"),
    }
    for i in range(10):
        norms = 10.0 ** (-i / 2 + 0.2 * rng.normal(size=400) - steps / 400)
        found[f"layer {i}"] = Series(steps=steps, values=norms, group="gradient norm")
    found[BREAKOUT] = Series(steps=np.arange(20_000), values=np.sin(np.arange(20_000) / 900), group="")
    return History(title="Training", series=found)


def tensor_history() -> TensorHistory:
    """Gradient norms of five layers; one has NaN, one was not recorded at first; histograms of the gradients."""
    rng = np.random.default_rng(5)
    names = ("stem.weight", "block.conv.weight", "block.norm.bias", BREAKOUT, "head.weight")
    norms = 10.0 ** (rng.normal(size=(5, 50)) * 0.2 - np.arange(5, 0, -1)[:, None])
    norms[1, 20:23] = np.nan
    recorded = np.ones((5, 50), bool)
    recorded[2, :10] = False
    norms[2, :10] = np.nan
    edges = np.concatenate([-(10.0 ** np.arange(0, -6, -1)), [0], 10.0 ** np.arange(-5, 1)])
    counts = rng.integers(1, 40, (5, 6, len(edges) - 1))
    counts[4] = 0
    return TensorHistory(
        title="Tensors",
        names=names,
        steps=np.arange(50) * 10,
        statistics={"gradient/norm": norms, "update/ratio": np.abs(rng.normal(size=(5, 50))) * 1e-3},
        recorded={"gradient/norm": recorded},
        histograms={"gradient": TensorHistograms(steps=np.arange(6) * 100, edges=edges, counts=counts, sampled=0.1)},
    )


def findings() -> Findings:
    """One of each severity."""
    steps = np.arange(100)
    return Findings(
        title="Diagnosis",
        items=(
            Finding(
                rule="vanishing-gradients",
                title="Gradients vanish",
                severity="problem",
                confidence=0.9,
                layers=tuple(f"layer{i}.weight" for i in range(9)),
                steps=(10, 2000),
                evidence="The ratio fell to 1e-7.",
                numbers={"ratio": 1e-7, "not known": np.nan},
                series={"ratio": Series(steps=steps, values=10.0 ** (-steps / 14))},
                reference=1e-4,
                advice=("Normalize.", BREAKOUT),
                source="Glorot & Bengio (2010)",
            ),
            Finding(rule="overfitting", title=BREAKOUT, severity="warning", confidence=0.5),
            Finding(rule="plateau", title="No progress", severity="hint"),
        ),
        checked=("vanishing-gradients", "overfitting", "plateau"),
        skipped={"leakage": "no validation"},
    )


def compared_runs() -> History:
    """Three runs, two settings that differ, validation that turns, one run that diverges."""
    found = {}
    for i, rate in enumerate((0.1, 0.1, 1.0)):
        steps = np.arange(300)
        loss = np.exp(-steps / 60) + 0.1
        loss[100:] = np.nan if rate == 1.0 else loss[100:]
        held_out = np.exp(-steps[::10] / 60) + 0.3 + np.clip(steps[::10] - 150, 0, None) / 500
        times = 1.7e9 + i * 1000 + steps * 2.0
        found[f"run {i} {BREAKOUT}" if i == 0 else f"run {i}"] = History(
            series={
                "loss": Series(steps=steps, values=loss, group="loss", times=times),
                "val_loss": Series(steps=steps[::10], values=held_out, group="loss", times=times[::10]),
            },
            configs={"": {"lr": rate, "seed": i, "model": "same"}},
        )
    return History.compared(found)


def scorecard() -> Scorecard:
    """Three methods, one of them no better than chance."""
    return Scorecard(
        title="Is the picture true?",
        caption="How often each peak falls on the digit, and how fast the score falls when it is deleted.",
        rows=("Grad-CAM", "Saliency", "Random map", BREAKOUT),
        columns=("Peak on the digit", "Deletion"),
        table=np.array([[0.96, 0.21], [0.71, 0.33], [0.12, 0.52], [np.nan, np.inf]]),
        errors=np.array([[0.02, 0.01], [0.05, 0.02], [0.03, 0.02], [np.nan, np.nan]]),
        units=("share", "area"),
        better=("high", "low"),
        reference=(0.11, 0.5),
        verdicts=(
            "Points at the digit nearly always.",
            "Mostly right, and noisy.",
            "As good as chance, as it should be.",
            "Gave no number.",
        ),
    )


def model_graph() -> ModelGraph:
    """A small GPT, folded, one of its names hostile, with a number of the user's own for two of its modules."""
    graph = graphs.transformer()
    nodes = list(graph.nodes)
    last = nodes[-1].id
    nodes[last] = nodes[last].replace(name=BREAKOUT, error=RTL, attributes={BREAKOUT: LONG[:200]})
    numbers = {"gradient norm": {"transformer.wte": 0.25, "lm_head": float("nan")}}
    return graph.replace(nodes=tuple(nodes), caption="124 M parameters", meta={"values": numbers})


def neuron_diagram() -> NeuronDiagram:
    """A perceptron 4 -> 3 -> 2 for three examples; a name is hostile."""
    given = np.array([[0.5, -1.0, 2.0, 0.0], [1.0, 0.25, -0.5, 3.0], [-2.0, 0.0, 1.0, 0.125]])
    first = np.array([[1.0, -0.5, 0.25, 0.0], [0.0, 2.0, -1.0, 0.5], [-0.75, 0.0, 0.5, 1.0]])
    last = np.array([[1.5, -2.0, 0.5], [-1.0, 0.25, 2.0]])
    hidden = given @ first.T
    out = np.maximum(hidden, 0) @ last.T
    layers = (
        NeuronLayer(name="input", before=given, after=given, names=("age", BREAKOUT, "fare", RTL)),
        NeuronLayer(name="hidden", before=hidden, after=np.maximum(hidden, 0), weights=first, bias=np.zeros(3)),
        NeuronLayer(name=BREAKOUT, before=out, after=out, weights=last, names=("died", "survived")),
    )
    return NeuronDiagram(title="Neuron view", caption="4 → 3 → 2 neurons", layers=layers, samples=Samples(names=NAMES))

"""Tables of pandas: columns become names of features; what is no number is refused by name."""

from __future__ import annotations

import importlib.machinery
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fluoroscope as fs
from fluoroscope.errors import InputError, NumericalError
from fluoroscope.model.inputs import prepare_inputs
from fluoroscope.model.subject import as_subject
from fluoroscope.results.attribution import feature_name


class Frame:
    """What of a DataFrame is read, for machines without pandas: columns, index, dtypes, isna and to_numpy."""

    def __init__(self, data: dict[Any, Any], index: Any = None) -> None:
        self.data = {name: np.asarray(column) for name, column in data.items()}
        self.columns, self.dtypes = list(self.data), [c.dtype for c in self.data.values()]
        self.index = list(range(len(next(iter(self.data.values()))))) if index is None else list(index)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), len(self.columns)

    def to_numpy(self, dtype: Any = None) -> Any:
        return np.stack([c.astype(dtype) for c in self.data.values()], axis=1)

    def isna(self) -> Frame:
        return Frame({name: [v is None or v != v for v in column] for name, column in self.data.items()})

    def infer_objects(self) -> Frame:
        return Frame({name: np.array(column.tolist()) for name, column in self.data.items()}, self.index)

    @property
    def T(self) -> Frame:
        rows = np.stack(list(self.data.values()), axis=1)
        return Frame({name: rows[i] for i, name in enumerate(self.index)}, self.columns)


class Row:
    """What of a Series is read."""

    def __init__(self, data: dict[str, Any], name: Any = None) -> None:
        self.data, self.name = data, name

    @property
    def shape(self) -> tuple[int]:
        return (len(self.data),)

    def to_frame(self) -> Frame:
        return Frame({self.name: np.array(list(self.data.values()), dtype=object)}, self.data)


@pytest.fixture
def pandas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """pandas where it is installed, else its stand-in."""
    try:
        import pandas as real
    except ImportError:
        module: Any = types.ModuleType("pandas")
        module.__spec__ = importlib.machinery.ModuleSpec("pandas", None)  # torch looks for it
        module.DataFrame, module.Series = Frame, Row
        monkeypatch.setitem(sys.modules, "pandas", module)
        yield module
    else:
        yield real


def net(columns: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(columns, 8), nn.Tanh(), nn.Linear(8, 2))


def table(pandas: Any) -> Any:
    data = {"age": [22.0, 38.0, 26.0], "siblings": [1, 0, 2], "alone": [False, True, False]}
    return pandas.DataFrame(data, index=[7, 8, 11])


NUMBERS = np.array([[22.0, 1, 0], [38, 0, 1], [26, 2, 0]], np.float32)


def test_columns_name_the_features_and_values_are_those_of_the_array(pandas: Any) -> None:
    methods = [fs.IntegratedGradients(), fs.KernelSHAP(samples=40), fs.Occlusion(), fs.LIME(samples=40)]
    found, plain = fs.explain(net(), table(pandas), methods), fs.explain(net(), NUMBERS, methods)
    for name, result in found.items():
        np.testing.assert_array_equal(result.values, plain[name].values)
        assert result.samples.features == (("age", "siblings", "alone"),) * 3
        assert result.samples.names == ("row 7", "row 8", "row 11")
    labels = [t.get_text() for t in found["integrated-gradients"].plot().axes[0].get_yticklabels()]
    assert set(labels) == {"age = 22", "siblings = 1", "alone = 0"}
    assert '"features":["age","siblings","alone"]' in found.to_html()


def test_batches_keep_the_names(pandas: Any) -> None:
    found = fs.Saliency(batch_size=2)(net(), table(pandas))
    assert found.samples.names == ("row 7", "row 8", "row 11") and len(found.samples.features) == 3


def test_a_series_is_one_row(pandas: Any) -> None:
    row = pandas.Series({"age": 22.0, "siblings": 1, "alone": False}, name="Allen")
    found = fs.Saliency()(net(), row)
    np.testing.assert_array_equal(found.values, fs.Saliency()(net(), NUMBERS[:1]).values)
    assert found.samples.names == ("Allen",) and found.samples.features == (("age", "siblings", "alone"),)


def test_tables_as_baselines_and_backgrounds(pandas: Any) -> None:
    given, rows = table(pandas), torch.from_numpy(NUMBERS)
    mean = pandas.Series({"age": 30.0, "siblings": 1.0, "alone": 0.5})
    numbers = torch.tensor([30.0, 1.0, 0.5])
    pairs = [
        (fs.KernelSHAP(background=given, samples=40), fs.KernelSHAP(background=rows, samples=40)),
        (fs.ExpectedGradients(baselines=given), fs.ExpectedGradients(baselines=rows)),
        (fs.IntegratedGradients(baseline=mean), fs.IntegratedGradients(baseline=numbers)),
        (fs.Occlusion(baseline=mean), fs.Occlusion(baseline=numbers)),
    ]
    for one, other in pairs:
        np.testing.assert_array_equal(one(net(), given).values, other(net(), rows).values)


def test_columns_that_hold_no_numbers_are_named(pandas: Any) -> None:
    mixed = pandas.DataFrame({"age": [1.0, 2.0], "sex": np.array(["f", "m"], dtype=object)})
    with pytest.raises(InputError, match=r"1 of 2 columns of the table hold no numbers") as caught:
        fs.Saliency()(net(2), mixed)
    assert "'sex' (" in str(caught.value) and "get_dummies" in str(caught.value)
    assert "'age'" not in str(caught.value)


def test_missing_values_are_told_by_column_and_row(pandas: Any) -> None:
    holes = pandas.DataFrame({"age": [1.0, np.nan, np.nan], "fare": [1.0, 2.0, 3.0]}, index=[5, 6, 7])
    with pytest.raises(NumericalError, match="missing") as caught:
        fs.Saliency()(net(2), holes)
    assert "'age' in 2 of 3 rows; the first is row 6" in str(caught.value) and "fillna" in str(caught.value)


def test_whole_numbers_are_columns_unless_the_network_looks_them_up(pandas: Any) -> None:
    whole = pandas.DataFrame({"a": [1, 2], "b": [3, 4]})
    real = prepare_inputs(whole, as_subject(net(2))).main
    assert real.dtype == torch.float32 and real.tolist() == [[1, 3], [2, 4]]

    looking = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2))
    found = fs.InputXGradient()(looking, whole)
    assert found.axes == ("N", "L") and found.samples.features[0] == ("a", "b")


def test_tables_among_several_inputs(pandas: Any) -> None:
    codes = pandas.DataFrame({"port": [0, 2]})
    numbers = pandas.DataFrame({"age": [1.5, 2.0], "fare": [7.0, 8.0]})

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ports, self.fc = nn.Embedding(3, 2), nn.Linear(4, 2)

        def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.ports(codes[:, 0]), numbers], 1))

    found = fs.Saliency()(Both(), {"codes": codes, "numbers": numbers})
    assert found.values.shape == (2, 2) and found.samples.features[0] == ("age", "fare")


def test_real_pandas_with_its_own_types() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.array([1, 2], dtype="Int64"), "b": pandas.array([True, False], "boolean")})
    assert prepare_inputs(frame, as_subject(net(2))).main.tolist() == [[1, 1], [2, 0]]
    frame.loc[1, "a"] = pandas.NA
    with pytest.raises(NumericalError, match="'a' in 1 of 2 rows"):
        prepare_inputs(frame, as_subject(net(2)))
    for column in (
        pandas.Categorical(["x", "y"]),
        pandas.to_datetime(["2020-01-01", "2020-01-02"]),
        pandas.array(["x", "y"], dtype="string"),
    ):
        with pytest.raises(InputError, match="'c'"):
            prepare_inputs(pandas.DataFrame({"c": column}), as_subject(net(1)))
    mixed = pandas.DataFrame({"a": [1.5, 2.0], "b": [3, 4]})
    assert prepare_inputs(mixed.iloc[1], as_subject(net(2))).main.tolist() == [[2.0, 4.0]]


def test_pandas_is_not_imported_for_it() -> None:
    code = "import sys, torch, fluoroscope as fs; fs.Saliency()(torch.nn.Linear(3, 2), torch.ones(2, 3)); "
    subprocess.run([sys.executable, "-c", code + "sys.exit('pandas' in sys.modules)"], check=True, timeout=120)


CODED = {
    "age": [52.0, 31.0],
    "colour_red": [1.0, 0.0],
    "colour_green": [0.0, 1.0],
    "city_Oslo": [1.0, 0.0],
    "city_Rome": [0.0, 1.0],
}
GROUPS = np.array([4, 7, 7, 0, 0])


@pytest.mark.parametrize(
    "method",
    [fs.LIME(segments=GROUPS, samples=64), fs.KernelSHAP(segments=GROUPS), fs.ShapleySampling(segments=GROUPS),
     fs.FeatureAblation(segments=GROUPS), fs.HSIC(segments=GROUPS, samples=64), fs.Sobol(segments=GROUPS, samples=128)],
    ids=lambda m: m.name,
)  # fmt: skip
def test_columns_of_one_category_are_one_feature(pandas: Any, method: Any, tmp_path: Any) -> None:
    found = method(net(5), pandas.DataFrame(CODED), target=1)
    names, values = found.table(0)
    assert names == ("age = 52", "colour = red", "city = Oslo")
    assert found.table(1)[0] == ("age = 31", "colour = green", "city = Rome")
    np.testing.assert_array_equal(values, found.values[0, [0, 1, 3]])
    if method.name in ("kernel-shap", "shapley-sampling"):  # the values of the features, not of the columns, add up
        with torch.no_grad():
            whole, empty = (net(5)(x)[0, 1] for x in (torch.tensor([[52.0, 1, 0, 1, 0]]), torch.zeros(1, 5)))
        np.testing.assert_allclose(values.sum(), float(whole - empty), rtol=1e-5)
    drawn = found.plot(index=0).axes[0]
    assert sorted(t.get_text() for t in drawn.get_yticklabels()) == ["age = 52", "city = Oslo", "colour = red"]
    page = found.to_html()
    assert '"features":["age = 52","colour = red","city = Oslo"]' in page
    opened = fs.open_result(found.save(tmp_path / "table.fluo"))
    assert opened.table(1)[0] == found.table(1)[0]
    one_by_one = method.replace(batch_size=1)(net(5), pandas.DataFrame(CODED), target=1)
    assert one_by_one.table(1)[0] == found.table(1)[0]


def test_names_of_features() -> None:
    assert feature_name(["age"], None) == "age"
    assert feature_name(["age"], np.array([0.123456])) == "age = 0.1235"
    assert feature_name(["sex: f", "sex: m"], np.array([0.0, 1.0])) == "sex = m"
    assert feature_name(["hue_green", "hue_grey"], np.array([0.0, 1.0])) == "hue = grey"
    assert feature_name(["lag_1", "lag_2"], np.array([0.5, 1.0])) == "lag"
    assert feature_name(["width", "depth", "height"], None) == "width and 2 more"

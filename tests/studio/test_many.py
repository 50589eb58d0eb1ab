"""The studio with very many series, pages, and names that addresses have to quote."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from fluoroscope.studio import app, views
from fluoroscope.training.store import RunWriter, open_runs
from tests.studio.test_studio import client, document, written  # noqa: F401 (client is a fixture)


def panel_of(found: Any, kind: str = "history") -> Any:
    return next(p for p in found["sections"][0]["panels"] if p["kind"] == kind)


def many(folder: Path, name: str, count: int) -> None:
    with RunWriter(folder, name) as writer:
        for step in range(3):
            numbers = {f"unit{i}": float(i + step) for i in range(count)}
            writer.scalars(step, {**numbers, "loss": 1.0, "learning_rate/group0": 0.1}, time=100.0 + step)
        writer.scalars(3, {"unit7": np.nan}, time=103.0)


def names_of(client: TestClient, found: Any) -> list[Any]:  # noqa: F811
    blob = panel_of(found)["more"]["names"]["blob"]
    return json.loads(gzip.decompress(client.get(f"{found['live']['blobs']}{blob}").content))


def test_only_the_first_series_are_sent_and_the_others_are_asked_for(
    client: TestClient,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "MOST", 20)
    many(tmp_path, "run <b>", 100)
    found = document(client, "/live/run/run%20%3Cb%3E")
    shown = [series["name"] for series in panel_of(found)["series"]]
    assert len(shown) == 20 and shown[0] == "loss" and shown[-1] == "learning_rate/group0"
    assert panel_of(found)["more"]["count"] == 82
    ((run, left),) = names_of(client, found)
    assert run == "run <b>" and set(left) | set(shown) == set(open_runs(tmp_path)["run <b>"].names())
    curve = client.get(found["live"]["curves"], params={"run": run, "name": "unit7"}).json()
    assert curve == {"steps": [0, 1, 2, 3], "values": [7, 8, 9, "nan"], "times": [100, 101, 102, 103]}
    assert "102 series, 20 were looked at" in " ".join(panel_of(found, "findings")["notes"])
    for wrong in ({"run": "none", "name": "loss"}, {"run": run, "name": "none"}, {}):
        assert client.get("/curve", params=wrong).status_code == 404


def test_compared_runs_share_the_room(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(views, "MOST", 60)
    many(tmp_path, "a", 100)
    many(tmp_path, "b", 50)
    found = document(client, "/live/compare?run=a&run=b")
    by_run = {run: [s["name"] for s in panel_of(found)["series"] if s["run"] == run] for run in "ab"}
    assert by_run["a"] == by_run["b"] and len(by_run["a"]) == 30
    assert {run: len(left) for run, left in names_of(client, found)} == {"a": 72, "b": 22}


@pytest.mark.parametrize("name", ["a/b", "x#1", "q?2", "sp ace", "ü", "a&run=b"])
def test_names_are_quoted_in_every_address(client: TestClient, tmp_path: Path, name: str) -> None:  # noqa: F811
    written(tmp_path, name, 2).close()
    written(tmp_path, "other", 2).close()
    row = next(r for r in document(client, "/live/")["sections"][0]["panels"][0]["rows"] if r["name"] == name)
    assert client.get(row["address"]).status_code == 200
    for found in (
        document(client, "/live" + row["address"]),
        client.get("/live/compare", params={"run": [name, "other"], "stamp": "none"}).json(),
    ):
        address = found["live"]["address"]
        joined = f"{address}{'&' if '?' in address else '?'}stamp="
        assert client.get(joined).status_code == 200
        assert client.get(joined + found["live"]["stamp"].replace("#", "%23").replace("&", "%26")).status_code == 204
        blob = panel_of(found)["series"][0]["values"]["blob"]
        assert client.get(f"{found['live']['blobs']}{blob}").status_code == 200


def test_pages_are_forgotten_and_come_back_with_new_numbers(
    client: TestClient,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "PAGES", 3)
    for number in range(5):
        written(tmp_path, f"run{number}", 2 + number).close()
    first = document(client, "/live/run/run0")
    blob = panel_of(first)["series"][0]["values"]["blob"]
    for number in range(1, 5):
        document(client, f"/live/run/run{number}")
    assert client.get(f"{first['live']['blobs']}{blob}").status_code == 404
    # a browser that still shows the page is given it again, though the run has nothing new
    again = client.get("/live/run/run0", params={"stamp": first["live"]["stamp"]})
    assert again.status_code == 200
    new = panel_of(again.json())["series"][0]["values"]["blob"]
    assert new != blob and client.get(f"{again.json()['live']['blobs']}{new}").status_code == 200

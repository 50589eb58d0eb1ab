"""The studio over a real store: pages, what changes while a run is written, several runs, and in a browser."""

from __future__ import annotations

import io
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fluoroscope.results import Series
from fluoroscope.results.history import flat_config
from fluoroscope.studio.server import open_studio
from fluoroscope.studio.views import LONG, _reduced
from fluoroscope.training.store import Runs, RunWriter, open_runs


def written(folder: Path, name: str, steps: int, **config: Any) -> RunWriter:
    writer = RunWriter(folder, name, config=config)
    for step in range(steps):
        writer.scalars(step, {"loss": 1 / (step + 1), "accuracy": step / 10})
    return writer


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    studio = open_studio(open_runs(tmp_path))
    base, _, key = studio.address.partition("/?key=")
    client = TestClient(studio.app, base_url=base)
    client.get(f"/?key={key}")
    yield client
    studio.listener.close()


def document(client: TestClient, address: str) -> Any:
    answer = client.get(address, params={"stamp": "none"} if "?" not in address else None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_runs_are_listed_with_their_last_values(client: TestClient, tmp_path: Path) -> None:
    written(tmp_path, "first", 5, lr=0.1, model={"depth": 3}).close("finished")
    written(tmp_path, "second <b>", 3, lr=0.2)
    rows = {row["name"]: row for row in document(client, "/live/")["sections"][0]["panels"][0]["rows"]}
    assert rows["first"]["state"] == "finished"
    assert rows["first"]["steps"] == 4
    assert rows["first"]["values"] == [["loss", 0.2, ""], ["accuracy", 0.4, ""]]
    assert rows["first"]["config"] == [["lr", "0.1"], ["model.depth", "3"]]
    assert rows["second <b>"]["state"] == "running"
    assert rows["second <b>"]["address"] == "/run/second%20%3Cb%3E"
    assert "<b>" not in client.get("/").text.split('id="fs-document">')[1].split("</script>")[0]


def test_a_page_hears_of_new_steps_and_of_nothing_else(client: TestClient, tmp_path: Path) -> None:
    writer = written(tmp_path, "run", 3)
    first = document(client, "/live/run/run")
    stamp = first["live"]["stamp"]
    assert client.get("/live/run/run", params={"stamp": stamp}).status_code == 204
    writer.scalars(3, {"loss": 7.0})
    second = client.get("/live/run/run", params={"stamp": stamp})
    assert second.status_code == 200
    series = {s["name"]: s for p in second.json()["sections"][0]["panels"] for s in p.get("series", ())}
    values = client.get(f"{first['live']['blobs']}{series['loss']['values']['blob']}")
    import gzip

    kind = {"f4": "<f4", "f8": "<f8"}[series["loss"]["values"]["dtype"]]
    np.testing.assert_allclose(np.frombuffer(gzip.decompress(values.content), kind), [1, 1 / 2, 1 / 3, 7], rtol=1e-6)


def test_blocks_of_the_page_before_are_kept_and_older_ones_are_forgotten(client: TestClient, tmp_path: Path) -> None:
    writer = written(tmp_path, "run", 3)
    blobs = []
    for step in range(3, 9):
        found = document(client, "/live/run/run")
        panel = next(p for p in found["sections"][0]["panels"] if "series" in p)
        blobs.append(next(s for s in panel["series"] if s["name"] == "loss")["values"]["blob"])
        writer.scalars(step, {"loss": float(step)})
    assert len(set(blobs)) == len(blobs)
    assert [client.get(f"{found['live']['blobs']}{b}").status_code for b in blobs] == [404, 404, 404, 200, 200, 200]


def test_runs_compared(client: TestClient, tmp_path: Path) -> None:
    for name, lr in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        written(tmp_path, name, 3, lr=lr).close("finished")
    found = document(client, "/live/compare?run=a&run=c")
    (section,) = found["sections"]
    (panel,) = section["panels"]
    assert len(panel["series"]) == 4
    assert panel["axis"] == "step" and set(panel["runs"]) == {"a", "c"}
    assert len({found["title"], section["title"], panel["title"]}) == 3


@pytest.mark.parametrize(
    "address", ["/run/none", "/live/run/none", "/compare?run=none", "/blobs/9999/0", "/other", "/run/../x"]
)
def test_what_is_not_there(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_names_with_a_slash_and_with_its_escape_are_two_runs(tmp_path: Path) -> None:
    """Over a real server, which takes the escapes of an address away once."""
    for steps, name in enumerate(("a/b", "a%2Fb", "50%"), 1):
        written(tmp_path, name, steps).close("finished")
    studio = open_studio(open_runs(tmp_path))
    threading.Thread(target=studio.serve, daemon=True).start()
    base, _, key = studio.address.partition("/?key=")
    for name in ("a/b", "a%2Fb", "50%"):
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        address = quote(name, safe="")
        page = browser.open(f"{base}/run/{address}?key={key}").read().decode()
        assert re.search(r"<title>([^<]*)", page)[1].startswith(name)
        found = json.load(browser.open(f"{base}/live/run/{address}"))
        assert (found["title"], found["live"]["address"]) == (name, f"/live/run/{address}")


def test_of_a_damaged_run_the_page_shows_what_can_be_read(client: TestClient, tmp_path: Path) -> None:
    with RunWriter(tmp_path, "a") as run:
        run.columns("loss", np.arange(4000), np.linspace(2, 1, 4000))
        run.columns("lost", np.arange(4000), np.full(4000, 0.123456))
    raw = run.file.read_bytes()
    place = raw.rindex(np.float64(0.123456).tobytes() * 8)
    run.file.write_bytes(raw[: place - place % 4096] + b"\xff" * 4096 + raw[place - place % 4096 + 4096 :])
    panels = {p["title"]: p for p in document(client, "/live/run/a")["sections"][0]["panels"]}
    assert [s["name"] for s in panels["Curves"]["series"]] == ["loss"]
    assert "1 of 2 series can't be read and are left out: lost" in panels["Curves"]["notes"][0]
    assert panels["Diagnosis"]["kind"] == "findings" and panels["Diagnosis"]["checked"]
    assert "lost" in panels["Diagnosis"]["notes"][0]


def test_the_page_may_ask_its_own_server_only(client: TestClient) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', client.get("/").text)
    assert policy
    assert "default-src 'none'; connect-src 'self';" in policy[1]


def test_long_series_keep_their_extremes_and_gaps() -> None:
    values = np.random.default_rng(0).standard_normal(5 * LONG)
    values[12345], values[54321] = 100, -100
    values[777] = np.nan
    series = _reduced(Series(steps=np.arange(len(values)), values=values))
    assert len(series.steps) <= 1.6 * LONG
    assert {12345, 54321, 777, 0, len(values) - 1} <= set(series.steps.tolist())
    np.testing.assert_array_equal(series.values, values[series.steps])
    assert (np.diff(series.steps) > 0).all()


def test_nested_configurations_are_flat() -> None:
    assert dict(flat_config({"a": {"b": 1, "c": {"d": 2}}, "e": 3})) == {"a.b": 1, "a.c.d": 2, "e": 3}


def test_a_browser_follows_a_run(chromium: Any, tmp_path: Path) -> None:
    """The list, a click, a curve that grows while it is looked at, and a word when the studio is gone."""
    writer = written(tmp_path, "watched", 5)
    studio = open_studio(open_runs(tmp_path))
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(studio.app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [studio.listener]}, daemon=True)
    thread.start()
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(studio.address)
    page.locator("td dt").first.wait_for()
    one_line = "a => a.map((e) => e.offsetHeight < 2 * parseFloat(getComputedStyle(e).fontSize))"
    assert all(page.locator("td dt").evaluate_all(one_line))  # no name of a series is broken
    page.get_by_role("link", name="watched").click()
    page.wait_for_selector("text=Last step")
    writer.scalars(123456, {"loss": 0.5, "accuracy": 0.9})
    page.wait_for_selector("text=123,456")
    server.should_exit = True
    thread.join(10)
    page.wait_for_selector("text=does not answer")
    page.close()
    assert not errors


def test_the_diagnosis_is_on_the_page_and_what_was_logged_stands_first(client: TestClient, tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, "run")
    for step in range(60):
        writer.scalars(step, {"learning_rate": 0.1, "accuracy": 0.5, "loss": 1.0 if step < 30 else float("nan")})
    panels = {p["title"]: p for p in document(client, "/live/run/run")["sections"][0]["panels"]}
    assert "Diagnosis" in panels
    assert [s["name"] for s in panels["Curves"]["series"]] == ["loss", "accuracy", "learning_rate"]


def test_pictures_are_read_from_the_file_only_when_they_are_asked_for(client: TestClient, tmp_path: Path) -> None:
    files = []
    for level in (1, 2):
        file = io.BytesIO()
        Image.new("RGB", (6, 4), (level, 0, 0)).save(file, "PNG")
        files.append(file.getvalue())
    writer = written(tmp_path, "run", 2)
    writer.images(0, "p <b>", [files[0]])
    writer.texts(1, "t", ["<script>"])
    first = document(client, "/live/run/run")
    panel = next(p for p in first["sections"][0]["panels"] if p["kind"] == "media")
    (item,) = panel["images"][0]["items"]
    assert item["step"] == 0 and (item["image"]["width"], item["image"]["height"]) == (6, 4)
    assert client.get(f"{first['live']['blobs']}{item['image']['blob']}").content == files[0]
    writer.images(1, "p <b>", [files[1]])
    grown = document(client, "/live/run/run")
    panel = next(p for p in grown["sections"][0]["panels"] if p["kind"] == "media")
    again, new = panel["images"][0]["items"]
    assert (
        again["image"] == item["image"]
        and client.get(f"{grown['live']['blobs']}{new['image']['blob']}").content == files[1]
    )
    assert "<script>" not in client.get("/run/run").text.split('id="fs-document">')[1].split("</script>")[0]


def test_the_studio_may_start_before_the_folder_is_there(tmp_path: Path) -> None:
    studio = open_studio(Runs(tmp_path / "later", awaited=True))
    base, _, key = studio.address.partition("/?key=")
    client = TestClient(studio.app, base_url=base)
    try:
        assert client.get(f"/?key={key}").status_code == 200
        written(tmp_path / "later", "first", 2).close("finished")
        rows = document(client, "/live/")["sections"][0]["panels"][0]["rows"]
        assert [row["name"] for row in rows] == ["first"]
    finally:
        studio.listener.close()

"""The live diagnosis and its alerts: each finding once, never in the way of a training."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import OptionError, TrainingStopped
from fluoroscope.results import History, Series, TensorHistory
from fluoroscope.training.diagnosis import Announcement
from tests.diagnosis.made_runs import falling, noisy


class Growing:
    """A run of which more is seen at each look."""

    def __init__(self, loss: Any) -> None:
        self.loss, self.count, self.should_stop, self.looks = np.asarray(loss), 0, False, 0

    def history(self) -> History:
        self.looks += 1
        steps = np.arange(1, self.count + 1)
        return History(series={"loss": Series(steps=steps, values=self.loss[: self.count])}, title="growing")

    def tensor_history(self) -> TensorHistory:
        return TensorHistory(names=(), steps=np.zeros(0, np.int64), statistics={})


def watched(run: Growing, **options: Any) -> tuple[fs.Watcher, list[tuple[int, str]]]:
    told: list[tuple[int, str]] = []
    alerts = [lambda news: told.append((news.step, news.finding.rule)), *options.pop("alerts", ())]
    watch = fs.Watcher(run, every=10, share=1.0, alerts=alerts, **options)
    for n in range(len(run.loss)):
        run.count = n + 1
        watch.step()
        if watch.should_stop:
            break
    return watch, told


def nan_at(step: int) -> Any:
    loss = falling(steps=200)
    loss[step - 1 :] = np.nan
    return loss


def test_a_finding_is_told_once_and_at_the_next_look() -> None:
    _, told = watched(Growing(nan_at(53)))
    assert told == [(60, "nan-origin")]


def test_a_healthy_run_is_left_alone() -> None:
    watch, told = watched(Growing(falling()))
    assert told == []
    assert watch.findings.checked


def test_what_looks_like_never_has_to_last_for_half_of_the_run() -> None:
    slow_start = np.concatenate([noisy(np.full(90, 2.3), 0.02), falling(steps=300)])
    assert watched(Growing(slow_start), rules=["plateau"])[1] == []
    ((step, rule),) = watched(Growing(noisy(np.full(400, 2.3), 0.02)), rules=["plateau"])[1]
    assert rule == "plateau"
    assert step >= 120


def test_stopping_is_a_flag_on_watcher_and_run() -> None:
    run = Growing(nan_at(53))
    watch, _ = watched(run, alerts=[fs.StopTraining()])
    assert watch.should_stop and run.should_stop
    assert run.count == 60
    other = Growing(nan_at(53))
    assert not watched(other, alerts=[fs.StopTraining(rules=["plateau"])])[0].should_stop
    assert other.count == 200


def test_stopping_by_an_exception_says_why() -> None:
    with pytest.raises(TrainingStopped, match="the loss became NaN") as stopped:
        watched(Growing(nan_at(53)), alerts=[fs.StopTraining(raises=True)])
    assert stopped.value.exit_code == 9


def test_an_alert_that_fails_is_logged_and_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(news: Announcement) -> None:
        raise OSError("no route")

    run = Growing(nan_at(53))
    with caplog.at_level(logging.WARNING, "fluoroscope"):
        watched(run, alerts=[broken])
    assert run.count == 200
    assert [r.message for r in caplog.records] == ["an alert failed: OSError: no route; training goes on"]


def test_a_run_that_can_not_be_read_costs_the_training_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Gone(Growing):
        def history(self) -> History:
            raise OSError("disk")

    with caplog.at_level(logging.WARNING, "fluoroscope"):
        watched(Gone(falling(steps=20)))
    assert "the live diagnosis failed: OSError: disk; training goes on" in caplog.text


def test_time_for_diagnoses_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    from fluoroscope.training.diagnosis import watcher

    clock = iter(np.arange(0, 1e6, 1.0))  # each look takes one second, each step another
    monkeypatch.setattr(watcher.time, "perf_counter", lambda: next(clock))
    run = Growing(falling(steps=500))
    watch = fs.Watcher(run, every=1, share=0.02)
    for n in range(500):
        run.count = n + 1
        watch.step()
    assert 8 <= run.looks <= 11


@pytest.mark.parametrize("options", [{"every": 0}, {"share": 0.0}, {"share": 2.0}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        fs.Watcher(Growing([1.0]), **options)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server on this machine that keeps what is posted; ``/moved`` redirects, ``/broken`` fails."""
    got: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response({"/moved": 302, "/broken": 500}.get(self.path, 200))
            if self.path == "/moved":
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", got
    made.shutdown()
    made.server_close()


def test_a_webhook_posts_json(server: tuple[str, list[Any]]) -> None:
    url, got = server
    hook = fs.Webhook(f"{url}/hook", headers={"Authorization": "Bearer abc"})
    watched(Growing(nan_at(53)), alerts=[hook])
    hook.close()
    ((path, headers, body),) = got
    assert (path, headers["Content-Type"], headers["Authorization"]) == ("/hook", "application/json", "Bearer abc")
    assert (body["run"], body["rule"], body["step"], body["severity"]) == ("growing", "nan-origin", 60, "problem")
    assert body["advice"] and "NaN" in body["evidence"]
    assert hook.failures == 0


def test_a_webhook_that_fails_is_counted_and_follows_no_redirect(
    server: tuple[str, list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    url, got = server
    for path in ("/broken", "/moved"):
        hook = fs.Webhook(url + path)
        with caplog.at_level(logging.WARNING, "fluoroscope"):
            watched(Growing(nan_at(53)), alerts=[hook])
            hook.close()
        assert hook.failures == 1 and hook.last_error.startswith("HTTPError")
    assert [p for p, *_ in got] == ["/broken", "/moved"]
    assert "could not be sent to 127.0.0.1" in caplog.text


def test_a_webhook_nobody_answers_does_not_hold_up_the_training() -> None:
    hook = fs.Webhook("http://127.0.0.1:9/", timeout=1.0)
    run = Growing(nan_at(53))
    watched(run, alerts=[hook])
    hook.close()
    assert run.count == 200
    assert hook.failures == 1


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "host/path", "http://", "javascript:alert(1)", ""]
)
def test_only_web_addresses_are_hooks(url: str) -> None:
    with pytest.raises(OptionError):
        fs.Webhook(url)
    with pytest.raises(OptionError):
        fs.Webhook("http://host/", timeout=0)

"""The studio's door: who is let in, and what no answer lacks."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from fluoroscope.errors import OptionError
from fluoroscope.studio.security import Guard
from fluoroscope.studio.server import open_studio

HOST = "127.0.0.1:8000"


@pytest.fixture
def client() -> TestClient:
    guard = Guard(PlainTextResponse("inside"), key="secret", hosts=[HOST], port=8000)
    return TestClient(guard, base_url=f"http://{HOST}", follow_redirects=False)


def test_without_the_key_the_door_is_closed(client: TestClient) -> None:
    for address in ("/", "/?key=wrong", "/blobs/0", "/?key="):
        answer = client.get(address)
        assert answer.status_code == 403
        assert "inside" not in answer.text


def test_the_key_opens_once_and_the_cookie_from_then_on(client: TestClient) -> None:
    answer = client.get("/run/a?key=secret")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/run/a"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/").text == "inside"


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/run/a%2Fb?key=secret", "/run/a%2Fb"),
        ("/run/a%252Fb?key=secret", "/run/a%252Fb"),
        ("/compare?run=a%252Fb&key=secret&run=a%2Fb", "/compare?run=a%252Fb&run=a%2Fb"),
        ("//evil.example/?key=secret", "/evil.example/"),
    ],
)
def test_the_key_leaves_the_address_as_it_was_asked_for(client: TestClient, asked: str, location: str) -> None:
    answer = client.get(f"http://{HOST}{asked}")
    assert (answer.status_code, answer.headers["location"]) == (303, location)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1:9000", ""])
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    client.get("/?key=secret")
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_taken(client: TestClient, method: str) -> None:
    client.get("/?key=secret")
    assert client.request(method, "/").status_code == 405


def test_other_sites_may_not_ask(client: TestClient) -> None:
    client.get("/?key=secret")
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    assert client.get("/", headers=headers).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}).status_code == 200


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for answer in (client.get("/"), client.get("/?key=secret"), client.get("/"), client.post("/")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_it_listens_on_this_machine_only_and_says_when_it_cannot() -> None:
    studio = open_studio({})
    try:
        host, port = studio.listener.getsockname()
        assert host == "127.0.0.1"
        assert studio.address.startswith(f"http://127.0.0.1:{port}/?key=")
        with pytest.raises(OptionError, match="can't listen"):
            open_studio({}, port=port)
    finally:
        studio.listener.close()

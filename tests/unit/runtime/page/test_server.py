"""The page's server as a browser, and as who should not see it, finds it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import InputError
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.page import pictures
from edgecnn.runtime.page.server import PageSink

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'edgecnn[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'edgecnn[serve]'")
TOKEN = "a-token-of-22-letters!"
FrameOf = Callable[..., Frame]


class _Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()


def ask(page: PageSink, path: str, method: str = "GET", **headers: str) -> _Answer:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = _Answer(connection.getresponse())
    connection.close()
    return answer


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def page(metrics: Metrics) -> Iterator[PageSink]:
    page = PageSink("127.0.0.1", 0, metrics, title="digits")
    yield page
    page.close()


@pytest.fixture
def guarded(metrics: Metrics) -> Iterator[PageSink]:
    page = PageSink("0.0.0.0", 0, metrics, token=TOKEN)
    yield page
    page.close()


def test_page_and_assets_forbid_everything_foreign(page: PageSink) -> None:
    answer = ask(page, "/")
    assert answer.status == 200
    assert b"<title>edgecnn</title>" in answer.body
    assert b"://" not in answer.body
    for path in ("/", "/assets/page.js", "/assets/page.css", "/assets/uPlot.iife.min.js", "/status", "/nothing"):
        found = ask(page, path)
        policy = found.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "server" not in found.headers


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/..%2fserver.py",
        "/assets/%2e%2e/%2e%2e/errors.py",
        "/assets/..%5c..%5cserver.py",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/../../../../etc/passwd",
        "/assets/page.html",
        "/assets/page.js%00.css",
        "/assets/",
        "/etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_outside(page: PageSink, path: str) -> None:
    answer = ask(page, path)
    assert answer.status == 404
    assert len(answer.body) < 50


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_for_reading_only(page: PageSink, method: str) -> None:
    assert ask(page, "/status", method).status == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5", ""])
def test_other_names_than_this_machines_are_refused(page: PageSink, host: str) -> None:
    assert ask(page, "/", host=host).status in (400, 421)
    assert ask(page, "/status", host=host).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:80", "LOCALHOST:1"])
def test_this_machines_names_are_not(page: PageSink, host: str) -> None:
    assert ask(page, "/", host=host).status == 200


def test_on_other_addresses_a_token_is_wanted_for_everything(guarded: PageSink) -> None:
    for path in ("/", "/status", "/picture?source=door", "/assets/page.js", "/nothing", "/status?token=" + TOKEN):
        assert ask(guarded, path).status == 401
    for wrong in (TOKEN[:-1], TOKEN + "x", "", TOKEN.upper(), "%FF%FE", "\u00e9".encode().hex()):
        assert ask(guarded, f"/?token={wrong}").status == 401
        assert ask(guarded, "/status", authorization=f"Bearer {wrong}").status == 401
        assert ask(guarded, "/status", cookie=f"edgecnn-{guarded.port}={wrong}").status == 401
    assert b'name="token"' in ask(guarded, "/").body
    assert ask(guarded, "/status", authorization=f"Bearer {TOKEN}").status == 200
    assert ask(guarded, "/", host="192.168.1.5:8080", authorization=f"Bearer {TOKEN}").status == 200
    assert ask(guarded, "/", host="evil.example", authorization=f"Bearer {TOKEN}").status == 421


def test_the_token_is_given_once_and_a_cookie_kept(guarded: PageSink) -> None:
    answer = ask(guarded, f"/?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    kept = cookie.partition(";")[0]
    assert ask(guarded, "/status", cookie=f"other=1; {kept}").status == 200
    assert guarded.url.endswith(f":{guarded.port}/?token={TOKEN}")


def test_a_token_is_made_where_none_was_given_and_a_short_one_refused(metrics: Metrics) -> None:
    page = PageSink("0.0.0.0", 0, metrics)
    token = page.url.partition("?token=")[2]
    try:
        assert len(token) >= 24
        assert ask(page, "/status").status == 401
        assert ask(page, "/status", authorization=f"Bearer {token}").status == 200
    finally:
        page.close()
    with pytest.raises(InputError, match="can be guessed"):
        PageSink("0.0.0.0", 0, metrics, token="secret")
    with pytest.raises(InputError, match="can be guessed"):
        PageSink("0.0.0.0", 0, metrics, token="")


def test_the_newest_picture_with_the_result_in_it(page: PageSink, frame_of: FrameOf, result: Classification) -> None:
    for index, level in enumerate((0, 120, 250)):
        page.write(frame_of(index, level=level, size_hw=(360, 640)), result, 0)
    answer = ask(page, "/picture?source=door&width=300")
    assert (answer.status, answer.headers["content-type"], answer.headers["x-number"]) == (200, "image/jpeg", "3")
    picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] == 480
    assert picture[:200].mean() == pytest.approx(250, abs=3)
    assert picture.shape[0] > 270  # the strip with the classes
    assert ask(page, "/picture?source=door&after=3&width=300").status == 204
    assert ask(page, "/picture?source=nobody").status == 204
    assert ask(page, "/picture").status == 204


@pytest.mark.parametrize("query", ["after=x&width=-1", "after=1e9", "width=99999999999999999999", "after=\u0663"])
def test_odd_questions_get_a_picture_too(page: PageSink, frame_of: FrameOf, result: Classification, query: str) -> None:
    page.write(frame_of(0), result, 0)
    from urllib.parse import quote

    assert ask(page, f"/picture?source=door&{quote(query, safe='=&')}").status == 200


def test_pictures_are_encoded_only_when_asked_for_and_for_all_who_ask_once(
    page: PageSink, frame_of: FrameOf, result: Classification, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = pictures._jpeg

    def count(frame: Frame, *rest: Any) -> bytes:
        encoded.append(frame.index)
        return original(frame, *rest)

    monkeypatch.setattr(pictures, "_jpeg", count)
    for index in range(50):
        page.write(frame_of(index), result, 0)
    assert encoded == []
    answers: list[_Answer] = []
    asking = [
        threading.Thread(target=lambda: answers.append(ask(page, "/picture?source=door&width=480"))) for _ in range(8)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 8
    assert encoded == [49]


def test_the_status_has_what_is_new(page: PageSink, metrics: Metrics) -> None:
    metrics.source("door").enter("lost", "no answer")
    end = time.monotonic() + 20
    while not (found := json.loads(ask(page, "/status").body))["last"] or "door" not in found["sources"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (found["title"], found["sources"]["door"]["reason"]) == ("digits", "no answer")
    again = json.loads(ask(page, f"/status?run={found['run']}&after={found['last']}").body)
    assert len(again["history"]["time"]) <= 1
    # The number is one of another run.
    other = json.loads(ask(page, f"/status?run=other&after={found['last']}").body)
    assert other["history"]["number"][0] == 1


def test_its_thread_ends_with_it_though_somebody_waits(metrics: Metrics) -> None:
    before = threading.active_count()
    page = PageSink("127.0.0.1", 0, metrics)
    ask(page, "/")
    waiting = threading.Thread(target=lambda: ask(page, "/picture?source=door"))
    waiting.start()
    silent = http.client.HTTPConnection("127.0.0.1", page.port)
    silent.connect()
    page.close()
    waiting.join(20)
    silent.close()
    assert not page._thread.is_alive()
    assert not waiting.is_alive()
    end = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_port_that_is_taken_is_told_of(page: PageSink, metrics: Metrics) -> None:
    with pytest.raises(InputError, match=f"--page 127.0.0.1:{page.port}: Address already in use"):
        PageSink("127.0.0.1", page.port, metrics)

"""Addresses to listen at."""

from __future__ import annotations

import socket

import pytest

from edgecnn.errors import InputError
from edgecnn.runtime.listen import is_loopback, listen, parse_listen, shown_url


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("camera.local:0", ("camera.local", 0)),
        ("[::1]:8080", ("::1", 8080)),
    ],
)
def test_a_host_and_a_port(text: str, wanted: tuple[str, int]) -> None:
    assert parse_listen(text, "--page") == wanted


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "1:2:3", "::1:80", "host:99999", "http://host:80", "-1"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--page"):
        parse_listen(text, "--page")


def test_a_port_that_is_taken_is_told_of() -> None:
    first = listen("127.0.0.1", 0, "--page")
    host, port = first.getsockname()
    assert shown_url(first) == f"http://127.0.0.1:{port}/"
    with pytest.raises(InputError, match=f"--page 127.0.0.1:{port}: Address already in use"):
        listen(host, port, "--page")
    first.close()


def test_all_addresses_are_shown_by_one_that_can_be_used() -> None:
    everywhere = listen("0.0.0.0", 0, "--page")
    host, port = shown_url(everywhere).removeprefix("http://").rstrip("/").split(":")
    assert host != "0.0.0.0"
    socket.create_connection((host, int(port)), 10).close()
    everywhere.close()


def test_a_host_that_is_none_is_told_of() -> None:
    with pytest.raises(InputError, match="--metrics"):
        listen("192.0.2.1", 80, "--metrics")


@pytest.mark.parametrize(
    ("host", "wanted"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_who_can_reach_it(host: str, wanted: bool) -> None:
    assert is_loopback(host) == wanted

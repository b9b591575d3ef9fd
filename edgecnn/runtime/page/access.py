"""Who may see the page: the checks before each answer, and the headers with it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from edgecnn.errors import InputError
from edgecnn.runtime.listen import is_loopback

_LEAST_TOKEN = 16
_MAX_AGE_S = 30 * 24 * 3600

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ASK = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>edgecnn</title></head>
<body><form action="/" method="get"><h1>This page wants its token</h1>
<p>The run has printed a link with it when it began.</p>
<p><label>Token <input name="token" type="password" required autofocus></label> <button>Open</button></p>
</form></body></html>
"""


def choose_token(host: str, given: str | None) -> str:
    """The token that the page wants; empty where none is needed, as this machine alone can ask.

    Raises:
        InputError: The given one is too short to keep anybody out.
    """
    if given is not None:
        if len(given) < _LEAST_TOKEN:
            raise InputError(
                f"--page-token: a token of {len(given)} characters can be guessed",
                f"take {_LEAST_TOKEN} or more, or leave it out: one is made then",
            )
        return given
    return "" if is_loopback(host) else secrets.token_urlsafe(18)


class Guard:
    """Lets through who asks for this host and has the token.

    A page of another site that has its own name point here (DNS rebinding) asks with that name, and is refused. A
    browser gives the token once, in the address, and has a cookie from then on.

    Args:
        app: Behind it.
        host: That the server listens at.
        port: The cookie's name has it, as browsers do not keep cookies of ports apart.
        token: Empty where none is wanted.
    """

    def __init__(self, app: App, host: str, port: int, token: str) -> None:
        self._app, self._token = app, token
        self._loopback = is_loopback(host)
        name = socket.gethostname().lower()
        self._names = {"localhost"} if self._loopback else {"localhost", name, f"{name}.local", host.lower()}
        self._cookie_name = f"edgecnn-{port}"
        # Not the token itself, which whoever reads the browser's files could use elsewhere.
        self._cookie = hmac.new(token.encode(), b"edgecnn page", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._is_ours(headers.get(b"host", "")):
            await _answer(send, 421, "this is not the name of this machine; ask for its address, or for localhost")
            return
        if self._token:
            offered = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[-1]
            if scope["path"] == "/" and offered and self._is_token(offered):
                cookie = f"{self._cookie_name}={self._cookie}; Path=/; Max-Age={_MAX_AGE_S}; HttpOnly; SameSite=Strict"
                await _answer(send, 303, "", ((b"location", b"/"), (b"set-cookie", cookie.encode())))
                return
            if not self._has_token(headers):
                kind = b"text/html; charset=utf-8" if scope["path"] == "/" else b"text/plain; charset=utf-8"
                text = _ASK if scope["path"] == "/" else "the token is missing or wrong"
                await _answer(send, 401, text, ((b"content-type", kind),))
                return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._loopback

    def _has_token(self, headers: MutableMapping[bytes, str]) -> bool:
        scheme, _, bearer = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer):
            return True
        cookies = (part.strip().partition("=") for part in headers.get(b"cookie", "").split(";"))
        return any(name == self._cookie_name and _equal(value, self._cookie) for name, _, value in cookies)

    def _is_token(self, offered: str) -> bool:
        return _equal(offered, self._token)


def _equal(first: str, second: str) -> bool:
    """In a time that tells nothing of how much of it is right."""
    return hmac.compare_digest(first.encode("utf-8", "surrogateescape"), second.encode())


async def _answer(send: Send, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = text.encode()
    kind = () if any(name == b"content-type" for name, _ in headers) else ((b"content-type", b"text/plain"),)
    length = (b"content-length", str(len(body)).encode())
    all_headers = [*headers, *kind, length, (b"cache-control", b"no-store"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})

"""Addresses that this program listens at."""

from __future__ import annotations

import ipaddress
import re
import socket

from edgecnn.errors import InputError

_BACKLOG = 64


def parse_listen(text: str, option: str) -> tuple[str, int]:
    """``[HOST:]PORT``; without a host this machine alone can ask: 127.0.0.1.

    Raises:
        InputError: It is not of that form.
    """
    matched = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[^:\[\]/\s]+):)?(\d{1,5})", text.strip())
    if matched is None or int(matched[2]) > 65535:
        raise InputError(f"{option} {text}: not of the form [HOST:]PORT", "for example 8080, or 0.0.0.0:8080")
    return (matched[1] or "127.0.0.1").strip("[]"), int(matched[2])


def listen(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        InputError: The address is taken, or not this machine's.
    """
    try:
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"{option} {host}:{port}: {error.strerror or error}", "check the host") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{option} {host}:{port}: {error.strerror or error}", "choose another port, or end who has it: ss -ltnp"
        ) from None
    return listening


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown_url(listening: socket.socket) -> str:
    """Where a browser finds it; what listens at all addresses is shown with the one that other machines use."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared only
        host = _outer_address()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _outer_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; the system chooses the address that it would send from
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])

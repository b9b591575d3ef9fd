"""Results as events for an MQTT broker: kept on disk until it has them."""

from __future__ import annotations

import hashlib
import os
import queue
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.errors import InputError, missing_extra
from edgecnn.runtime.events import event_of
from edgecnn.runtime.sinks.base import Delivery
from edgecnn.runtime.sinks.spool import Spool

PASSWORD_VARIABLE = "EDGECNN_MQTT_PASSWORD"  # noqa: S105 - its name
DEFAULT_SPOOL_BYTES = 200_000_000
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FORM = "mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC"
_KEEP_ALIVE_S = 30
_CONNECT_S = 5.0
_LAST_RETRY_S = 30
# Messages on their way at a time, as brokers allow by default.
_IN_FLIGHT = 20
_LOOK_S = 0.5
_LAST_CHANCE_S = 1.0


@dataclass(frozen=True)
class BrokerAddress:
    """Where events go.

    Attributes:
        user: Empty for none.
        password: Not in ``repr``, nor in ``str``.
    """

    host: str
    port: int
    topic: str
    tls: bool
    user: str
    password: str

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}/{self.topic}"

    __repr__ = __str__


def parse_broker(text: str) -> BrokerAddress:
    """``mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC``; without a password there, it is the environment's.

    Raises:
        InputError: It is not of that form. The message does not repeat the password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError(f"--mqtt: the host or port is not understood in {_FORM}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InputError(f"--mqtt: not of the form {_FORM}", "for example mqtt://broker.local/cameras/door")
    topic = unquote(parts.path.removeprefix("/"))
    if not topic or any(sign in topic for sign in "+#\0") or parts.query or parts.fragment:
        raise InputError(
            f"--mqtt: {topic!r} is no topic to publish to",
            "for example mqtt://broker.local/cameras/door, without + and #",
        )
    password = unquote(parts.password or "") or os.environ.get(PASSWORD_VARIABLE, "")
    user = unquote(parts.username or "")
    return BrokerAddress(parts.hostname, port or _PORTS[parts.scheme], topic, parts.scheme == "mqtts", user, password)


class MqttSink:
    """Publishes the event of each frame with QoS 1, and whether the run is on, retained, under ``TOPIC/status``.

    Each event is first put on disk, and removed from there when the broker has confirmed it: it survives a broker
    that is away and the end of this process, of whatever kind. The order is kept. The broker may get an event twice, as
    always with QoS 1; its id tells.

    Args:
        address: The broker and the topic.
        run: The name of the run.
        folder: Of the events that wait, by default ``edgecnn/mqtt`` in the user's state folder; each broker and topic
            has a subfolder.
        spool_bytes: Of all events that wait; where they are more, the oldest go, and are counted.
        authority: Certificates to trust, in a PEM file, in place of the system's.
        say: Gets a sentence where something is not as it should be.

    Raises:
        EnvironmentMissing: paho-mqtt is not installed.
        InputError: The certificates cannot be read.
        OSError: The folder cannot be written.
    """

    def __init__(
        self,
        address: BrokerAddress,
        run: str,
        *,
        folder: Path | None = None,
        spool_bytes: int = DEFAULT_SPOOL_BYTES,
        authority: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        try:
            from paho.mqtt import client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise missing_extra("paho-mqtt", "mqtt") from None
        self._address, self._run, self._topic = address, run, address.topic
        key = hashlib.sha256(f"{address.host}:{address.port}/{address.topic}".encode()).hexdigest()[:16]
        self._spool = Spool((folder or _state_folder()) / key, spool_bytes)
        if self._spool.damaged:
            say(f"--mqtt {address}: the events that waited were damaged, and are put aside as {self._spool.damaged}")
        self._trouble = ""
        self._sent = 0  # the number of the last message that was handed to paho
        self._in_flight: dict[int, int] = {}
        self._confirmed: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._closing = self._failed = False
        self._client: Any = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"edgecnn-{secrets.token_hex(6)}")
        self._client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        if address.user or address.password:
            self._client.username_pw_set(address.user, address.password)
        if address.tls:
            try:
                self._client.tls_set_context(ssl.create_default_context(cafile=str(authority) if authority else None))
            except (OSError, ssl.SSLError) as error:
                raise InputError(f"--mqtt-ca {authority}: {error}", "give a PEM file of certificates") from None
        self._client.connect_timeout = _CONNECT_S
        self._client.max_inflight_messages_set(_IN_FLIGHT)
        self._client.reconnect_delay_set(1, _LAST_RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(address.host, address.port, _KEEP_ALIVE_S)
        self._client.loop_start()
        self._pump = threading.Thread(target=self._run_pump, name="mqtt", daemon=True)
        self._pump.start()

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``."""
        payload = event_of(self._run, frame, result, age_ns).model_dump_json(by_alias=True).encode()
        self._spool.add(payload, self._sent)
        self._wake.set()

    def delivery(self) -> Delivery:
        """See ``DeliveringSink.delivery``."""
        return Delivery(self._spool.waiting, self._spool.dropped, self._trouble)

    def close(self) -> None:
        """Send what can be sent at once, say ``offline``, and leave the rest to the next run."""
        self._closing = True
        self._wake.set()
        self._pump.join()
        if self._client.is_connected():
            self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True).wait_for_publish(
                _LAST_CHANCE_S
            )
        # Its thread ends behind this; to wait for it would mean to wait for a connection that nobody answers.
        self._client.disconnect()
        self._take_confirmed()
        left, folder = self._spool.waiting, self._spool.folder
        self._spool.close()
        self._trouble = f"--mqtt {self._address}: {left} events wait in {folder} for the next run" if left else ""

    def _run_pump(self) -> None:
        end_s = 0.0
        while True:
            self._wake.wait(_LOOK_S)
            self._wake.clear()
            try:
                self._take_confirmed()
                if self._client.is_connected() and not self._failed:
                    self._send()
            except OSError as error:  # of the disk; what is there stays there
                self._trouble = f"--mqtt {self._address}: {error.strerror} ({error.filename})"
            if self._closing:
                end_s = end_s or time.monotonic() + _LAST_CHANCE_S
                if not self._spool.waiting or not self._client.is_connected() or time.monotonic() > end_s:
                    return

    def _send(self) -> None:
        for number, payload in self._spool.after(self._sent, _IN_FLIGHT - len(self._in_flight)):
            # Without a connection paho keeps the message, and sends it, and those on their way, before any other.
            self._in_flight[self._client.publish(self._topic, payload, qos=1).mid] = number
            self._sent = number

    def _take_confirmed(self) -> None:
        numbers: list[int] = []
        while not self._confirmed.empty():
            number = self._in_flight.pop(self._confirmed.get(), None)
            if number is not None:
                numbers.append(number)
        if numbers:
            self._spool.remove(numbers)

    # Called by paho's thread, while it holds its locks: nothing here may call paho back, but to publish.

    def _on_connect(self, client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._failed = bool(reason.is_failure)
        if self._failed:
            self._trouble = f"--mqtt {self._address}: the broker refuses: {str(reason).lower()}"
        else:
            self._trouble = ""
            client.publish(f"{self._topic}/status", "online", qos=1, retain=True)
        self._wake.set()

    def _on_connect_fail(self, _client: object, _data: object) -> None:
        # Paho does not hand the reason over, but calls this while it handles it.
        error = sys.exc_info()[1]
        self._trouble = f"--mqtt {self._address}: cannot be reached{f' ({error})' if error else ''}"

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure and not self._failed:
            self._trouble = f"--mqtt {self._address}: the connection is lost"

    def _on_publish(self, _client: object, _data: object, message: int, *_: object) -> None:
        self._confirmed.put(message)
        self._wake.set()


def _state_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgecnn" / "mqtt"

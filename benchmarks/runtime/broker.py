"""An MQTT broker to stop and to start, and a consumer that counts what it gets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

_PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
_LONG_S = 30.0


class Broker:
    """A mosquitto that keeps its clients' messages over a restart.

    Args:
        folder: Its own, which is made.
        more: Further lines of its configuration; by default everybody may come.

    Raises:
        FileNotFoundError: It is not installed.
    """

    def __init__(self, folder: Path, *, more: str = "allow_anonymous true\n") -> None:
        if not Path(_PROGRAM).exists():
            raise FileNotFoundError("no MQTT broker: apt-get install mosquitto")
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
            "autosave_on_changes true\nautosave_interval 1\n"  # a kill costs it no subscription
            + ("user root\n" if os.geteuid() == 0 else "")
            + more
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it answers, unless it runs."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [_PROGRAM, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + _LONG_S
        while not self._answers():
            if time.monotonic() > end:
                raise TimeoutError("mosquitto does not answer")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        """By a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_LONG_S)
            self._process = None


class Consumer:
    """Subscribes durably, and keeps what it gets, as the recipe in the documentation says.

    Attributes:
        events: Each once.
        repeats: How many came again.
        status: What was said of the run.
    """

    def __init__(self, port: int, topic: str) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.events: list[dict[str, Any]] = []
        self.repeats = 0
        self.status: list[str] = []
        self._newest: dict[str, int] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="consumer", clean_session=False)
        subscribed = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe([(topic, 1), (f"{topic}/status", 1)])
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = self._take
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        if not subscribed.wait(_LONG_S):
            raise TimeoutError("mosquitto does not take a subscription")

    def _take(self, client: object, data: object, message: Any) -> None:  # noqa: ARG002
        if message.topic.endswith("/status"):
            self.status.append(message.payload.decode())
            return
        event = json.loads(message.payload)
        source, _, frame = event["id"].rpartition("/")
        if self._newest.get(source, -1) >= int(frame):
            self.repeats += 1
            return
        self._newest[source] = int(frame)
        self.events.append(event)

    @property
    def frames(self) -> list[int]:
        """The numbers of the frames that the events are about."""
        return [event["frame"] for event in self.events]

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()

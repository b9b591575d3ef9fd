"""Events by way of a real broker, which is stopped, killed and told to refuse."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime.broker import Broker, Consumer
from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import InputError
from edgecnn.runtime.sinks.mqtt import MqttSink, parse_broker

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: pip install 'edgecnn[mqtt]'")
LONG_S = 30.0
RESULT = Classification((1,), (1.0,), ("b",))


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def broker_in(folder: Path, **options: str) -> Broker:
    try:
        return Broker(folder / "broker", **options)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def frame(index: int) -> Frame:
    return Frame(index, time.monotonic_ns(), np.zeros((0, 0, 3), np.uint8), "door")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = broker_in(tmp_path)
    broker.start()
    yield broker
    broker.stop(signal.SIGKILL)


@pytest.fixture
def consumer(broker: Broker) -> Iterator[Consumer]:
    consumer = Consumer(broker.port, "cameras/door")
    yield consumer
    consumer.close()


@pytest.fixture
def sink_of(broker: Broker, tmp_path: Path) -> Callable[..., MqttSink]:
    def make(run: str = "r", **options: Any) -> MqttSink:
        address = parse_broker(f"mqtt://127.0.0.1:{broker.port}/cameras/door")
        return MqttSink(address, run, folder=tmp_path / "spool", **options)

    return make


def test_events_arrive_once_and_in_order(consumer: Consumer, sink_of: Callable[..., MqttSink]) -> None:
    sink = sink_of()
    for index in range(500):
        sink.write(frame(index), RESULT, 1_000_000)
    wait_for(lambda: len(consumer.events) == 500)
    assert consumer.frames == list(range(500))
    assert consumer.events[7]["id"] == "r/door/7"
    assert consumer.status == ["online"]
    wait_for(lambda: sink.delivery().waiting == 0)
    sink.close()
    wait_for(lambda: consumer.status == ["online", "offline"])
    assert sink.delivery().trouble == ""
    assert consumer.repeats == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_broker_that_is_away_for_a_while_costs_no_event(
    broker: Broker, consumer: Consumer, sink_of: Callable[..., MqttSink], number: int
) -> None:
    sink = sink_of()
    for index in range(100):
        sink.write(frame(index), RESULT, 0)
    # A broker that is killed forgets what it has confirmed and not yet delivered: that is between it and the consumer.
    wait_for(lambda: len(consumer.events) == 100 and not sink.delivery().waiting)
    broker.stop(number)
    wait_for(lambda: "cannot be reached" in sink.delivery().trouble)
    assert "Connection refused" in sink.delivery().trouble
    for index in range(100, 300):
        sink.write(frame(index), RESULT, 0)
    assert sink.delivery().waiting == 200
    broker.start()
    wait_for(consumer.client.is_connected)
    wait_for(lambda: len(consumer.events) == 300 and not sink.delivery().waiting)
    assert sink.delivery().trouble == ""
    assert consumer.frames == list(range(300))
    sink.close()


def test_a_broker_that_is_stopped_while_events_are_on_their_way(
    broker: Broker, consumer: Consumer, sink_of: Callable[..., MqttSink]
) -> None:
    sink = sink_of()
    written = 0
    for _ in range(3):
        for _ in range(300):
            sink.write(frame(written), RESULT, 0)
            written += 1
        assert sink.delivery().waiting
        broker.stop()
        broker.start()
    wait_for(lambda: len(consumer.events) == written and not sink.delivery().waiting)
    assert consumer.frames == list(range(written))
    sink.close()


KILLED = """
import sys, time
from pathlib import Path
from edgecnn.core.frame import Classification, Frame
from edgecnn.runtime.sinks.mqtt import MqttSink, parse_broker
sink = MqttSink(parse_broker(sys.argv[1]), "killed", folder=Path(sys.argv[2]))
for index in range(100_000):
    sink.write(Frame(index, 0, None, "door"), Classification((1,), (1.0,), ("b",)), 0)
    print(index, flush=True)
    time.sleep(0.001)
"""


def test_a_run_that_is_killed_leaves_its_events_to_the_next(
    broker: Broker, consumer: Consumer, sink_of: Callable[..., MqttSink], tmp_path: Path
) -> None:
    address = f"mqtt://127.0.0.1:{broker.port}/cameras/door"
    command = [sys.executable, "-c", KILLED, address, str(tmp_path / "spool")]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    wait_for(lambda: len(consumer.events) > 50)
    broker.stop()
    for _ in range(150):
        last = int(killed.stdout.readline())
    killed.kill()
    last = max([last, *(int(line) for line in killed.stdout.read().split(b"\n")[:-1])])
    killed.wait()
    killed.stdout.close()
    broker.start()
    wait_for(consumer.client.is_connected)
    sink = sink_of("next")
    sink.write(frame(0), RESULT, 0)
    wait_for(lambda: consumer.events and consumer.events[-1]["id"] == "next/door/0")
    sink.close()
    frames = consumer.frames[:-1]
    assert frames == list(range(len(frames)))
    assert frames[-1] >= last
    # The broker's own last will for the one that was killed, and the words of the next.
    wait_for(lambda: consumer.status[-2:] == ["online", "offline"])


def test_the_oldest_events_go_where_room_is_short(
    broker: Broker, consumer: Consumer, sink_of: Callable[..., MqttSink]
) -> None:
    broker.stop()
    sink = sink_of(spool_bytes=20_000)
    for index in range(1000):
        sink.write(frame(index), RESULT, 0)
    found = sink.delivery()
    assert found.waiting + found.dropped == 1000
    assert 50 < found.waiting < 400
    broker.start()
    wait_for(lambda: not sink.delivery().waiting)
    wait_for(lambda: len(consumer.events) == found.waiting)
    assert consumer.frames == list(range(found.dropped, 1000))
    sink.close()


def test_an_end_while_the_broker_is_away_says_what_waits(
    broker: Broker, sink_of: Callable[..., MqttSink], tmp_path: Path
) -> None:
    broker.stop()
    sink = sink_of()
    sink.write(frame(0), RESULT, 0)
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < LONG_S
    assert "1 events wait in" in sink.delivery().trouble
    assert str(tmp_path / "spool") in sink.delivery().trouble


def test_a_broker_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("no mosquitto_passwd: apt-get install mosquitto")
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "camera", "s3cret/:@"], check=True, capture_output=True)
    passwords.chmod(0o600)
    broker = broker_in(tmp_path, more=f"allow_anonymous false\npassword_file {passwords}\n")
    broker.start()
    try:
        wrong = parse_broker(f"mqtt://camera:wrong@127.0.0.1:{broker.port}/cameras/door")
        sink = MqttSink(wrong, "r", folder=tmp_path / "spool")
        sink.write(frame(0), RESULT, 0)
        wait_for(lambda: sink.delivery().trouble)
        assert sink.delivery().trouble == f"--mqtt {wrong}: the broker refuses: not authorized"
        assert "wrong" not in sink.delivery().trouble
        sink.close()
        monkeypatch.setenv("EDGECNN_MQTT_PASSWORD", "s3cret/:@")
        for right in ("camera", "camera:s3cret%2F%3A%40"):
            sink = MqttSink(
                parse_broker(f"mqtt://{right}@127.0.0.1:{broker.port}/cameras/door"), "r", folder=tmp_path / "spool"
            )
            sink.write(frame(1), RESULT, 0)
            wait_for(lambda sink=sink: sink.delivery().waiting == 0)
            sink.close()
    finally:
        broker.stop(signal.SIGKILL)


def test_tls_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: apt-get install openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    more = f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}\n"
    broker = broker_in(tmp_path, more=more)
    broker.start()
    try:
        address = parse_broker(f"mqtts://127.0.0.1:{broker.port}/cameras/door")
        strict = MqttSink(address, "r", folder=tmp_path / "spool")
        strict.write(frame(0), RESULT, 0)
        wait_for(lambda: "certificate verify failed" in strict.delivery().trouble)
        strict.close()
        trusting = MqttSink(address, "r", folder=tmp_path / "spool", authority=certificate)
        wait_for(lambda: trusting.delivery().waiting == 0)
        trusting.close()
        with pytest.raises(InputError, match="--mqtt-ca"):
            MqttSink(address, "r", folder=tmp_path / "spool", authority=tmp_path / "nothing.pem")
    finally:
        broker.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    "text",
    [
        "http://host/topic",
        "mqtt:///topic",
        "mqtt://host",
        "mqtt://host/",
        "mqtt://host/a/%23",
        "mqtt://host/a+b",
        "mqtt://host:99999/a",
        "mqtt://u:geheim@host:x/a",
        "mqtt://u:geheim@host/#",
        "host/topic",
    ],
)
def test_other_addresses_are_refused_without_telling_the_password(text: str) -> None:
    with pytest.raises(InputError, match="--mqtt") as error:
        parse_broker(text)
    assert "geheim" not in str(error.value)


def test_an_address_has_its_parts_and_tells_no_password() -> None:
    found = parse_broker("mqtts://me%40home:p%2Fw@[::1]/a/b%20c")
    assert (found.host, found.port, found.topic, found.tls) == ("::1", 8883, "a/b c", True)
    assert (found.user, found.password) == ("me@home", "p/w")
    assert "p/w" not in f"{found} {found!r}"

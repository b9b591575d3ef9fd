"""The live page as a browser shows it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edgecnn.core.frame import Detections, Frame
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.page import pictures
from edgecnn.runtime.page.server import PageSink

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'edgecnn[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'edgecnn[serve]'")
LONG_S = 30.0
MS = 1_000_000
GREEN = (40, 180, 60)
FOUND = Detections(np.float32([[100, 60, 300, 200]]), np.float32([0.9]), np.int64([0]), ("person",))
# The mean of a part of the picture that has no box, and the pixels in the colours of a chart's lines.
PICTURE = """
const canvas = document.querySelectorAll(".picture")[arguments[0]];
if (!canvas?.width || !canvas.dataset.number) return null;
const copy = new OffscreenCanvas(20, 20).getContext("2d", { willReadFrequently: true });
copy.drawImage(canvas, -canvas.width * 0.8, -canvas.height * 0.1);
const { data } = copy.getImageData(0, 0, 20, 20);
return [data[0], data[1], data[2], canvas.width, Number(canvas.dataset.number)];
"""
INKED = """
return [...document.querySelectorAll(".plot canvas")].map((canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  const style = getComputedStyle(document.documentElement);
  const colours = ["--series-1", "--series-2"].map((name) =>
    style.getPropertyValue(name).match(/[0-9a-f]{2}/g).map((pair) => parseInt(pair, 16)));
  return colours.map((wanted) => {
    let count = 0;
    for (let at = 0; at < data.length; at += 4)
      if (data[at + 3] > 150 && wanted.every((value, channel) => Math.abs(data[at + channel] - value) < 20)) count += 1;
    return count;
  });
});
"""


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + LONG_S
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


class _Run:
    """Two cameras at 20 fps, of which one can be lost, and a page."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1", **options: Any) -> None:
        self.metrics = Metrics()
        self.page = PageSink(host, port, self.metrics, readings=self._read, title="people (int8)", **options)
        for name in ("door", "yard <b>"):
            self.metrics.source(name).enter("running")
        events = self.metrics.sink("events")
        events.count(written=12345, dropped=3)
        events.enter("failing", "events.jsonl: no room left on the disk")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _read(self) -> dict[str, float]:
        wave = math.sin(time.monotonic())
        return {"gpu_celsius": 55 + wave, "cpu_celsius": 50 - wave, "vdd_in_mw": 7400 + 500 * wave, "cpu_percent": 40}

    def _feed(self) -> None:
        image = np.full((360, 640, 3), GREEN[::-1], np.uint8)
        index = 0
        while not self._ended.wait(0.05):
            for name in ("door", "yard <b>"):
                source = self.metrics.source(name)
                if source.snapshot().state != "running":
                    continue
                source.receive()
                if index % 4 == 0:
                    source.drop("buffer")
                    continue
                age = (8 + index % 5) * MS
                source.process(age)
                self.page.write(Frame(index, time.monotonic_ns(), image, name), FOUND, age)
            index += 1

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.page.close()


@pytest.fixture
def run() -> Iterator[_Run]:
    run = _Run()
    yield run
    run.close()


def text(browser: Any, selector: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)


def figure(browser: Any, name: str) -> float:
    """A tile's figure without its unit; not a number where there is none."""
    shown = browser.execute_script(
        "return document.querySelector(arguments[0])?.dataset.shown", f"[data-figure={name}]"
    )
    return float(shown) if shown and shown != "\N{EN DASH}" else math.nan


def set_width(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 812, "deviceScaleFactor": 2, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_scheme(browser: Any, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def assert_inked(browser: Any) -> None:
    """Every chart comes to show its lines, of which three have a second: both ages, and the temperatures."""

    def inked() -> bool:
        lines = browser.execute_script(INKED)
        return all(first > 30 for first, _ in lines) and sum(second > 30 for _, second in lines) >= 3

    assert wait_for(inked)


def test_tiles_show_pictures_figures_and_charts(browser: Any, run: _Run) -> None:
    set_width(browser, 1280)
    browser.get(run.page.url)
    first = wait_for(lambda: browser.execute_script(PICTURE, 1))
    assert first[:3] == pytest.approx(GREEN, abs=8)
    wait_for(lambda: browser.execute_script(PICTURE, 1)[4] > first[4] + 5)
    assert text(browser, "#title") == "people (int8)"
    names = [element.text for element in browser.find_elements("css selector", ".tile .name")]
    assert names == ["door", "yard <b>"]
    wait_for(lambda: figure(browser, "p50") == pytest.approx(10, rel=0.01))
    assert 5 < figure(browser, "fps") < 25
    wait_for(lambda: figure(browser, "dropped") == pytest.approx(25, abs=2))
    assert "dropped:" in text(browser, ".counts")
    assert text(browser, "#sinks .reason") == "events.jsonl: no room left on the disk"
    assert "12\u202f345 written" in text(browser, "#sinks .counts")
    quantities = [element.text.partition("\n")[0].lower() for element in browser.find_elements("css selector", ".card")]
    assert quantities == ["temperature \N{DEGREE SIGN}c", "power mw", "load %"]
    assert_inked(browser)
    assert browser.get_log("browser") == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(run.page.url) for name in loaded)


def test_a_lost_camera_says_why_and_comes_back(browser: Any, run: _Run) -> None:
    browser.get(run.page.url)
    wait_for(lambda: browser.execute_script(PICTURE, 0))
    run.metrics.source("door").enter("lost", "no picture for 5 s")
    wait_for(lambda: "No picture for 5 s" in text(browser, ".tile .notice"))
    assert text(browser, ".tile .notice").startswith("Lost for ")
    assert text(browser, ".tile .state") == "lost"
    before = browser.execute_script(PICTURE, 0)[4]
    run.metrics.source("door").enter("running")
    wait_for(lambda: browser.execute_script(PICTURE, 0)[4] > before + 3)
    wait_for(lambda: text(browser, ".tile .notice") == "")
    assert "1 reconnect" in text(browser, ".tile .counts")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_a_phone(browser: Any, run: _Run, scheme: str) -> None:
    set_scheme(browser, scheme)
    set_width(browser, 375)
    browser.get(run.page.url)
    picture = wait_for(lambda: browser.execute_script(PICTURE, 0))
    assert picture[3] == 640  # a source's pictures are not enlarged
    wait_for(lambda: browser.find_elements("css selector", ".card"))
    assert_inked(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
    cut = "return [...document.querySelectorAll('dd')].filter((each) => each.scrollWidth > each.clientWidth).length"
    assert browser.execute_script(cut) == 0
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(243, 245, 247)", "dark": "rgb(13, 16, 20)"}[scheme]


def test_charts_follow_the_colour_scheme(browser: Any, run: _Run) -> None:
    browser.get(run.page.url)
    for scheme in ("dark", "light"):
        set_scheme(browser, scheme)
        assert_inked(browser)


def test_the_page_goes_on_by_itself_with_the_next_run(browser: Any, run: _Run) -> None:
    set_width(browser, 1280)
    browser.get(run.page.url)
    wait_for(lambda: browser.execute_script(PICTURE, 0))
    run.close()
    wait_for(lambda: text(browser, "#connection") == "not reachable")
    assert "goes on by itself" in text(browser, "#banner")
    again = _Run(run.page.port)
    try:
        wait_for(lambda: text(browser, "#connection") == "live")
        assert text(browser, "#banner") == ""
        wait_for(lambda: browser.execute_script(PICTURE, 1))
        assert len(browser.find_elements("class name", "tile")) == 2
        wait_for(lambda: browser.execute_script("return seconds.time.length") > 0)
        assert_inked(browser)
    finally:
        again.close()


def test_nothing_is_encoded_when_nobody_looks(browser: Any, run: _Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[float] = []
    original = pictures._jpeg

    def count(*arguments: Any) -> bytes:
        encoded.append(time.monotonic())
        return original(*arguments)

    monkeypatch.setattr(pictures, "_jpeg", count)
    browser.get(run.page.url)
    wait_for(lambda: len(encoded) > 20)
    browser.get("about:blank")
    wait_for(lambda: time.monotonic() - encoded[-1] > 1.5)


def test_the_token_is_wanted_once(browser: Any) -> None:
    run = _Run(host="0.0.0.0")
    try:
        address, _, token = run.page.url.partition("?token=")
        local = f"http://127.0.0.1:{run.page.port}/"
        assert address.endswith(f":{run.page.port}/")
        browser.get(local)
        field = browser.find_element("name", "token")
        field.send_keys(token)
        field.submit()
        wait_for(lambda: browser.execute_script(PICTURE, 0))
        assert browser.current_url == local
        browser.get(local)
        wait_for(lambda: browser.execute_script(PICTURE, 0))
    finally:
        run.close()
    again = _Run(run.page.port, host="0.0.0.0")
    try:
        wait_for(lambda: text(browser, "#connection") == "locked")
        assert "another token" in text(browser, "#banner")
    finally:
        again.close()

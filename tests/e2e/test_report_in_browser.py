"""The HTML reports as a browser draws them from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.core.artifact import DetectionAccuracy
from edgecnn.core.layer_costs import LayerCost
from edgecnn.profiling.compare import compare_profiles
from edgecnn.profiling.records import LayerTime, Roofs
from edgecnn.profiling.report.compare_page import render_comparison
from edgecnn.profiling.report.convert_page import ConversionPage, StageRow, render_conversion
from edgecnn.profiling.report.profile_page import render_profile
from edgecnn.profiling.telemetry.records import Series, TelemetryLog

FRAMES = 20_000
MODE_MS = 5.0

# For each column of a chart's plot area: where it is on the x scale, the mean place on the y scale of the pixels that
# have the series' colour, and how many these are. Grid, labels and the pale fills (low alpha) do not count. Pixels are
# read from a copy: Chromium logs a warning when a canvas made for drawing is read often, and the log has to stay empty.
COLUMNS = """
const { chart } = document.getElementById(arguments[0]);
const { ctx, bbox } = chart;
const copy = new OffscreenCanvas(bbox.width, bbox.height).getContext("2d", { willReadFrequently: true });
copy.drawImage(ctx.canvas, -bbox.left, -bbox.top);
const { data, width, height } = copy.getImageData(0, 0, bbox.width, bbox.height);
const colour = getComputedStyle(document.documentElement).getPropertyValue(arguments[1]);
const wanted = colour.match(/[0-9a-f]{2}/g).map((pair) => parseInt(pair, 16));
const columns = [];
for (let x = 0; x < width; x++) {
  let [count, sum] = [0, 0];
  for (let y = 0; y < height; y++) {
    const at = 4 * (y * width + x);
    if (data[at + 3] > 150 && wanted.every((value, channel) => Math.abs(data[at + channel] - value) < 12)) {
      count += 1;
      sum += y;
    }
  }
  const middle = chart.posToVal((sum / count + 0.5) / devicePixelRatio, "y");
  columns.push([chart.posToVal((x + 0.5) / devicePixelRatio, "x"), count ? middle : -1, count]);
}
return columns;
"""
COLOURS = {"histogram": "--accent-2", "ecdf": "--accent", "timeline": "--accent"}


@pytest.fixture
def total_ms() -> np.ndarray:
    """Frame to result, ms: a sharp mode at 5 ms on a broad, lopsided rest, and a slow tail."""
    draw = np.random.default_rng(7)
    samples = np.concatenate([draw.laplace(MODE_MS, 0.06, FRAMES * 6 // 10), draw.uniform(4.5, 7.5, FRAMES * 4 // 10)])
    samples[draw.choice(FRAMES, 60, replace=False)] += 30
    return draw.permutation(samples)


@pytest.fixture
def opened(browser: Any, profile_of: Any, total_ms: np.ndarray, tmp_path: Path) -> Any:
    """A browser that shows the profile of ``total_ms``."""
    _open(browser, tmp_path, render_profile(profile_of((total_ms * 1e6).astype(int).tolist())))
    yield browser
    _assert_no_complaints(browser)


def _open(browser: Any, folder: Path, page: str) -> None:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    browser.get(path.as_uri())


def _columns(browser: Any, chart: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the columns that hold the series' colour: place on x, mean place on y, and the number of pixels."""
    columns = np.array(browser.execute_script(COLUMNS, chart, COLOURS[chart]))
    found = columns[:, 2] > 0
    # A plot squeezed to nothing would pass the comparisons below.
    assert len(columns) > 200, chart
    # The bars stop where the bulk does; the lines go from edge to edge.
    assert found.mean() > (0.4 if chart == "histogram" else 0.95), chart
    return tuple(columns[found].T)


def _assert_drawn(browser: Any, total_ms: np.ndarray) -> None:
    """All three charts show ``total_ms``, judged by the pixels alone."""
    edges = browser.execute_script("return document.getElementById('histogram').chart.data[0]")
    latency, _, pixels = _columns(browser, "histogram")
    tallest = latency[pixels == pixels.max()].mean()
    assert abs(tallest - MODE_MS) <= edges[1] - edges[0]

    latency, percent, _ = _columns(browser, "ecdf")
    true = 100 * np.searchsorted(np.sort(total_ms), latency) / len(total_ms)
    assert np.median(np.abs(percent - true)) < 1.5

    _, middle, _ = _columns(browser, "timeline")
    assert np.median(middle) == pytest.approx(np.median(total_ms), rel=0.02)


def _assert_no_complaints(browser: Any) -> None:
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []


def _set_width(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _set_scheme(browser: Any, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def _wait_for(browser: Any, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 5).until(lambda driver: driver.execute_script(f"return {condition}"))


def test_charts_and_tiles_show_the_samples(opened, total_ms):
    _assert_drawn(opened, total_ms)
    tiles = {
        tile.get_attribute("data-figure"): tile.find_element("class name", "value").text
        for tile in opened.find_elements("class name", "tile")
    }
    ordered = np.sort((total_ms * 1e6).astype(int)) / 1e6
    ranks = {"p50": 10_000, "p90": 18_000, "p99": 19_800, "p99.9": 19_980, "max": 20_000}
    assert {name: float(tiles[name]) for name in ranks} == {
        name: float(f"{ordered[rank - 1]:.3g}") for name, rank in ranks.items()
    }
    assert float(tiles["throughput"]) == float(f"{1000 / ordered.mean():.3g}")


def test_a_pointer_reads_the_charts(opened):
    from selenium.webdriver import ActionChains

    expected = {"histogram": r"ms: [\d,]+ samples", "ecdf": r"% within", "timeline": r"samples: median .* p99"}
    for name, pattern in expected.items():
        chart = opened.find_element("id", name)
        opened.execute_script("arguments[0].scrollIntoView({ block: 'center' })", chart)
        ActionChains(opened).move_to_element(chart).perform()
        _wait_for(opened, f"/{pattern}/.test(document.getElementById('{name}-readout').textContent)")


def test_nothing_overflows_a_phone_and_charts_follow_the_width(opened, total_ms):
    _set_width(opened, 360)
    _wait_for(opened, "document.getElementById('timeline').chart.width <= 340")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    opened.execute_script("document.querySelector('details').open = true")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    _assert_drawn(opened, total_ms)


def test_a_dark_scheme_turns_page_and_charts_dark(opened, total_ms):
    background = "getComputedStyle(document.body).backgroundColor"
    bar_colour = "document.getElementById('histogram').chart.series[1].fill()"
    wanted = "getComputedStyle(document.documentElement).getPropertyValue('--accent-2').trim()"
    seen = {}
    for scheme in ("light", "dark"):
        _set_scheme(opened, scheme)
        _wait_for(opened, f"matchMedia('(prefers-color-scheme: {scheme})').matches && {bar_colour} === {wanted}")
        _assert_drawn(opened, total_ms)
        seen[scheme] = opened.execute_script(f"return [{background}, {bar_colour}]")
    assert seen["light"][0] == "rgb(255, 255, 255)"
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))


def test_paper_gets_light_charts(opened):
    _set_scheme(opened, "dark")
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.execute_script("return document.getElementById('timeline').chart.width") == 680
    opened.execute_script("dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


def _full(profile_of: Any, total_ms: np.ndarray) -> Any:
    """A profile with sensors, layers that have costs, and roofs."""
    seconds = np.arange(0, 100, 0.1)
    times = tuple(int(1e9 + 1e9 * second) for second in seconds)
    celsius = tuple(None if 30 < second < 40 else 40 + second / 5 for second in seconds)
    series = (
        Series(name="gpu", unit="°C", times_ns=times, values=celsius),
        Series(name="tj", unit="°C", times_ns=times, values=tuple(45.0 for _ in times)),
        Series(name="vdd_in", unit="mW", times_ns=times, values=tuple(7000.0 for _ in times)),
    )
    names = [f"/layer{index}/Conv" for index in range(4)]
    layers = tuple(
        LayerTime(name=name, op_type="Conv", calls=9, mean_ns=1e5 * (index + 1), part=(index + 1) / 10, layers=(name,))
        for index, name in enumerate(names)
    )
    costs = tuple(
        LayerCost(name=name, op_type="Conv", macs=10 ** (8 - index), moved_bytes=10**6)
        for index, name in enumerate(names)
    )
    return profile_of(
        (total_ms * 1e6).astype(int).tolist(),
        telemetry=TelemetryLog(series=series, missing=("no DLA here",)),
        layers=layers,
        costs=costs,
        roofs=Roofs(title="a board", operations_per_s=4e12, bytes_per_s=1e11),
    )


def test_sensors_are_drawn_over_the_same_seconds_as_latencies(browser, profile_of, total_ms, tmp_path):
    _open(browser, tmp_path, render_profile(_full(profile_of, total_ms)))
    lefts = browser.execute_script(
        "return ['timeline', 'sensor-0', 'sensor-1'].map((id) => document.getElementById(id).chart.bbox.left)"
    )
    assert len(set(lefts)) == 1
    columns = np.array(browser.execute_script(COLUMNS, "sensor-0", "--accent"))
    drawn = columns[columns[:, 2] > 0]
    assert np.abs(drawn[:, 1] - (40 + drawn[:, 0] / 5)).max() < 1.5
    # A gap is a gap: nothing is drawn across it.
    assert not ((drawn[:, 0] > 31) & (drawn[:, 0] < 39)).any()
    legend = browser.find_element("css selector", "figure:has(#sensor-0) h3").text
    assert legend.split() == ["gpu", "tj"]
    assert "no DLA here" in browser.page_source
    _assert_no_complaints(browser)


def test_the_roofline_has_a_disc_for_each_layer_under_the_roofs(browser, profile_of, total_ms, tmp_path):
    _open(browser, tmp_path, render_profile(_full(profile_of, total_ms)))
    points = browser.execute_script("return document.getElementById('roofline').chart.data.map((row) => [...row])")
    # 2 operations a multiply-accumulate: 200 a byte, in 0.1 ms, is 2000 billion a second.
    assert points[0][-1] == pytest.approx(200)
    assert points[1][-1] == pytest.approx(2000)
    assert all(rate <= min(4000, 100 * intensity) for intensity, rate in zip(*points, strict=True))
    pixels = np.array(browser.execute_script(COLUMNS, "roofline", "--accent"))
    assert (pixels[:, 2] > 0).sum() > 20
    _assert_no_complaints(browser)


def test_a_click_sorts_the_layers(browser, profile_of, total_ms, tmp_path):
    _open(browser, tmp_path, render_profile(_full(profile_of, total_ms)))
    table = browser.find_element("css selector", "table.sortable")
    heads = {head.text.split()[0]: head for head in table.find_elements("css selector", "thead button")}

    def layers() -> list[str]:
        return [row.text for row in table.find_elements("css selector", "tbody th")]

    slowest_first = [f"/layer{index}/Conv" for index in (3, 2, 1, 0)]
    assert layers() == slowest_first
    for head, order in (("MACs", slowest_first[::-1]), ("MACs", slowest_first), ("Layer", slowest_first[::-1])):
        browser.execute_script("arguments[0].click()", heads[head])
        assert layers() == order
    browser.execute_script("arguments[0].click()", heads["Mean"])
    assert layers() == slowest_first
    assert heads["Mean"].find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    _assert_no_complaints(browser)


def test_a_comparison_draws_intervals_where_they_are(browser, profile_of, tmp_path):
    rounds = [[middle + 1000 * (index % 11) for index in range(300)] for middle in (5_000_000, 6_000_000)]
    comparison = compare_profiles({"a": profile_of(rounds[0]), "b": profile_of(rounds[1])})
    _open(browser, tmp_path, render_comparison(comparison))
    _set_width(browser, 360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    assert "slower by 20.0%" in browser.find_element("class name", "notice").text
    one, point = (
        browser.execute_script(f"return document.querySelector('.interval .{name}').getBoundingClientRect().x")
        for name in ("one", "point")
    )
    assert point > one
    _assert_no_complaints(browser)


def test_markup_in_names_stays_text(browser, profile_of, tmp_path):
    name = "</script><img id=injected src=x onerror=alert(1)><b>x"
    layer = LayerTime(name=name, op_type="Conv", calls=1, mean_ns=1.0, part=1.0)
    _open(browser, tmp_path, render_profile(profile_of([3_000_000] * 9, bundle=name, layers=(layer,))))
    assert browser.find_element("tag name", "h1").text == name
    assert browser.find_element("class name", "layer").text == name
    assert browser.find_elements("id", "injected") == []
    assert browser.title.startswith(name)
    _assert_no_complaints(browser)


def test_a_million_samples_open_within_2_seconds(browser, profile_of, tmp_path):
    samples = np.random.default_rng(8).lognormal(np.log(3), 0.1, 1_000_000)
    _open(browser, tmp_path, render_profile(profile_of((samples * 1e6).astype(int).tolist())))
    loads = []
    for _ in range(3):
        browser.refresh()
        loads.append(browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
    # The best of three: this is about the page, not about what else the machine is doing.
    assert 0 < min(loads) < 2000
    _, middle, _ = _columns(browser, "timeline")
    assert np.median(middle) == pytest.approx(3, rel=0.02)
    _assert_no_complaints(browser)


def test_bars_of_a_conversion_are_as_long_as_their_figures(browser, tmp_path):
    stages = (
        StageRow("fp32", "ONNX", 22_000_000, 5_480_000, "", 0.9432, 12.0, 16.0),
        StageRow("simplified-and-folded", "", 11_000_000, 5_470_000, "131 dB", 0.9432, 8.0, None),
        StageRow("int8", "QDQ", 5_500_000, None, "57.1 dB, 99.4% same class", 0.9397, 4.0, 5.0),
    )
    boxes = (
        (
            "int8-mixed-precision",
            DetectionAccuracy(
                images=64,
                map=0.3333,
                map50=0.517,
                map_small=0.1343,
                map_medium=None,
                map_large=0.5469,
                box_agreement=0.9963,
                box_support=0.9943,
                score_threshold=0.2988,
            ),
        ),
    )
    facts, findings = (("Labels", "38"),), (("info", "conv", "none"),)
    page = ConversionPage("leaves", "orin-nano", "Passed.", stages, facts, findings, "mAP", boxes)
    _open(browser, tmp_path, render_conversion(page))
    _set_width(browser, 360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    widths = "return [...document.querySelectorAll(arguments[0])].map((fill) => fill.getBoundingClientRect().width)"
    sizes, p50 = (
        np.array(browser.execute_script(widths, f"figure:nth-child({nth}) .fill:not(.pale)")) for nth in (1, 2)
    )
    p99 = np.array(browser.execute_script(widths, ".fill.pale"))
    assert sizes / sizes[0] == pytest.approx([1, 0.5, 0.25], abs=0.01)
    assert p50 / p99[0] == pytest.approx([0.75, 0.5, 0.25], abs=0.01)
    assert p99 / p99[0] == pytest.approx([1, 0.5, 5 / 16], abs=0.01)
    _assert_no_complaints(browser)

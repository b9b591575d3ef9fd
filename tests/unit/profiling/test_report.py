"""The HTML reports as text: figures, escaping, size, and that nothing is loaded."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from edgecnn.core.artifact import DetectionAccuracy
from edgecnn.core.layer_costs import LayerCost
from edgecnn.profiling.figures import figures_of
from edgecnn.profiling.records import LayerTime, Roofs
from edgecnn.profiling.report.convert_page import ConversionPage, StageRow, render_conversion
from edgecnn.profiling.report.distribution import ecdf, histogram, nearest_rank, timeline
from edgecnn.profiling.report.page import figure, json_block, prefix_for
from edgecnn.profiling.report.profile_page import render_profile
from edgecnn.profiling.telemetry.records import Series, TelemetryLog

HOSTILE = "</script><b id='x'>&\"</b><!--"


class _Document(HTMLParser):
    """Text by element and the ids of a page, as a browser's parser would split it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.loads += [named[name] or "" for name in ("src", "href", "srcset", "data", "action") if name in named]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _chart_data(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="profile-data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def _conversion(**changes) -> ConversionPage:
    stages = (
        StageRow("fp32", "ONNX, opset 17", 22_000_000, 5_480_000, "", 0.9432, 11.83, 13.04),
        StageRow("int8", "QDQ", 5_720_000, 5_470_000, "57.1 dB, 99.4% same class", 0.9397, 3.021, None),
        StageRow("engine", "", 6_310_000, None, "56.8 dB", None, None, None),
    )
    fields = {
        "title": "leaves-int8",
        "target": "orin-nano-8gb",
        "verdict": "Passed: parity and accuracy are within their bars.",
        "stages": stages,
        "facts": (("Labels", "38 classes"),),
        "findings": (),
    }
    return ConversionPage(**(fields | changes))


@pytest.mark.parametrize("frames", [100, 1000, 10_000, 20_000])
def test_percentiles_of_the_numbers_from_1_are_their_ranks(frames):
    ordered = np.arange(1, frames + 1, dtype=np.float64)
    for per_mille in (500, 900, 950, 990, 999):
        assert nearest_rank(ordered, per_mille / 10) == -(-frames * per_mille // 1000)


def test_percentiles_are_measured_values_in_whatever_order(profile_of):
    times = np.random.default_rng(0).permutation(np.array([1] * 90 + [2] * 9 + [50]) * 1_000_000)
    figures = figures_of(profile_of(times.tolist()))
    found = [figures[name] for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms")]
    assert found == [1, 1, 2, 2, 50, 50]
    assert figures["mean_ms"] == pytest.approx(1.58)
    assert figures["infer_p50_ms"] == pytest.approx(0.9985)


def test_one_sample_is_every_percentile(profile_of):
    figures = figures_of(profile_of([3_500_000]))
    assert {figures[name] for name in ("mean_ms", "p50_ms", "p999_ms", "max_ms")} == {3.5}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (3.0449, "3.04"),
        (9.996, "10.0"),
        (1234.5, "1230"),
        (0.080449, "0.0804"),
        (99.95, "100"),
        (0.0, "0"),
        (2.0, "2.00"),
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
    ],
)
def test_figures_have_3_significant_digits(value, written):
    assert figure(value) == written


def test_prefixes():
    assert [prefix_for(value) for value in (5.0, 5e3, 5e6, 5e9)] == [(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")]


def test_histogram_counts_every_frame_once():
    samples = np.random.default_rng(1).lognormal(1.1, 0.1, 30_000)
    samples[:300] *= 8
    bins = histogram(samples)
    assert sum(bins.counts) + bins.beyond == 30_000
    assert bins.beyond >= 30
    assert len(bins.edges) == len(bins.counts) + 1 <= 101
    # The slow hundredth lies at 8 times the bulk; the axis keeps to the bulk.
    assert bins.edges[-1] < 8 * np.median(samples)


def test_histogram_without_a_tail_ends_at_p999():
    samples = np.random.default_rng(2).normal(10, 0.5, 10_000)
    assert histogram(samples).edges[-1] == pytest.approx(nearest_rank(np.sort(samples), 99.9), abs=1e-6)


@pytest.mark.parametrize("samples", [[2.6] * 50, [0.0] * 3, [7.0], [1.0] * 999 + [9.0], [1.0, 2.0]])
def test_histogram_of_few_distinct_values(samples):
    bins = histogram(np.array(samples))
    assert sum(bins.counts) + bins.beyond == len(samples)
    assert bins.edges == sorted(set(bins.edges))


def test_ecdf_points_are_exact_and_bounded():
    samples = np.random.default_rng(3).lognormal(1, 0.2, 50_000)
    latency, percent = ecdf(samples, float(np.quantile(samples, 0.999)))
    assert len(latency) == len(percent) <= 2000
    assert latency == sorted(latency)
    for index in (0, 700, 1500, -1):
        assert percent[index] == pytest.approx(100 * np.mean(samples <= latency[index] + 1e-6), abs=0.01)


def test_timeline_covers_all_samples_in_order():
    samples = np.arange(1, 2501, dtype=np.float64)
    runs = timeline([(samples / 10, samples)])
    assert len(runs.seconds) == 1000
    assert sum(runs.count) == 2500
    assert runs.seconds == pytest.approx([low / 10 for low in runs.lowest])
    assert runs.highest == [low - 1 for low in runs.lowest[1:]] + [2500.0]
    ordered = zip(runs.lowest, runs.median, runs.p99, runs.highest, strict=True)
    assert all(low <= middle <= late <= high for low, middle, late, high in ordered)


def test_no_bin_of_the_timeline_has_samples_of_two_rounds():
    rounds = [(np.arange(size) + 10.0 * size, np.full(size, float(size))) for size in (1500, 3, 700)]
    runs = timeline(rounds)
    for number, (_, samples) in enumerate(rounds):
        own = [index for index, each in enumerate(runs.rounds) if each == number]
        assert sum(runs.count[index] for index in own) == len(samples)
        assert {runs.lowest[index] for index in own} == {runs.highest[index] for index in own} == {float(len(samples))}


def test_tiles_show_the_percentiles_of_frame_to_result(profile_of):
    page = render_profile(profile_of([index * 10_000 for index in range(1, 1001)]))
    tiles = dict(re.findall(r'data-figure="(.*?)">.*?<span class="value">(.*?)</span>', page))
    assert tiles == {
        "p50": "5.00", "p90": "9.00", "p99": "9.90", "p99.9": "9.99", "max": "10.0", "throughput": "200",
    }  # fmt: skip


def test_warnings_or_a_line_that_there_are_none(profile_of):
    assert 'class="notice ok"' in render_profile(profile_of([3_000_000] * 9))
    page = render_profile(profile_of([3_000_000] * 9, warnings=("the governor is ondemand", "no fan")))
    assert 'class="notice ok"' not in page
    assert "<li>the governor is ondemand</li><li>no fan</li>" in page


def test_all_layers_are_listed_below_the_slowest(profile_of):
    layers = tuple(
        LayerTime(name=f"layer-{index:02}", op_type="Conv", calls=9, mean_ns=index * 1e3, part=index / 820)
        for index in range(1, 41)
    )
    page = render_profile(profile_of([3_000_000] * 9, layers=layers))
    slowest, everything = page.split("<details><summary>All 40 layers")
    assert re.findall(r"layer-(\d\d)", slowest) == [str(index) for index in range(40, 25, -1)]
    assert len(re.findall(r"layer-\d\d", everything.split("</details>")[0])) == 40


def _row(name, layers, mean_ns=1e5, part=0.5):
    return LayerTime(name=name, op_type="CaskConvolution", calls=9, mean_ns=mean_ns, part=part, layers=layers)


def test_layers_of_the_model_have_costs_and_a_roofline(profile_of):
    costs = (
        LayerCost(name="conv1", op_type="Conv", macs=50_000_000, moved_bytes=1_000_000),
        LayerCost(name="relu1", op_type="Relu", macs=0, moved_bytes=1_000_000),
    )
    roofs = Roofs(title="a board", operations_per_s=4e12, bytes_per_s=1e11)
    rows = (_row("conv1 + relu1", ("conv1", "relu1")), _row("copy", ()))
    page = render_profile(profile_of([3_000_000] * 9, layers=rows, costs=costs, roofs=roofs))
    assert "conv1 + relu1" in page
    assert "Conv + Relu" in page
    data = _chart_data(page)["roofline"]
    # 100 million operations in 0.1 ms, and 50 a byte.
    assert (data["names"], data["rate"], data["intensity"], data["roofs"]) == (
        ["conv1 + relu1"],
        [1000],
        [50],
        [4000, 100],
    )
    assert "50.0% of the time is in layers that the backend added for itself" in page
    assert "<h2>Roofline</h2>" not in render_profile(profile_of([3_000_000] * 9, layers=rows))


def _telemetry():
    times = tuple(range(0, 100_000_000_000, 50_000_000))
    hot = tuple(None if index == 7 else 40 + index / 100 for index in range(len(times)))
    series = (
        Series(name="gpu", unit="°C", times_ns=times, values=hot),
        Series(name="VDD_IN", unit="mW", times_ns=times, values=(5000.0,) * len(times)),
        Series(name="dla", unit="MHz", times_ns=times, values=(None,) * len(times)),
    )
    return TelemetryLog(series=series, missing=("no DLA here",))


def test_sensors_stand_under_the_timeline(profile_of):
    page = render_profile(profile_of([3_000_000] * 9, telemetry=_telemetry()))
    data = _chart_data(page)["sensors"]
    assert [(each["unit"], [series["name"] for series in each["series"]]) for each in data] == [
        ("°C", ["gpu"]),
        ("W", ["VDD_IN"]),
    ]
    assert set(data[1]["series"][0]["values"]) == {5.0}
    readings = data[0]["series"][0]
    assert len(readings["seconds"]) == len(readings["values"]) == 600
    assert readings["seconds"][0] == -1  # the first sample came a second after the clock's beginning
    assert "no DLA here" in page


def test_what_each_mode_shows(profile_of):
    times = [3_000_000] * 1200
    assert "early stopping" in render_profile(profile_of(times))
    fixed = render_profile(profile_of(times, mode="fixed-rate", fps=30.0, counts={"missed_deadlines": 12}))
    assert "1.00% missed 30 fps" in fixed
    assert "of the last quarter" in render_profile(profile_of(times, mode="sustained"))
    assert "4 of 20 dropped" in render_profile(
        profile_of(times, mode="end-to-end", counts={"dropped": 4, "received": 20})
    )
    offline = render_profile(profile_of(times, mode="offline"))
    assert "Throughput by batch size" in offline
    assert "Start to first result" in render_profile(profile_of(times, mode="cold-start"))
    assert "a note" in render_profile(profile_of(times, notes=("a note",)))


def test_a_backend_without_layer_times(profile_of):
    assert "no times of single layers" in render_profile(profile_of([3_000_000] * 9, layers=()))


def test_names_from_data_stay_text(profile_of):
    layer = LayerTime(name=HOSTILE, op_type=HOSTILE, calls=1, mean_ns=1.0, part=1.0)
    profile = profile_of([3_000_000] * 9)
    environment = profile.environment.model_copy(update={"machine": HOSTILE, "packages": {HOSTILE: HOSTILE}})
    names = dict.fromkeys(("bundle", "target", "backend", "precision"), HOSTILE)
    plain = _Document(render_profile(profile))
    page = render_profile(
        profile_of([3_000_000] * 9, layers=(layer,), warnings=(HOSTILE,), environment=environment, **names)
    )
    document = _Document(page)
    assert HOSTILE not in page
    assert document.ids == plain.ids
    assert sum(text.count("<b id='x'>") for text in document.texts) >= 10


def test_data_for_scripts_cannot_end_its_element():
    block = json_block("data", {HOSTILE: [HOSTILE]})
    content = block.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")
    assert "<" not in content
    assert json.loads(content) == {HOSTILE: [HOSTILE]}


def test_names_in_a_conversion_stay_text():
    row = StageRow(HOSTILE, HOSTILE, 1, 1, HOSTILE, 1.0, 1.0, 1.0)
    page = render_conversion(ConversionPage(*[HOSTILE] * 3, (row,), ((HOSTILE,) * 2,), ((HOSTILE,) * 3,)))
    assert HOSTILE not in page
    assert _Document(page).ids == []


def test_a_million_samples_make_a_small_page(profile_of):
    samples = (np.random.default_rng(4).lognormal(1.1, 0.1, 1_000_000) * 1e6).astype(int)
    page = render_profile(profile_of(samples.tolist()))
    data = _chart_data(page)
    assert len(page.encode()) < 3_000_000
    assert len(data["ecdf"]["latency"]) <= 2002
    assert len(data["timeline"]["seconds"]) <= 1000
    assert sum(data["timeline"]["count"]) == 1_000_000
    assert data["frames"] == 1_000_000


def test_nothing_is_loaded(profile_of):
    for page in (render_profile(profile_of([3_000_000] * 9)), render_conversion(_conversion())):
        document = _Document(page)
        assert document.loads == []
        styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
        assert "url(" not in styles
        assert "@import" not in styles
        assert "default-src 'none'" in page
        assert not re.search(r"""(?:src|href)\s*=\s*["']?https?://|url\(\s*["']?https?://""", page)


def test_uplot_comes_with_its_licence(profile_of):
    assert "Copyright (c) 2022 Leon Sorokin" in render_profile(profile_of([3_000_000] * 9))


def test_a_conversion_shows_its_stages():
    page = render_conversion(_conversion())
    rows = re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", page)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    none = "\N{EN DASH}"
    assert cells == [
        ["22.0", "5,480,000", none, "94.3", "11.8", "13.0"],
        ["5.72", "5,470,000", "57.1 dB, 99.4% same class", "94.0", "3.02", none],
        ["6.31", none, "56.8 dB", none, none, none],
    ]
    assert "5.72 MB, 26.0%" in page
    assert "not measured" in page


def test_a_detectors_conversion_shows_map_by_size_and_the_threshold():
    boxes = (
        (
            "decode",
            DetectionAccuracy(
                images=64,
                map=0.3333,
                map50=0.517,
                map_small=0.1343,
                map_medium=None,
                map_large=0.5469,
                box_agreement=1.0,
                box_support=1.0,
                score_threshold=0.3,
            ),
        ),
        (
            HOSTILE,
            DetectionAccuracy(
                images=64,
                map=None,
                map50=None,
                map_small=None,
                map_medium=None,
                map_large=None,
                box_agreement=0.996,
                box_support=0.9943,
                score_threshold=0.28,
            ),
        ),
    )
    page = render_conversion(_conversion(boxes=boxes, accuracy_name="mAP"))
    table = page[page.index('aria-label="Boxes by stage"') :].partition("</table>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", table)]
    none = "\N{EN DASH}"
    assert cells == [
        ["33.3", "51.7", "13.4", none, "54.7", "100.0", "100.0", "0.300"],
        [none, none, none, none, none, "99.6", "99.4", "0.280"],
    ]
    assert 'mAP <span class="unit">%</span>' in page
    assert HOSTILE not in page
    assert "<h2>Boxes</h2>" not in render_conversion(_conversion())


@pytest.mark.parametrize(
    ("severities", "tone"),
    [((), "plain"), (("info",), "plain"), (("info", "warning"), "warning"), (("warning", "error"), "error")],
)
def test_the_gravest_finding_colours_the_verdict(severities, tone):
    page = render_conversion(_conversion(findings=tuple((severity, "conv1", "look") for severity in severities)))
    assert f'class="notice {tone}"' in page


def test_a_conversion_without_anything_measured():
    page = render_conversion(_conversion(stages=(StageRow("fp32", "", 0, None, "", None, None, None),), facts=()))
    assert "Latency" not in page
    assert "<footer>" in render_conversion(_conversion(stages=(), facts=()))
    assert "<h2>Facts</h2>" not in page

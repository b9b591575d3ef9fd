"""The HTML reports as text: figures, escaping, size, and that nothing is loaded."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from edgecnn.core.artifact import DetectionAccuracy
from edgecnn.profiling.records import LayerTime
from edgecnn.profiling.report.convert_page import ConversionPage, StageRow, render_conversion
from edgecnn.profiling.report.distribution import ecdf, histogram, nearest_rank, summarize, timeline
from edgecnn.profiling.report.page import figure, json_block, prefix_for
from edgecnn.profiling.report.profile_page import render_profile

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


def test_percentiles_are_measured_values_in_whatever_order():
    samples = np.random.default_rng(0).permutation(np.array([1.0] * 90 + [2.0] * 9 + [50.0]))
    summary = summarize(samples)
    assert (summary.p50, summary.p90, summary.p95, summary.p99) == (1.0, 1.0, 2.0, 2.0)
    assert (summary.p999, summary.maximum) == (50.0, 50.0)
    assert summary.mean == pytest.approx(1.58)


def test_one_sample_is_every_percentile():
    summary = summarize(np.array([3.5]))
    assert {summary.mean, summary.p50, summary.p999, summary.maximum} == {3.5}


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


def test_timeline_covers_all_frames_in_order():
    samples = np.arange(1, 2501, dtype=np.float64)
    runs = timeline(samples)
    assert len(runs.first) == 1000
    assert runs.first[0] == 1
    assert runs.lowest == [float(first) for first in runs.first]
    assert runs.highest == [float(first - 1) for first in runs.first[1:]] + [2500.0]
    assert all(low <= mid <= high for low, mid, high in zip(runs.lowest, runs.median, runs.highest, strict=True))


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
    slowest, everything = page.split("<details>")
    assert re.findall(r"layer-(\d\d)", slowest) == [str(index) for index in range(40, 25, -1)]
    assert len(re.findall(r"layer-\d\d", everything)) == 40


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
    assert len(data["timeline"]["first"]) <= 1000
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

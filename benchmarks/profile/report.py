"""The report of a million samples: how large it is, and how long a browser takes to open it."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.profiling.environment import read_conditions, read_environment
from edgecnn.profiling.records import Profile, round_of
from edgecnn.profiling.report.profile_page import render_profile

_SAMPLES = 1_000_000
_LOADS = 7


def time_report(folder: Path) -> dict[str, Any]:
    """Write it, and open it in headless Chromium several times; times are to the end of the page's load event."""
    path = folder / "profile.html"
    path.write_text(render_profile(_profile()), encoding="utf-8")
    found: dict[str, Any] = {"samples": _SAMPLES, "megabytes": round(path.stat().st_size / 1e6, 3)}
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        return {**found, "load_ms": None, "reason": "no browser: apt-get install chromium chromium-driver"}
    import selenium.webdriver as webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        loads: list[float] = []
        for _ in range(_LOADS):
            browser.get(path.as_uri())
            loads.append(browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
    finally:
        browser.quit()
    return {**found, "load_ms": {"median": round(statistics.median(loads)), "slowest": round(max(loads))}}


def _profile() -> Profile:
    draw = np.random.default_rng(3)
    stages = {
        name: (draw.lognormal(np.log(middle), 0.1, _SAMPLES) * 1e6).astype(np.int64)
        for name, middle in (("preprocess", 0.6), ("infer", 3.0), ("decode", 0.2))
    }
    starts = np.concatenate([[0], np.cumsum(sum(stages.values()))[:-1]])
    taken = round_of(0, 0, 20, starts.tolist(), {name: times.tolist() for name, times in stages.items()})
    conditions = read_conditions()
    return Profile(
        mode="single-stream",
        bundle="a million",
        model_sha256="0" * 64,
        precision="int8",
        target="orin-nano-8gb",
        backend="synthetic",
        threads=0,
        frame_hw=(720, 1280),
        input_shape=(1, 3, 224, 224),
        rounds=(taken,),
        layers=(),
        warnings=(),
        environment=read_environment(),
        before=conditions,
        after=conditions,
    )

"""What tests of several kinds share: profiles with chosen latencies, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgecnn.profiling.records import Environment, LayerTime, Profile

ProfileOf = Callable[..., Profile]

_BROWSER_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture
def profile_of() -> ProfileOf:
    """A maker of profiles whose times from frame to result are the given ones, nanoseconds."""

    def make(total_ns: Sequence[int], **changes: Any) -> Profile:
        frames = len(total_ns)
        # Two constant stages, so that every statistic of infer is the total's less a known constant.
        samples = {
            "preprocess": (1000,) * frames,
            "infer": tuple(int(time) - 1500 for time in total_ns),
            "decode": (500,) * frames,
        }
        environment = Environment(
            taken_at="2025-11-22T10:48:12+00:00",
            machine="NVIDIA Jetson Orin Nano",
            architecture="aarch64",
            system="Linux 5.15.148-tegra",
            cores=6,
            memory_bytes=8 * 2**30,
            governor=None,
            load_average=0.25,
            jetpack="6.2",
            power_mode="25W",
            packages={"numpy": "1.26.4", "tensorrt": "10.3.0"},
        )
        fields: dict[str, Any] = {
            "bundle": "leaves-int8",
            "model_sha256": "9f8c" * 16,
            "precision": "int8",
            "target": "orin-nano-8gb",
            "backend": "TensorRT 10.3",
            "threads": 2,
            "frame_hw": (1080, 1920),
            "input_shape": (1, 3, 224, 224),
            "warm_up": 50,
            "samples_ns": samples,
            "layers": tuple(
                LayerTime(name=f"/features/{index}/Conv", op_type="Conv", calls=frames, mean_ns=50e3, part=0.025)
                for index in range(40)
            ),
            "warnings": (),
            "environment": environment,
        }
        return Profile(**(fields | changes))

    return make


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium with a profile of its own, driven by selenium; it keeps the console's messages."""
    selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    # Submodules of selenium load on access.
    from selenium.webdriver.chrome.service import Service

    options = selenium.webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = selenium.webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()

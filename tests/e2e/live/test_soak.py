"""Half a minute of what ``python -m benchmarks.runtime.soak`` does for half an hour."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.runtime.soak import complaints, soak

SYSTEM_PYTHON = Path("/usr/bin/python3")
_ASK = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@pytest.mark.slow
def test_a_server_that_is_killed_again_and_again(digits: Path) -> None:
    if not SYSTEM_PYTHON.exists() or subprocess.run([str(SYSTEM_PYTHON), "-c", _ASK], capture_output=True).returncode:
        pytest.skip("no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0")
    try:
        soaked = soak(digits, seconds=22.0, every_s=5.0)
    except FileNotFoundError as error:
        pytest.skip(str(error))

    assert soaked.kills >= 2, soaked.said
    assert complaints(soaked) == []
    assert len(soaked.arrived) == 3
    assert soaked.said.count("it is tried again") >= soaked.kills
    assert soaked.said.count("is back after") >= soaked.kills

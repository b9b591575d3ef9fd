"""Files outside a benchmark that it starts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.runtime.parts import RTSP_SERVER


def test_the_rtsp_server_is_where_it_is_looked_for() -> None:
    assert Path(RTSP_SERVER[1]).is_file()

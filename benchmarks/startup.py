"""How long ``edgecnn --help`` takes, beside a typer application with one empty command: in turn, medians.

``python benchmarks/startup.py`` prints both and their difference.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROUNDS = 20
_BARE = "import typer\napp = typer.Typer()\n@app.command()\ndef hello() -> None:\n    pass\napp()\n"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(_BARE, encoding="utf-8")
        commands = {
            "bare typer --help": [sys.executable, str(bare), "--help"],
            "edgecnn --help": [sys.executable, "-m", "edgecnn", "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(_ROUNDS + 1):
            for name, command in commands.items():
                begin = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                if turn:  # the first round fills the caches
                    times[name].append(time.perf_counter() - begin)
    medians = [statistics.median(samples) for samples in times.values()]
    for name, median in zip(times, medians, strict=True):
        print(f"{name}: median {1000 * median:.0f} ms of {_ROUNDS}")
    print(f"difference: {1000 * (medians[1] - medians[0]):.0f} ms")


if __name__ == "__main__":
    main()

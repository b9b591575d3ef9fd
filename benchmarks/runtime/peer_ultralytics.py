"""``python benchmarks/runtime/peer_ultralytics.py MODEL FILM FRAMES``: ultralytics' predict with stream, as JSON.

Run by the Python of an environment of its own, as ultralytics is under the AGPL and no part of edgecnn.
"""

from __future__ import annotations

import json
import sys
import time

from ultralytics import YOLO


def main() -> None:
    """Measure and print."""
    model, film, frames = sys.argv[1:]
    results = YOLO(model, task="detect").predict(film, stream=True, verbose=False, imgsz=640)
    found = len(next(results).boxes)  # opens everything
    begin, cpu, done = time.perf_counter(), time.process_time(), 0
    for result in results:
        assert len(result.boxes) == found
        done += 1
        if done == int(frames):
            break
    seconds = time.perf_counter() - begin
    cpu_ms = 1e3 * (time.process_time() - cpu) / done
    print(json.dumps({"fps": done / seconds, "cpu_ms": cpu_ms, "frames": done, "boxes": found}))


if __name__ == "__main__":
    main()

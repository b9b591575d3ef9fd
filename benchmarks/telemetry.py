"""What sampling every sensor of this machine ten times a second takes of one core.

``python benchmarks/telemetry.py`` prints the processor's time for a sample, and the share of a core over 30 s.
"""

from __future__ import annotations

import time

from edgecnn.profiling.telemetry.sampler import Sampler, open_reader

_READINGS = 500
_SECONDS = 30.0


def main() -> None:
    """Measure and print."""
    reader = open_reader()
    reader.read()  # the first finds nothing in the system's caches
    begin = time.process_time()
    for _ in range(_READINGS):
        reader.read()
    print(f"a sample: {1e6 * (time.process_time() - begin) / _READINGS:.0f} us of {_READINGS}")
    with Sampler(reader) as sampler:
        used, begin = time.process_time(), time.monotonic()
        time.sleep(_SECONDS)
        share = (time.process_time() - used) / (time.monotonic() - begin)
    log = sampler.log()
    samples = len(log.series[0].times_ns) if log.series else 0
    print(f"{share:.2%} of a core over {_SECONDS:.0f} s: {len(log.series)} series of {samples} samples")
    for sentence in log.missing:
        print(f"not there: {sentence}")


if __name__ == "__main__":
    main()

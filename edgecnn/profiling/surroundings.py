"""The machine around a measurement: as it was before and after, and what its sensors said meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from edgecnn.profiling.environment import read_conditions, read_environment
from edgecnn.profiling.records import Conditions, Environment, Round
from edgecnn.profiling.telemetry.energy import Energy, energy_of, mean_power_mw, total_rails
from edgecnn.profiling.telemetry.reader import Reader
from edgecnn.profiling.telemetry.records import TelemetryLog
from edgecnn.profiling.telemetry.sampler import Sampler, open_reader

# At rest, before a measurement, where there is a sensor of power: what is then subtracted.
_REST_S = 2.0
_FIRST_SAMPLE_S = 2.0


class Surroundings:
    """What is known of the machine while the block runs.

    Args:
        reader: Of its sensors; by default all that it has.

    Attributes:
        environment: Before the block.
        before: Conditions then.
        after: Conditions behind the block.
        idle_mw: Power at rest; None where nothing tells.
        telemetry: Every sample, once the block has ended.
    """

    environment: Environment
    before: Conditions
    after: Conditions
    telemetry: TelemetryLog
    idle_mw: float | None = None

    def __init__(self, reader: Reader | None = None) -> None:
        self._sampler = Sampler(reader or open_reader())

    def __enter__(self) -> Surroundings:
        """Look, and begin to sample."""
        self.environment, self.before = read_environment(), read_conditions()
        self._sampler.__enter__()
        self._rest()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look again."""
        self._sampler.__exit__(kind, error, trace)
        self.after, self.telemetry = read_conditions(), self._sampler.log()

    def energy(self, rounds: Sequence[Round]) -> Energy:
        """Of all frames of some rounds, without the time between these."""
        found = [
            (energy_of(self.telemetry, begin, end, len(each.starts_ns) * each.batch, self.idle_mw), each)
            for each in rounds
            for begin, end in [_stretch(each)]
        ]
        first = found[0][0]
        unknown = next((energy for energy, _ in found if energy.joules_a_frame is None), None)
        if unknown is not None:
            return unknown
        frames = sum(len(each.starts_ns) * each.batch for _, each in found)
        seconds = sum((end - begin) / 1e9 for begin, end in map(_stretch, rounds))
        joules = sum((energy.joules_a_frame or 0.0) * len(each.starts_ns) * each.batch for energy, each in found)
        net = joules - (self.idle_mw or 0.0) / 1000 * seconds
        known = self.idle_mw is not None and net > 0
        return first.model_copy(
            update={
                "mean_mw": 1000 * joules / seconds,
                "joules_a_frame": joules / frames,
                "frames_a_watt": frames / joules,
                "net_joules_a_frame": net / frames if known else None,
                "net_frames_a_watt": frames / net if known else None,
            }
        )

    def _rest(self) -> None:
        end = time.monotonic() + _FIRST_SAMPLE_S
        while not self._sampler.latest() and time.monotonic() < end:
            time.sleep(0.02)
        if total_rails(self._sampler.log())[0]:
            begin = time.monotonic_ns()
            time.sleep(_REST_S)
            self.idle_mw = mean_power_mw(self._sampler.log(), begin, time.monotonic_ns())


def _stretch(each: Round) -> tuple[int, int]:
    """When a round's first frame began, and its last one ended."""
    last = each.starts_ns[-1] + int(each.total_ns()[-1])
    return each.begin_ns + each.starts_ns[0], each.begin_ns + last

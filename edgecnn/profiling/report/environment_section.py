"""The part of profile.html on where it was measured."""

from __future__ import annotations

from edgecnn.profiling.records import Conditions, Profile
from edgecnn.profiling.report.page import NO_VALUE, figure, pairs, section

_TIMES = "\N{MULTIPLICATION SIGN}"


def environment_section(profile: Profile) -> str:
    """The machine, its software, and what went on there before and after."""
    environment = profile.environment
    rows = [
        ("Machine", environment.machine),
        ("Architecture", environment.architecture),
        ("System", environment.system),
        ("L4T", environment.l4t or NO_VALUE),
        ("Power mode", environment.power_mode or NO_VALUE),
        ("Cores", str(environment.cores)),
        ("Memory", f"{figure(environment.memory_bytes / 2**30)} GiB"),
        ("Threads", str(profile.threads) if profile.threads else "the backend's choice"),
        ("Network input", f" {_TIMES} ".join(map(str, profile.input_shape))),
    ]
    if profile.frame_hw is not None:
        rows.append(("Frame", f"{profile.frame_hw[1]} {_TIMES} {profile.frame_hw[0]} px"))
    if profile.trtexec is not None:
        settings = profile.trtexec
        rows.append(("TensorRT", settings.version))
        flags = {"transfers": settings.transfers, "spin-wait": settings.spin_wait, "CUDA graph": settings.cuda_graph}
        rows += [(f"trtexec: {name}", "on" if flag else "off") for name, flag in flags.items()]
    rows += _changing(profile.before, profile.after)
    rows += [("Model SHA-256", profile.model_sha256), *sorted(environment.packages.items())]
    return section("Environment", pairs(rows))


def _changing(before: Conditions | None, after: Conditions | None) -> list[tuple[str, str]]:
    if before is None or after is None:
        return []
    rows = [
        ("Taken at", before.taken_at),
        ("CPU governor", before.governor or "not reported"),
        ("Load average, 1 min", f"{figure(before.load_average)} before, {figure(after.load_average)} after"),
    ]
    for name, (now, least, most) in before.clocks_mhz.items():
        rows.append((f"Clock of {name}", f"{figure(now)} MHz; may be {figure(least)} to {figure(most)}"))
    for name, celsius in before.temperatures_celsius.items():
        rows.append((f"Temperature of {name}", _from_to(celsius, after.temperatures_celsius.get(name), "°C")))
    return rows


def _from_to(before: float, after: float | None, unit: str) -> str:
    return f"{figure(before)} {unit} before, {figure(after)} {unit} after"

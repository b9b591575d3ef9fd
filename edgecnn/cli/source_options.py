"""Where ``edgecnn run`` gets its frames: the options, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgecnn.cli import console
from edgecnn.errors import InputError

if TYPE_CHECKING:
    from edgecnn.core.signal_preprocess import InputSpec
    from edgecnn.runtime.buffer import DropPolicy

Sources = Annotated[
    list[str],
    typer.Option(
        "--source",
        help="Video, picture or folder; /dev/videoN; rtsp://...; csi://N; gst://PIPELINE; synthetic://WxH@FPS. "
        "Signals: WAV, CSV or NPY file, or folder; pcm://s16le from standard input. "
        "May be repeated, with a name before it: door=rtsp://...",
    ),
]
Drop = Annotated[
    Optional[list[str]],
    typer.Option(
        "--drop",
        help="What becomes of frames that come while the network is busy: latest (cameras, where not said), "
        "wait (files) or drop-oldest:N; of one source: NAME=latest. May be repeated.",
    ),
]


def named_addresses(texts: list[str]) -> dict[str, str]:
    """Addresses by name, in their order."""
    from edgecnn.runtime.sources.base import parse_source

    found: dict[str, str] = {}
    for name, address in map(parse_source, texts):
        if name in found:
            raise InputError(f"source {name}: given twice", "give each a name of its own: door=ADDRESS")
        found[name] = address
    return found


def drop_policies(addresses: dict[str, str], texts: list[str]) -> dict[str, DropPolicy]:
    """By the sources' names: what was said last of the source, else of all, else what suits it."""
    from edgecnn.runtime.buffer import LATEST, WAIT, parse_policy
    from edgecnn.runtime.sources.base import is_live

    found = {name: LATEST if is_live(address) else WAIT for name, address in addresses.items()}
    for text in sorted(texts, key=lambda text: "=" in text):
        name, _, policy = text.rpartition("=")
        if name and name not in found:
            raise InputError(f"--drop {text}: there is no source {name}", f"sources are {', '.join(found)}")
        found |= dict.fromkeys([name] if name else found, parse_policy(policy))
    return found


def explain_run(addresses: dict[str, str], policies: dict[str, DropPolicy], preprocess: InputSpec) -> None:
    """Show what a run would do with its sources."""
    from edgecnn.core.signal_preprocess import SignalPreprocess
    from edgecnn.runtime.sources.base import explain_source

    sources = [
        {"name": name, "drop": str(policies[name]), "capture": explain_source(address, preprocess)}
        for name, address in addresses.items()
    ]
    if console.wants_json():
        console.print_json({"sources": sources, "preprocess": preprocess.model_dump(mode="json")})
        return
    for found in sources:
        print(f"source {found['name']} ({found['drop']}):\n  {found['capture']}")
    if isinstance(preprocess, SignalPreprocess):
        print(f"preprocess: signals at {preprocess.sample_rate:g} samples a second, {preprocess.channels} channels")
    else:
        wanted = preprocess.embed.frame_hw if preprocess.embed is not None else preprocess.size_hw
        how = "as it is" if preprocess.embed is not None else preprocess.resize
        print(f"preprocess: each frame to {wanted[1]} x {wanted[0]} ({how}), {preprocess.color}")
    print("infer, decode and sinks: each in threads of their own, a frame behind")

"""Where ``edgecnn run`` sends results, as options of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgecnn.errors import InputError

if TYPE_CHECKING:
    from edgecnn.core.signal_preprocess import InputSpec

Events = Annotated[
    Optional[str],
    typer.Option("--events", metavar="FILE", help="Append results to this file, one JSON object a line; - for stdout."),
]
EventsRotate = Annotated[
    Optional[str],
    typer.Option(
        "--events-rotate", metavar="SIZE[:KEEP]", help="Begin a new file at this size, as 100MB:10; keep so many."
    ),
]
Save = Annotated[
    Optional[Path],
    typer.Option("--save", help="Write an .mp4 or .mkv with the results drawn in; of several sources, one each."),
]

Mqtt = Annotated[
    Optional[str],
    typer.Option(
        "--mqtt",
        metavar="URL",
        help="Publish events: mqtt[s]://[USER@]HOST[:PORT]/TOPIC; the password is best given in EDGECNN_MQTT_PASSWORD.",
    ),
]
MqttSpool = Annotated[
    Optional[str],
    typer.Option(
        "--mqtt-spool",
        metavar="FOLDER[:SIZE]",
        help="Where events wait for the broker, as /data/spool:1GB; by default 200MB in the user's state folder.",
    ),
]
MqttCa = Annotated[
    Optional[Path], typer.Option("--mqtt-ca", help="Trust the certificates in this PEM file, with mqtts://.")
]
MetricsAddress = Annotated[
    Optional[str],
    typer.Option(
        "--metrics", metavar="[HOST:]PORT", help="Answer Prometheus here; without a host, this machine alone can ask."
    ),
]
Page = Annotated[
    Optional[str],
    typer.Option(
        "--page",
        metavar="[HOST:]PORT",
        help="Show the run in a browser: pictures, ages, drops, the board; without a host, on this machine alone.",
    ),
]
PageToken = Annotated[
    Optional[str],
    typer.Option(
        "--page-token",
        metavar="TOKEN",
        envvar="EDGECNN_PAGE_TOKEN",
        show_envvar=False,
        help="What a browser must have to see the page; better given in EDGECNN_PAGE_TOKEN.",
    ),
]
Show = Annotated[bool, typer.Option("--show", help="Show the frames in a window; q or Escape ends the run.")]


@dataclass(frozen=True)
class SinkOptions:
    """What was asked for; see the options of the same names."""

    events: str | None = None
    events_rotate: str | None = None
    save: Path | None = None
    mqtt: str | None = None
    mqtt_spool: str | None = None
    mqtt_ca: Path | None = None
    metrics: str | None = None
    show: bool = False
    page: str | None = None
    page_token: str | None = None
    as_json: bool = False


def require_pictures(spec: InputSpec, *, wanted: bool) -> None:
    """Refuse sinks that show frames, where these are no pictures."""
    from edgecnn.core.signal_preprocess import SignalPreprocess

    if wanted and isinstance(spec, SignalPreprocess):
        raise InputError(
            "--save, --show and --page show pictures, and this bundle's network takes signals", "give --events FILE"
        )

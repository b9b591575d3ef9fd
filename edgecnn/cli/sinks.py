"""The sinks that the options of ``edgecnn run`` ask for."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli import console
from edgecnn.cli.sink_options import SinkOptions
from edgecnn.errors import EnvironmentMissing, InputError

if TYPE_CHECKING:
    from edgecnn.runtime.metrics import Metrics
    from edgecnn.runtime.readings import Readings
    from edgecnn.runtime.sinks.base import Sink
    from edgecnn.runtime.sinks.jsonlines import JsonLinesSink, StandardOutputSink
    from edgecnn.runtime.sinks.mqtt import MqttSink
    from edgecnn.runtime.sinks.worker import SinkWorker
    from edgecnn.runtime.sources.base import FrameSource

# Results without their pictures are small: those of some seconds of a card that writes nothing for a while.
_ROOM_WITHOUT_PICTURES = 512
_ROOM = 8
_CLOSE_S = 10.0


@dataclass(frozen=True)
class OpenSinks:
    """Those of a run.

    Attributes:
        workers: What takes results.
        keeping: Those of them that keep results; the others show them.
    """

    workers: list[SinkWorker]
    keeping: list[SinkWorker]

    def failure(self) -> EnvironmentMissing | None:
        """The error where a sink that keeps results had not taken them to their end when it was closed."""
        troubles = [trouble for worker in self.keeping if (trouble := worker.trouble())]
        return EnvironmentMissing(f"not everything was written: {'; '.join(troubles)}") if troubles else None


@contextmanager
def open_sinks(
    options: SinkOptions,
    sources: Sequence[FrameSource],
    metrics: Metrics,
    stop: Callable[[], None],
    *,
    title: str = "",
    readings: Readings | None = None,
) -> Generator[OpenSinks, None, None]:
    """The sinks, each in its thread; they are closed behind the block.

    Args:
        options: Which.
        sources: Their names are those of the frames, if there are several.
        metrics: Of the run.
        stop: Ends the run.
        title: What runs, for the page.
        readings: Of the board.

    Raises:
        InputError: An option does not make sense.
        OSError: A file cannot be written from the start.
    """
    from edgecnn.runtime.events import name_run
    from edgecnn.runtime.sinks.worker import SinkWorker

    _refuse_what_is_without(options)
    run = name_run()
    live = any(source.live for source in sources)
    opened = OpenSinks([], [])
    workers = opened.workers

    def keep(sink: Sink, name: str, *, pictures: bool = False, source: str | None = None) -> None:
        # What waits for a file must not hold back a camera.
        room = _ROOM if pictures else _ROOM_WITHOUT_PICTURES
        worker = SinkWorker(
            sink, name, metrics.sink(name), wait=not live, room=room, pictures=pictures, source=source, say=console.say
        )
        workers.append(worker)
        opened.keeping.append(worker)

    def show(sink: Sink, name: str) -> None:
        workers.append(SinkWorker(sink, name, metrics.sink(name), wait=False, room=_ROOM, say=console.say))

    servers = ExitStack()
    try:
        if options.metrics is not None:
            from edgecnn.runtime.listen import parse_listen
            from edgecnn.runtime.sinks.prometheus import MetricsServer

            server = MetricsServer(*parse_listen(options.metrics, "--metrics"), metrics, readings)
            servers.callback(server.close)
        if options.events is not None:
            keep(_events_sink(options, run, stop), "events")
        if options.mqtt is not None:
            keep(_mqtt_sink(options, run), "mqtt")
        if options.save is not None:
            from edgecnn.runtime.sinks.video import VideoSink

            for source, path in _videos(options.save, sources):
                video = VideoSink(path, source.fps, live=source.live, say=console.say)
                if len(sources) == 1:
                    keep(video, "save", pictures=True)
                else:
                    keep(video, f"save {source.name}", pictures=True, source=source.name)
        if options.show:
            from edgecnn.runtime.sinks.window import WindowSink

            show(WindowSink(title, stop), "window")
        if options.page is not None:
            from edgecnn.runtime.listen import parse_listen
            from edgecnn.runtime.page.server import PageSink

            host, port = parse_listen(options.page, "--page")
            page = PageSink(
                host, port, metrics, title=title, token=options.page_token, readings=readings, say=console.say
            )
            show(page, "page")
            console.say(f"the run is shown at {page.url}")
        yield opened
    finally:
        closing = [threading.Thread(target=worker.close, args=(_CLOSE_S,)) for worker in workers]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        servers.close()


def _refuse_what_is_without(options: SinkOptions) -> None:
    """Options that say more about a sink that was not asked for."""
    if options.events is None and options.events_rotate is not None:
        raise InputError("--events-rotate: there is no --events FILE to rotate", "name the file")
    if options.mqtt is None and (options.mqtt_spool is not None or options.mqtt_ca is not None):
        raise InputError("--mqtt-spool and --mqtt-ca: there is no --mqtt", "name the broker")


def _events_sink(options: SinkOptions, run: str, stop: Callable[[], None]) -> JsonLinesSink | StandardOutputSink:
    from edgecnn.runtime.sinks.jsonlines import JsonLinesSink, StandardOutputSink, parse_rotation

    assert options.events is not None
    if options.events != "-":
        rotation = parse_rotation(options.events_rotate) if options.events_rotate is not None else None
        return JsonLinesSink(Path(options.events), run, rotation)
    if options.events_rotate is not None:
        raise InputError("--events-rotate: standard output cannot be rotated", "give --events a file")
    if options.as_json:
        raise InputError("--events -: standard output is taken by --json", "give --events a file, or leave --json out")
    return StandardOutputSink(run, stop)


def _mqtt_sink(options: SinkOptions, run: str) -> MqttSink:
    from edgecnn.runtime.sinks.mqtt import DEFAULT_SPOOL_BYTES, MqttSink, parse_broker
    from edgecnn.runtime.sinks.sizes import parse_size

    assert options.mqtt is not None
    folder, size_bytes = options.mqtt_spool, DEFAULT_SPOOL_BYTES
    if folder is not None and ":" in folder:
        folder, _, size = folder.rpartition(":")
        size_bytes = parse_size(size, "--mqtt-spool")
    return MqttSink(
        parse_broker(options.mqtt),
        run,
        folder=Path(folder) if folder else None,
        spool_bytes=size_bytes,
        authority=options.mqtt_ca,
        say=console.say,
    )


def _videos(path: Path, sources: Sequence[FrameSource]) -> list[tuple[FrameSource, Path]]:
    """A file for each source; of several, with the source's name in it."""
    if len(sources) == 1:
        return [(sources[0], path)]
    names = [re.sub(r"[^\w.-]+", "-", source.name).strip("-.") for source in sources]
    numbered = [
        name if names.count(name) == 1 and name else f"{name}-{index}".lstrip("-") for index, name in enumerate(names)
    ]
    return [
        (source, path.with_name(f"{path.stem}-{name}{path.suffix}"))
        for source, name in zip(sources, numbered, strict=True)
    ]

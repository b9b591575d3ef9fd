"""edgecnn shift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli import console


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    frames: Annotated[
        str, typer.Option("--frames", help="What the camera sees: a folder of pictures, a video, or a camera.")
    ],
    max_frames: Annotated[int, typer.Option("--max-frames", min=1, help="Look at so many at most.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Are a camera's frames like the pictures that the network learnt from? Exit code 1 where not.

    Example: edgecnn shift build/digits --frames film.mp4
    """
    from itertools import islice

    import numpy as np

    from edgecnn.backends.session import open_session
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.errors import InputError
    from edgecnn.runtime.sources.base import open_source
    from edgecnn.vision.preprocess import network_input
    from edgecnn.vision.results import decode_result
    from edgecnn.vision.shift import looks_at_results, statistics_of

    loaded = load_bundle(bundle)
    part, usage = loaded.manifest.shift, loaded.manifest.usage
    if part is None:
        raise InputError(
            f"{bundle}: it remembers nothing of training pictures",
            "convert it with calibration pictures (--calib) and others of the same kind (--data)",
        )
    session = None
    if looks_at_results(usage):
        session = open_session(loaded.model, optimize=loaded.manifest.runs_optimized)
    rows: list[np.ndarray] = []
    with open_source(frames) as source:
        for frame in islice(source, max_frames):
            result = None
            if session is not None:
                feed = {session.inputs[0].name: network_input(frame.image, usage.preprocess)}
                result = decode_result(session.run(feed), usage, (frame.image.shape[0], frame.image.shape[1]))
            rows.append(statistics_of(frame.image, result, usage))
    if session is not None:
        session.close()
    if not rows:
        raise InputError(f"--frames {frames}: no frame came", "give a folder with pictures, or a video")
    found = np.stack(rows)
    distances, scores = part.distance(found), part.scores(found).mean(axis=0)
    share = float((distances > part.threshold).mean())
    alike = share <= part.most_unlike
    if as_json:
        console.print_json(
            {
                "frames": len(rows),
                "unlike_share": share,
                "false_alarm_rate": part.false_alarm_rate,
                "most_unlike": part.most_unlike,
                "alike": alike,
                "median_distance": float(np.median(distances)) / part.threshold,
                "deviations": dict(zip(part.statistics, scores.tolist(), strict=True)),
            }
        )
    else:
        means = zip(part.statistics, part.means, found.mean(axis=0), scores, strict=True)
        console.print_table(
            f"{loaded.manifest.name}: {len(rows)} frames",
            ("statistic ", "training pictures", "frames", "deviations"),
            [(name, f"{mean:.3g}", f"{other:.3g}", f"{score:+.1f}") for name, mean, other, score in means],
        )
        print(
            f"{share:.1%} of the frames are unlike the training pictures; by chance {part.false_alarm_rate:.1%} would "
            f"be, and up to {part.most_unlike:.1%} is taken for that"
        )
        if not alike:
            print(f"furthest off: {part.furthest(scores)} deviations; learn from pictures of this camera, too")
    if not alike:
        raise typer.Exit(1)

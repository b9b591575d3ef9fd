"""edgecnn gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli import console


def command(
    bundle: Annotated[Path, typer.Argument(help="The folder of an embedding network's bundle.")],
    pictures: Annotated[
        str, typer.Argument(help="A folder with a folder of pictures for each name, or a CSV file: path, label.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The gallery's file, such as staff.npz.")],
) -> None:
    """Keep the vectors of known faces, or other things, so that run can name them.

    Example: edgecnn gallery build/faces staff/ --out staff.npz
    """
    from edgecnn.backends.session import open_session
    from edgecnn.core.frame import Embedding
    from edgecnn.core.readings import Embedder
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.errors import InputError
    from edgecnn.evaluate.accuracy import network_of
    from edgecnn.evaluate.outputs import predict_outputs
    from edgecnn.vision.gallery import gallery_of, write_gallery
    from edgecnn.vision.images import open_image_set

    loaded = load_bundle(bundle)
    usage = loaded.manifest.usage
    if not isinstance(usage, Embedder):
        raise InputError(f"{bundle}: its task is {loaded.manifest.task}", "a gallery is for task: embedding")
    images = open_image_set(pictures)
    if images.labels is None:
        raise InputError(
            f"pictures {pictures}: they have no names", "put each name's pictures into a folder of that name"
        )
    names = [images.classes[label] if images.classes else str(label) for label in images.labels]
    session = open_session(loaded.model, optimize=loaded.manifest.runs_optimized)
    network = network_of(session.run, session.inputs[0].name)
    vectors = predict_outputs(network, images.paths, usage, console.TerminalProgress(), f"gallery of {bundle.name}")
    session.close()
    write_gallery(
        out, gallery_of([Embedding(vector) for vector in vectors], names, loaded.manifest.files[loaded.model.name])
    )
    console.say(f"{len(names)} pictures of {len(set(names))} names: {out}")

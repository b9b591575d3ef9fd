"""edgecnn evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgecnn.cli import console


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    data: Annotated[
        str, typer.Option("--data", help="Labelled pictures: a folder with a folder for each class, or a CSV file.")
    ],
    against: Annotated[
        Optional[Path], typer.Option("--against", help="Another bundle: how often do both name the same class?")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """How often is it right on labelled pictures?

    Example: edgecnn evaluate build/digits --data labelled/
    """
    from edgecnn.backends.session import open_session
    from edgecnn.deploy.bundle import Bundle, load_bundle
    from edgecnn.errors import InputError
    from edgecnn.evaluate.accuracy import Predictions, accuracy_of, network_of, predict
    from edgecnn.vision.images import open_image_set

    first = load_bundle(bundle)
    second = load_bundle(against) if against is not None else first
    if second.manifest.labels != first.manifest.labels:
        raise InputError(
            f"--against {against}: its classes are not those of {bundle}", "compare bundles of one set of classes"
        )
    images = open_image_set(data).labelled_for(first.manifest.labels)

    def predictions_of(loaded: Bundle) -> Predictions:
        session = open_session(loaded.model)
        network = network_of(session.run, session.inputs[0].name)
        found = predict(
            network,
            images.paths,
            loaded.manifest.preprocess,
            console.TerminalProgress(),
            f"evaluate {loaded.path.name}",
        )
        session.close()
        return found

    found = predictions_of(first)
    reference = predictions_of(second) if against is not None else found
    accuracy = accuracy_of(found, images.labels, reference)
    document: dict[str, object] = {"images": accuracy.images, "top1": accuracy.top1, "top5": accuracy.top5}
    if against is not None:
        document["agreement"] = accuracy.agreement
    if as_json:
        console.print_json(document)
        return
    agreement = f", same class as {against} on {accuracy.agreement:.2%}" if against is not None else ""
    print(
        f"{first.manifest.name}: top-1 {accuracy.top1:.2%}, top-5 {accuracy.top5:.2%} "
        f"of {accuracy.images} pictures{agreement}"
    )

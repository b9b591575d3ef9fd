"""Known vectors with names, and whose a new one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from edgecnn.core.files import write_atomically
from edgecnn.core.frame import Embedding
from edgecnn.errors import InputError


@dataclass(frozen=True, eq=False)
class Gallery:
    """Vectors of known pictures.

    Attributes:
        names: One for each vector; the same name may stand at several.
        vectors: float32 (N, D), each of length 1.
        model: SHA-256 of the network that made them: another's vectors mean something else.
    """

    names: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    model: str

    def named(self, found: Embedding, match_above: float) -> Embedding:
        """A vector with the name that it is nearest to by cosine; "unknown" where that is below ``match_above``."""
        cosines = self.vectors @ found.vector
        nearest = int(cosines.argmax())
        similarity = float(cosines[nearest])
        return replace(
            found, label=self.names[nearest] if similarity >= match_above else "unknown", similarity=similarity
        )


def gallery_of(embeddings: Sequence[Embedding], names: Sequence[str], model: str) -> Gallery:
    """A gallery of at least one vector."""
    return Gallery(tuple(names), np.stack([found.vector for found in embeddings]), model)


def write_gallery(path: Path, gallery: Gallery) -> None:
    """Keep a gallery in one file of numpy's (npz)."""
    with write_atomically(path) as part, part.open("wb") as stream:
        np.savez(stream, names=np.array(gallery.names), vectors=gallery.vectors, model=np.array(gallery.model))


def read_gallery(path: Path, model: str) -> Gallery:
    """What ``write_gallery`` kept.

    Args:
        path: The file.
        model: SHA-256 of the network whose vectors are to be named.

    Raises:
        InputError: There is no such file, it is no gallery, or another network made it.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = tuple(str(name) for name in arrays["names"])
            found = Gallery(names, arrays["vectors"].astype(np.float32), str(arrays["model"]))
    except FileNotFoundError:
        raise InputError(f"gallery {path}: no such file", "make one with edgecnn gallery") from None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        raise InputError(f"gallery {path}: not a gallery", "make it anew with edgecnn gallery") from None
    if found.model != model:
        raise InputError(
            f"gallery {path}: it was made with another network than this bundle's", "make it anew with edgecnn gallery"
        )
    return found

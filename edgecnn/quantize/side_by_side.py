"""A network and changed copies of it, run side by side and a part at a time, while the copies still change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import onnx_ir as ir

from edgecnn.core.tensors import Arrays
from edgecnn.graph.model import bytes_of
from edgecnn.quantize.partial import PartialNetwork, run_part

# What is kept of all frames between two parts, of all networks together.
_MOST_BYTES = 192 << 20


class SideBySide:
    """Runs networks up to values that lie further and further behind; what stands before them may change no more.

    What lies between what was run and what comes next is kept for all frames, wherever that fits into memory, and the
    next part begins there. Where it does not fit, such as between wide layers at the start of a network, the next part
    begins where this one did.

    Args:
        networks: Their inputs are the same, and have static shapes. The constants of nodes that were not run may be
            replaced between two calls of ``observe``; nodes may not.
        frames: Feeds; all are kept, as long as they are needed.

    Attributes:
        frames: How many there are.
    """

    def __init__(self, networks: Sequence[ir.Model], frames: Sequence[Arrays]) -> None:
        self._networks = [PartialNetwork(model, frames) for model in networks]
        self.frames = len(frames)

    def observe(self, names: Collection[str], later: Collection[str]) -> Iterator[tuple[Arrays, ...]]:
        """The values in each network, frame by frame.

        Args:
            names: Of values that all networks have.
            later: Of those that other calls will want.
        """
        cuts = [network.cut_behind(names, later) for network in self._networks]
        sizes = [bytes_of(value) for cut in cuts for value in cut]
        fits = None not in sizes and self.frames * sum(size or 0 for size in sizes) <= _MOST_BYTES
        parts = [network.part(names, cut if fits else ()) for network, cut in zip(self._networks, cuts, strict=True)]
        with ThreadPoolExecutor(len(parts)) as pool:

            def start(index: int) -> list[Future[Arrays]]:
                frame = zip(self._networks, parts, strict=True)
                return [pool.submit(run_part, part, network.kept[index]) for network, part in frame]

            ahead = start(0) if self.frames else []
            for index in range(self.frames):
                found = [each.result() for each in ahead]
                ahead = start(index + 1) if index + 1 < self.frames else []
                for network, values, cut in zip(self._networks, found, cuts, strict=True):
                    if fits:
                        network.kept[index] = {str(value.name): values[str(value.name)] for value in cut}
                yield tuple({name: values[name] for name in names} for values in found)
        for network, part, cut in zip(self._networks, parts, cuts, strict=True):
            if part is not None:
                part.close()
            if fits:
                network.begin = cut

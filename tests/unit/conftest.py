"""What tests that train share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def torch_as_before() -> Iterator[None]:
    """Training asks torch for deterministic algorithms, for good; and networks this small want no second thread."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)

"""What the command does before and around every other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_torch_sleep_while_they_wait(given: str | None, expected: str) -> None:
    """Unless somebody wants it otherwise; OpenMP itself says what it was told."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": given} if given else {})
    program = (
        "import sys\nfrom edgecnn.cli import main\nsys.argv = ['edgecnn', '--version']\n"
        "try:\n    main.main()\nfinally:\n    import torch"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr

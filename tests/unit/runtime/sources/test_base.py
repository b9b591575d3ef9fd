"""Addresses of sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import InputError
from edgecnn.runtime.sources.base import open_source
from edgecnn.runtime.sources.folder import FolderSource
from edgecnn.runtime.sources.synthetic import SyntheticSource
from edgecnn.runtime.sources.video import VideoSource


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("ftp://host/x.mp4", "ftp:// is not known"),
        ("nowhere.mp4", "no such file or folder"),
        ("nowhere.png", "no such file or folder"),
        ("nowhere", "no such file or folder"),
        ("csi://x", "the camera's number is missing"),
        ("csi://", "the camera's number is missing"),
        ("csi://[0", "the camera's number is missing"),
        ("csi://0?width=abc", "width=abc is not understood"),
        ("csi://0?width=", "width= is not understood"),
        ("csi://0?height=0", "height=0 is not understood"),
        ("csi://0?zoom=2", "zoom=2 is not understood"),
        ("synthetic://640", "not of the form synthetic://WxH@FPS"),
        ("synthetic://640x480@", "not of the form"),
        ("synthetic://0x480", "not of the form"),
        ("synthetic://640x480@0", "not of the form"),
        ("synthetic://640x480@-3", "not of the form"),
    ],
)
def test_wrong_address_is_named_in_a_sentence(
    address: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        open_source(address)
    assert caught.value.message.startswith(f"source {address}: ")
    assert complaint in caught.value.message
    assert caught.value.hint


def test_address_decides_the_kind_of_source(tmp_path: Path, write_video: Any) -> None:
    assert isinstance(open_source("synthetic://"), SyntheticSource)
    with open_source(str(write_video(tmp_path / "a.avi", 3))) as source:
        assert isinstance(source, VideoSource)
    (tmp_path / "pictures.mp4").mkdir()
    with pytest.raises(InputError, match="has no pictures"):
        open_source(str(tmp_path / "pictures.mp4"))
    (tmp_path / "one.PNG").touch()
    assert isinstance(open_source(str(tmp_path / "one.PNG")), FolderSource)

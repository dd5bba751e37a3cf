"""Exported versions: the same bytes on the other side, or a refusal."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.errors import BundleError
from aegis_yield.registry import transfer
from aegis_yield.registry.transfer import Parcel, is_parcel, packed, unpacked

CONTENT = bytes(range(256)) * 20
PARCEL = Parcel("lstm_v4", CONTENT, {"data": {"last_date": "2025-09-30"}})


def manifest(**changes: Any) -> dict[str, Any]:
    plain = {
        "format": "aegis-yield-export", "format_version": 1, "version": "lstm_v4",
        "sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT), "facts": {},
    }  # fmt: skip
    return {**plain, **changes}


def archive(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return stream.getvalue()


def export(**changes: Any) -> dict[str, bytes]:
    return {"manifest.json": json.dumps(manifest(**changes)).encode(), "bundle.pth": CONTENT}


def refusal(content: bytes, folder: Path) -> str:
    path = folder / "x.aegis.zip"
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        unpacked(path)
    assert str(path) in str(caught.value)
    assert list(folder.iterdir()) == [path]
    return str(caught.value)


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.aegis.zip"
    path.write_bytes(packed(PARCEL))
    assert unpacked(path) == PARCEL
    assert is_parcel(path)


def test_the_same_version_gives_the_same_file() -> None:
    assert packed(PARCEL) == packed(PARCEL)


def test_the_format_is_what_the_documentation_says(tmp_path: Path) -> None:
    path = tmp_path / "x.aegis.zip"
    path.write_bytes(archive(export()))
    assert unpacked(path) == Parcel("lstm_v4", CONTENT, {})


@settings(max_examples=150)
@given(place=st.integers(0, len(packed(PARCEL)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_gives_another_bundle(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    content = bytearray(packed(PARCEL))
    content[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "x.zip"
    path.write_bytes(content)
    try:
        found = unpacked(path)
    except BundleError:
        return
    assert found.content == CONTENT  # a flip in a time stamp, say, or in the name of the version


@pytest.mark.parametrize("kept", [0, 1, 22, 100, 3000, len(packed(PARCEL)) - 1])
def test_a_part_of_a_file_is_refused(tmp_path: Path, kept: int) -> None:
    assert "damaged, or not an exported version" in refusal(packed(PARCEL)[:kept], tmp_path)


def test_another_bundle_in_its_place_is_refused(tmp_path: Path) -> None:
    swapped = {**export(), "bundle.pth": CONTENT[::-1]}
    assert "damaged or tampered with, refused" in refusal(archive(swapped), tmp_path)


@pytest.mark.parametrize("name", ["../lstm_v9.pth", "/etc/passwd", "..\\x", "bundle.pth/../../x", "README.md", ""])
def test_entries_that_no_export_has_are_refused(tmp_path: Path, name: str) -> None:
    assert "received entries" in refusal(archive({**export(), name or " ": b"x"}), tmp_path)
    assert "received entries" in refusal(archive({"manifest.json": b"{}", name or " ": b"x"}), tmp_path)


def test_an_entry_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO(archive(export()))
    with zipfile.ZipFile(stream, "a") as made, pytest.warns(UserWarning, match="Duplicate name"):
        made.writestr("bundle.pth", b"another")
    assert "received entries" in refusal(stream.getvalue(), tmp_path)


def test_compressed_entries_are_refused_before_they_unfold(tmp_path: Path) -> None:
    bomb = {**export(), "bundle.pth": bytes(20 * 1024**2)}
    assert "compressed or encrypted" in refusal(archive(bomb, zipfile.ZIP_DEFLATED), tmp_path)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_BUNDLE_BYTES", len(CONTENT) - 1)
    assert f"bundle.pth has {len(CONTENT):,} bytes, allowed are {len(CONTENT) - 1:,}" in refusal(
        archive(export()), tmp_path
    )
    monkeypatch.setattr(transfer, "_OVERHEAD_BYTES", 0)
    monkeypatch.setattr(transfer, "MAX_MANIFEST_BYTES", 10)
    monkeypatch.setattr(transfer, "MAX_BUNDLE_BYTES", 10)
    assert "allowed are 20" in refusal(archive(export()), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "not an exported version of this project"),
        ({"format_version": 2}, "export format 2, this release reads 1; update this release"),
        ({"format_version": 0}, "export it again with a current release"),
        ({"format_version": "1"}, "export it again with a current release"),
        ({"sha256": None}, "no proper sha256"),
        ({"bytes": "many", "facts": []}, "no proper bytes, facts"),
        ({"bytes": 7}, "damaged or tampered with"),
    ],
)
def test_another_manifest_is_refused_with_what_to_do(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(archive(export(**changes)), tmp_path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"format": 1}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    assert "x.aegis.zip" in refusal(archive({"manifest.json": text, "bundle.pth": CONTENT}), tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        unpacked(tmp_path / "absent.zip")
    assert not is_parcel(tmp_path / "absent.zip")

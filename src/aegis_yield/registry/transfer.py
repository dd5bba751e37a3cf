"""A version as one file for another machine: the bundle and a manifest in an uncompressed zip, bytes for bytes.

Nothing is unpacked to a place that the file names, nothing is unpickled, and everything is bounded before it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import BundleError

FORMAT: Final = "aegis-yield-export"
FORMAT_VERSION: Final = 1
SUFFIX: Final = ".aegis.zip"
MAX_BUNDLE_BYTES: Final = 64 * 1024**2
MAX_MANIFEST_BYTES: Final = 1024**2
_MANIFEST, _BUNDLE = "manifest.json", "bundle.pth"
_OVERHEAD_BYTES: Final = 64 * 1024
_MIDNIGHT: Final = (1980, 1, 1, 0, 0, 0)
_AGAIN: Final = "export it again with: aegis models export VERSION"


@dataclass(frozen=True)
class Parcel:
    """An exported version.

    Attributes
    ----------
    version : str
        Its name where it was exported.
    content : bytes
        The bundle.
    facts : mapping
        What is said of it, for people: provenance.
    """

    version: str
    content: bytes
    facts: Mapping[str, Any]


def packed(parcel: Parcel) -> bytes:
    """Return the file of a parcel; the same parcel gives the same bytes."""
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": parcel.version,
        "sha256": hashlib.sha256(parcel.content).hexdigest(),
        "bytes": len(parcel.content),
        "facts": dict(parcel.facts),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((_MANIFEST, json.dumps(manifest, indent=1).encode()), (_BUNDLE, parcel.content)):
            entry = zipfile.ZipInfo(name, _MIDNIGHT)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return stream.getvalue()


def is_parcel(path: Path) -> bool:
    """Whether a file is an export, rather than a bare bundle (which is a zip archive, too)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _MANIFEST in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def unpacked(path: Path) -> Parcel:
    """Read a parcel.

    Raises
    ------
    BundleError
        If the file is missing, too large, not an export, of another format version, damaged or tampered with.
    """
    if not path.is_file():
        raise BundleError(f"{path}: no such file; {_AGAIN}")
    size = path.stat().st_size
    allowed = MAX_BUNDLE_BYTES + MAX_MANIFEST_BYTES + _OVERHEAD_BYTES
    if size > allowed:
        raise BundleError(f"{path}: received {size:,} bytes, allowed are {allowed:,}; {_AGAIN}")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive)
            manifest = _manifest(path, archive.read(_MANIFEST))
            content = archive.read(_BUNDLE)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        raise BundleError(f"{path}: damaged, or not an exported version ({error}); {_AGAIN}") from error
    received = hashlib.sha256(content).hexdigest()
    if (received, len(content)) != (manifest["sha256"], manifest["bytes"]):
        raise BundleError(
            f"{path}: the bundle inside is not the one that was exported (SHA-256 {received[:8]}…, manifest says "
            f"{str(manifest['sha256'])[:8]}…): damaged or tampered with, refused; {_AGAIN}"
        )
    return Parcel(str(manifest["version"]), content, manifest["facts"])


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Look at what the archive announces before anything of it is read."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if names != [_MANIFEST, _BUNDLE]:
        shown = ", ".join(repr(name[:40]) for name in names[:4])
        raise BundleError(f"{path}: received entries {shown}; an export has exactly {_MANIFEST} and {_BUNDLE}")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1 for entry in entries):
        raise BundleError(f"{path}: compressed or encrypted entries, which no export has; {_AGAIN}")
    for entry, most in zip(entries, (MAX_MANIFEST_BYTES, MAX_BUNDLE_BYTES), strict=True):
        if entry.file_size > most:
            raise BundleError(f"{path}: {entry.filename} has {entry.file_size:,} bytes, allowed are {most:,}; {_AGAIN}")


def _manifest(path: Path, text: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        is_one = manifest["format"] == FORMAT
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: its manifest cannot be read; {_AGAIN}") from error
    if not is_one:
        raise BundleError(f"{path}: not an exported version of this project (format {manifest['format']!r})")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        advice = "update this release" if newer else "export it again with a current release"
        raise BundleError(f"{path}: export format {version!r}, this release reads {FORMAT_VERSION}; {advice}")
    kinds = {"version": str, "sha256": str, "bytes": int, "facts": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(manifest.get(name), kind)]
    if wrong:
        raise BundleError(f"{path}: its manifest has no proper {', '.join(wrong)}; {_AGAIN}")
    return dict(manifest)

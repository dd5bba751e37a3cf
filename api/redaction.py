"""Redaction: the machine's folders are in the log, never in an answer."""

from __future__ import annotations

import re
from typing import Final

_FOLDERS: Final = re.compile(r"(?<![\w.])(?:/[^\s/:,;'\"]+)+/")


def without_folders(text: str) -> str:
    """Return a text in which absolute paths are file names."""
    return _FOLDERS.sub("", text)

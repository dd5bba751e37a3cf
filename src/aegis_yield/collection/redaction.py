"""Secrets never leave memory: keys are blotted out of everything that is written or said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

MASK: Final = "***"
_SECRET_PARAMS: Final = re.compile(r"(?i)\b(api_?key|key|token|secret|auth|signature)=([^&\s\"']+)")


class Redactor:
    """Blots known secrets out of text, bytes and nested values.

    Parameters
    ----------
    secrets : sequence of str
        What must not be seen; longest first, so that no part of a longer one is left over.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(sorted(filter(None, secrets), key=len, reverse=True))

    def text(self, text: str) -> str:
        """Return text without secrets, and without the values of parameters that usually are."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _SECRET_PARAMS.sub(rf"\1={MASK}", text)

    def content(self, content: bytes) -> bytes:
        """Return bytes without known secrets; otherwise exactly as they are."""
        for secret in self._secrets:
            content = content.replace(secret.encode(), MASK.encode())
        return content

    def value(self, value: Any) -> Any:
        """Return a nested value of dicts, lists and text without known secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value

"""Secrets never leave memory: keys are blotted out of everything that is written or said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"
_USER_OF_URL: Final = re.compile(r"(?<=://)[^/?#\s\"'@]+@")
_SECRET_PARAMS: Final = re.compile(r"(?i)\b(api_?key|key|token|secret|auth|signature)=([^&\s\"']+)")


class Redactor:
    """Blots known secrets out of text, bytes and nested values.

    Parameters
    ----------
    secrets : sequence of str
        What must not be seen, neither as it is nor as it stands in a URL.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        plain = {form for secret in secrets for form in (secret, unquote(secret)) if form.strip()}
        # Longest first, so that no part of a longer one is left over.
        longest_first = sorted(plain, key=len, reverse=True)
        self._in_text = re.compile("|".join(map(_as_pattern, longest_first))) if plain else None
        self._in_bytes = [form.encode() for secret in longest_first for form in _forms(secret)]

    def text(self, text: str) -> str:
        """Return text without secrets, users of URLs, and values of parameters that usually are secret."""
        text = text if self._in_text is None else self._in_text.sub(MASK, text)
        return _SECRET_PARAMS.sub(rf"\1={MASK}", _USER_OF_URL.sub(f"{MASK}@", text))

    def content(self, content: bytes) -> bytes:
        """Return bytes without known secrets; otherwise exactly as they are."""
        for secret in self._in_bytes:
            content = content.replace(secret, MASK.encode())
        return content

    def value(self, value: Any) -> Any:
        """Return a nested value of dicts, lists and text without known secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value


def _as_pattern(secret: str) -> str:
    """Match a secret however a URL writes its characters."""
    return "".join(f"(?:{_percent(char)}|{re.escape(char)}{'|[+]' if char == ' ' else ''})" for char in secret)


def _percent(char: str) -> str:
    return "(?i:" + "".join(f"%{byte:02x}" for byte in char.encode(errors="replace")) + ")"


def _forms(secret: str) -> list[str]:
    """Return the forms that bodies use, where a pattern would be too slow: plain, in JSON, in URLs."""
    forms = (secret, secret.replace("/", "\\/"), quote(secret), quote(secret, safe=""), quote_plus(secret))
    return sorted({*forms}, key=len, reverse=True)

"""Where trainings are recorded: ``AEGIS_TRACKING__URI``, ``__ARTIFACTS`` and ``__ENABLED``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aegis_yield.domain.errors import RequestError

PREFIX: Final = "AEGIS_TRACKING__"
NAMES: Final = ("URI", "ARTIFACTS", "ENABLED")
FOLDER: Final = "tracking"
"""Inside the models folder: the default store, and the outbox of what it has not got yet."""

_ALLOWED: Final = "sqlite:////path/file.db, postgresql://user@host/database or http(s)://host"
_SCHEMES: Final = re.compile(r"(sqlite|postgresql)(\+\w+)?://|https?://")
_PASSWORD: Final = re.compile(r"(://[^:/@]*:)[^@]*@")
_PASSWORD_HTTP: Final = re.compile(r"(://[^:/@]*:)[^@/]*@")
_PASSWORD_QUERY: Final = re.compile(r"(password=)[^&]*")
_ON: Final = ("1", "true", "yes", "on")
_OFF: Final = ("0", "false", "no", "off")


@dataclass(frozen=True)
class TrackingSettings:
    """Where the record of trainings lies.

    Attributes
    ----------
    models : Path
        The models folder it is about.
    uri : str
        Of MLflow's store; may hold a password.
    artifacts : str
        Folder or URL under which MLflow keeps files; empty where a server decides.
    enabled : bool
        Whether anything is recorded.
    """

    models: Path
    uri: str = field(repr=False)
    artifacts: str = ""
    enabled: bool = True

    @classmethod
    def of(cls, models: Path, environment: Mapping[str, str] | None = None) -> TrackingSettings:
        """Read the settings for a models folder, by default from the process's environment.

        Raises
        ------
        RequestError
            If a value is not of its kind, naming the setting.
        """
        environment = os.environ if environment is None else environment
        found = {name.removeprefix(PREFIX): text for name, text in environment.items() if name.startswith(PREFIX)}
        unknown = sorted(set(found) - set(NAMES))
        if unknown:
            raise RequestError("environment", f"{PREFIX}{unknown[0]}", ", ".join(PREFIX + name for name in NAMES))
        models = models.resolve()
        uri = found.get("URI", "").strip() or f"sqlite:///{models / FOLDER / 'mlflow.db'}"
        if not _SCHEMES.match(uri):
            raise RequestError(f"{PREFIX}URI", redacted(uri), _ALLOWED)
        own = "" if uri.startswith("http") else str(models / FOLDER / "artifacts")
        switch = found.get("ENABLED", "1").strip().lower()
        if switch not in _ON + _OFF:
            raise RequestError(f"{PREFIX}ENABLED", switch, "1 or 0")
        return cls(models, uri, found.get("ARTIFACTS", "").strip() or own, switch in _ON)

    @property
    def folder(self) -> Path:
        """What tracking keeps beside the bundles."""
        return self.models / FOLDER

    @property
    def address(self) -> str:
        """The store for people: without a password."""
        return redacted(self.uri)


def redacted(uri: str) -> str:
    """Return an address without its password."""
    pattern = _PASSWORD_HTTP if uri.startswith("http") else _PASSWORD
    return _PASSWORD_QUERY.sub(r"\1***", pattern.sub(r"\1***@", uri))

"""Settings of collection: every host's address, key and limits, from a file and the environment."""

from __future__ import annotations

import base64
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from aegis_yield.domain.errors import CollectionError, OfflineError, RequestError
from aegis_yield.utils.project import shipped_file

PREFIX: Final = "AEGIS_SRC__"
_HOST_NUMBERS: Final = ("requests_per_second", "concurrency", "timeout_s")
_HOST_TEXTS: Final = ("base_url", "api_key")
_HOST_FILE_TEXTS: Final = ("pro_base_url", "api_key_header", "api_key_param")


@dataclass(frozen=True)
class HostSettings:
    """How one host is reached.

    Attributes
    ----------
    name : str
        As in ``configs/sources.toml``.
    base_urls : tuple of str
        Without a trailing slash; more than one where any of several will do.
    api_key : str
        Empty for none.
    api_key_header, api_key_param : str
        Where the key goes: a request header or a query parameter; empty for neither.
    requests_per_second : float
        0 for no limit.
    concurrency : int
        Requests under way at once.
    timeout_s : float
        Seconds without a byte before a request is given up.
    """

    name: str
    base_urls: tuple[str, ...] = field(repr=False)  # a node's address holds its key
    api_key: str = field(default="", repr=False)
    api_key_header: str = ""
    api_key_param: str = ""
    requests_per_second: float = 2.0
    concurrency: int = 2
    timeout_s: float = 30.0


@dataclass(frozen=True)
class ClientSettings:
    """How patient the client is; seconds unless named otherwise."""

    attempts: int = 5
    patience_s: float = 120.0
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    ban_s: float = 600.0
    transfer_s: float = 300.0
    max_body_mb: float = 256.0


@dataclass(frozen=True)
class CollectionSettings:
    """All hosts, the client's patience, and whether other machines may be asked at all."""

    hosts: Mapping[str, HostSettings]
    client: ClientSettings = ClientSettings()
    offline: bool = False

    def host(self, name: str) -> HostSettings:
        """Return one host's settings.

        Raises
        ------
        CollectionError
            If the file does not name it.
        OfflineError
            If offline mode is on and the host is another machine.
        """
        if name not in self.hosts:
            raise CollectionError(f"received no settings for host {name!r}; add [hosts.{name}] to configs/sources.toml")
        host = self.hosts[name]
        for url in host.base_urls if self.offline else ():
            if not is_loopback(url):
                where = urlsplit(url).hostname
                raise OfflineError(f"offline mode (AEGIS_OFFLINE) allows this machine only, {name} is at {where}")
        return host

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that must never be written: keys, and long parts and passwords of node URLs."""
        found: set[str] = set()
        for host in self.hosts.values():
            found.add(host.api_key)
            found.update(_secret_parts(host))
        return tuple(sorted((text for text in found if len(text) >= _MIN_SECRET_CHARS), key=len, reverse=True))


_MIN_SECRET_CHARS: Final = 6
_MIN_PATH_SECRET_CHARS: Final = 16
"""Shorter texts cannot be keys, and blotting out a word such as ``ethereum`` would garble the answers."""


def _secret_parts(host: HostSettings) -> set[str]:
    """Hosted nodes carry their key in the path, the query or the user part of the URL."""
    found: set[str] = set()
    for url in host.base_urls:
        parts = urlsplit(url)
        if parts.password:
            # As it stands in the URL, and as it goes over the wire, where a host may echo it.
            user = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
            found |= {parts.password, base64.b64encode(user.encode()).decode()}
        in_query = (pair.partition("=")[2] for pair in parts.query.split("&"))
        long = (parts.username or "", *parts.path.split("/"), *in_query)
        found.update(part for part in long if len(part) >= _MIN_PATH_SECRET_CHARS)
    return found


def is_loopback(url: str) -> bool:
    """Whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> CollectionSettings:
    """Read ``configs/sources.toml`` and what the environment says otherwise.

    Parameters
    ----------
    path : Path, optional
        By default ``AEGIS_SOURCES``, else the file that ships with the project.
    environment : mapping, optional
        By default the process's own.

    Raises
    ------
    CollectionError
        If the file cannot be read or misses an address.
    RequestError
        If a value is not of its kind, naming the setting (never a key's value).
    """
    environment = os.environ if environment is None else environment
    named = environment.get("AEGIS_SOURCES")
    chosen = path or (Path(named) if named else shipped_file("configs/sources.toml", "configs/sources.toml"))
    try:
        content = tomllib.loads(chosen.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CollectionError(f"{chosen}: cannot be read as a TOML file of sources: {error}") from error
    tables, patience = content.get("hosts", {}), content.get("client", {})
    if not all(isinstance(found, dict) for found in (tables, patience)) or not all(
        isinstance(table, dict) for table in tables.values()
    ):
        raise CollectionError(f"{chosen}: expected tables [client] and [hosts.<name>], received something else")
    overrides = _overrides(environment, set(tables))
    hosts = {name: _host(name, table, overrides.get(name, {}), chosen) for name, table in tables.items()}
    client = _client({**patience, **overrides.get("client", {})})
    return CollectionSettings(hosts, client, _is_on("AEGIS_OFFLINE", environment.get("AEGIS_OFFLINE", "")))


def _is_on(name: str, value: str) -> bool:
    """Read a switch; what is neither on nor off is refused, because "off" would be a dangerous guess."""
    words = {"": False, "0": False, "false": False, "no": False, "off": False}
    words |= {"1": True, "true": True, "yes": True, "on": True}
    if value.strip().lower() not in words:
        raise RequestError(name, value, "1 or 0")
    return words[value.strip().lower()]


def _overrides(environment: Mapping[str, str], hosts: set[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        host, _, key = name.removeprefix(PREFIX).lower().partition("__")
        allowed = (*_HOST_TEXTS, *_HOST_NUMBERS) if host in hosts else tuple(ClientSettings.__dataclass_fields__)
        if host not in hosts | {"client"} or key not in allowed:
            known = (
                f"{PREFIX}<HOST>__<SETTING>, hosts {', '.join(sorted(hosts))} or client, settings {', '.join(allowed)}"
            )
            raise RequestError("environment", name, known)
        found.setdefault(host, {})[key] = value
    return found


def _host(name: str, table: Mapping[str, Any], override: Mapping[str, str], path: Path) -> HostSettings:
    unknown = set(table) - {*_HOST_NUMBERS, *_HOST_TEXTS, *_HOST_FILE_TEXTS}
    if unknown:
        allowed = ", ".join((*_HOST_TEXTS, *_HOST_FILE_TEXTS, *_HOST_NUMBERS))
        raise RequestError(f"hosts.{name}", sorted(unknown), allowed)
    merged = {**table, **override}
    key = str(merged.get("api_key", "")).strip()
    if not (key.isascii() and key.isprintable()):
        raise RequestError(f"{name}.api_key", "(not shown)", "printable ASCII characters")
    # A key moves a host to its paid address, unless the address was set from outside.
    address = merged.get("pro_base_url") if key and "pro_base_url" in merged and "base_url" not in override else None
    urls = str(address or merged.get("base_url", "")).replace(",", " ").split()
    urls = [url.replace("{api_key}", quote(key, safe="")) for url in urls]
    if not urls or not all(map(_is_address, urls)):
        raise CollectionError(f"{path}: hosts.{name}: base_url must be one or more http(s) addresses")
    numbers = {field: _number(f"{name}.{field}", merged[field]) for field in _HOST_NUMBERS if field in merged}
    if numbers.get("timeout_s") == 0:
        raise RequestError(f"{name}.timeout_s", merged["timeout_s"], "a number above 0")
    return HostSettings(
        name=name,
        base_urls=tuple(url.rstrip("/") for url in urls),
        api_key=key,
        api_key_header=str(merged.get("api_key_header", "")),
        api_key_param=str(merged.get("api_key_param", "")),
        requests_per_second=numbers.get("requests_per_second", 2.0),
        concurrency=max(1, int(numbers.get("concurrency", 2))),
        timeout_s=numbers.get("timeout_s", 30.0),
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return False


def _client(table: Mapping[str, Any]) -> ClientSettings:
    unknown = set(table) - set(ClientSettings.__dataclass_fields__)
    if unknown:
        raise RequestError("client", sorted(unknown), ", ".join(ClientSettings.__dataclass_fields__))
    numbers = {name: _number(f"client.{name}", value) for name, value in table.items()}
    if numbers.get("transfer_s") == 0:
        raise RequestError("client.transfer_s", table["transfer_s"], "a number above 0")
    attempts = max(1, int(numbers.pop("attempts", ClientSettings.attempts)))
    return ClientSettings(attempts=attempts, **numbers)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise RequestError(name, value, "a number, at least 0")
    return number

"""Keys of the service: made, listed, rotated and revoked in one file that holds no key, only what tells them apart."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from aegis_yield.domain.errors import AegisError, RequestError
from aegis_yield.registry.lock import held
from aegis_yield.utils.files import write_atomically
from aegis_yield.utils.project import project_root

SCOPES: Final = ("read", "optimize", "admin")
"""What a key may do; each may do what those before it may."""

MAX_KEYS: Final = 10_000
MAX_EXPIRES_DAYS: Final = 3_650
MAX_GRACE_HOURS: Final = 24 * 30
_FORMAT: Final = 1
_PREFIX: Final = "aegis"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPTIONAL: Final = ("expires_at", "revoked_at")

Change: TypeAlias = Callable[[Sequence["Key"]], tuple["Key", ...]]


@dataclass(frozen=True)
class Key:
    """What is known of a key: enough to recognise it, not enough to use it.

    Attributes
    ----------
    id : str
        Part of the key itself that says which one it is; no secret.
    name : str
        Who uses it; appears in logs. A key and those it was rotated from share a name.
    scope : str
        One of :data:`SCOPES`.
    salt, digest : str
        Hexadecimal.
    created_at : datetime.datetime
        UTC, as all times here.
    expires_at, revoked_at : datetime.datetime or None
        From when on it is refused.
    """

    id: str
    name: str
    scope: str
    salt: str
    digest: str
    created_at: dt.datetime
    expires_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None

    def state(self, now: dt.datetime) -> str:
        """Return ``"active"``, ``"expired"`` or ``"revoked"``."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def may(self, scope: str) -> bool:
        """Say whether it may do what needs a scope."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def public(self, now: dt.datetime) -> dict[str, Any]:
        """Return what may be shown of it."""
        hidden = ("salt", "digest")
        shown = {name: value for name, value in _plain(self).items() if name not in hidden}
        return {**shown, "state": self.state(now)}


class KeyRing:
    """The keys of a file, as they were when it was read: never changed, only replaced as a whole."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self.keys = tuple(keys)
        self._by_id = {key.id: key for key in self.keys}

    def find(self, presented: str) -> Key | None:
        """Return the key that this text is, whatever its state; None if it is none."""
        prefix, _, rest = presented.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._by_id.get(key_id)
        # The id is no secret; the secret is compared in a time that does not tell how much of it is right.
        salt, wanted = (key.salt, key.digest) if key is not None else ("", "")
        fits = hmac.compare_digest(_digest(salt, secret), wanted)
        return key if fits and prefix == _PREFIX else None

    def any_usable(self, now: dt.datetime) -> bool:
        """Say whether at least one key is neither expired nor revoked."""
        return any(key.state(now) == "active" for key in self.keys)


def default_key_file() -> Path:
    """Return ``AEGIS_SERVICE__KEYS`` if set, else a file in the project's data folder."""
    chosen = os.environ.get("AEGIS_SERVICE__KEYS")
    return Path(chosen).expanduser() if chosen else project_root() / "data" / "service" / "keys.json"


def read_keys(path: Path) -> KeyRing:
    """Read a key file.

    Raises
    ------
    AegisError
        If it is missing, cannot be read, or is no key file.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise AegisError(f"{path}: key file: {error.strerror or error}") from error
    if mode & stat.S_IWOTH:
        raise AegisError(f"{path}: key file: anyone on this machine may write it; run: chmod o-w {path}")
    try:
        return KeyRing(_parse(json.loads(content)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AegisError(
            f"{path}: no key file ({type(error).__name__}: {error}); make one: aegis keys create"
        ) from error


def create_key(path: Path, name: str, scope: str, expires_days: float | None = None) -> tuple[Key, str]:
    """Add a key to a file, which is made if need be.

    Returns
    -------
    tuple of Key and str
        What is kept, and the key itself: this is the only moment at which it exists.

    Raises
    ------
    RequestError
        If the name is taken or not allowed, or another argument is out of bounds.
    """
    _check(name, scope, expires_days)
    now = _now()
    key, text = _new(name, scope, now, None if expires_days is None else dt.timedelta(days=expires_days))

    def add(keys: Sequence[Key]) -> tuple[Key, ...]:
        if any(old.name == name and old.state(now) == "active" for old in keys):
            raise RequestError(
                "name", name, f"one that no key has; for a new key of that name: aegis keys rotate {name}"
            )
        if len(keys) >= MAX_KEYS:
            raise RequestError("number of keys", len(keys), f"at most {MAX_KEYS:,} in a file")
        return (*keys, key)

    _change(path, add)
    return key, text


def rotate_key(path: Path, name: str, grace_hours: float = 24.0) -> tuple[Key, str]:
    """Make a new key for a name, with the scope and the lifetime of the old one, which goes on for some hours.

    Raises
    ------
    RequestError
        If the name has no active key, or the hours are out of bounds.
    """
    if not 0 <= grace_hours <= MAX_GRACE_HOURS:
        raise RequestError("grace_hours", grace_hours, f"0 to {MAX_GRACE_HOURS}")
    now = _now()
    ends = now + dt.timedelta(hours=grace_hours)
    made: list[tuple[Key, str]] = []

    def turn(keys: Sequence[Key]) -> tuple[Key, ...]:
        old = _active(keys, name, now)[-1]
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        made.append(_new(name, old.scope, now, lifetime))
        ended = tuple(
            replace(key, expires_at=_earlier(key.expires_at, ends)) if key.name == name else key for key in keys
        )
        return (*ended, made[0][0])

    _change(path, turn)
    return made[0]


def revoke_key(path: Path, name: str) -> tuple[Key, ...]:
    """End all keys of a name, now; return them.

    Raises
    ------
    RequestError
        If the name has no active key.
    """
    now = _now()
    ended: list[Key] = []

    def end(keys: Sequence[Key]) -> tuple[Key, ...]:
        ended.extend(_active(keys, name, now))
        return tuple(replace(key, revoked_at=now) if key in ended else key for key in keys)

    _change(path, end)
    return tuple(ended)


def _check(name: str, scope: str, expires_days: float | None) -> None:
    if not _NAME.fullmatch(name):
        raise RequestError(
            "name", name, "1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"
        )
    if scope not in SCOPES:
        raise RequestError("scope", scope, ", ".join(SCOPES))
    if expires_days is not None and not (math.isfinite(expires_days) and 0 < expires_days <= MAX_EXPIRES_DAYS):
        raise RequestError("expires_days", expires_days, f"more than 0, at most {MAX_EXPIRES_DAYS:,}")


def _active(keys: Sequence[Key], name: str, now: dt.datetime) -> list[Key]:
    found = [key for key in keys if key.name == name and key.state(now) == "active"]
    if not found:
        names = sorted({key.name for key in keys if key.state(now) == "active"})
        raise RequestError("name", name, f"the name of an active key: {', '.join(names) or 'there is none'}")
    return found


def _earlier(first: dt.datetime | None, second: dt.datetime) -> dt.datetime:
    return second if first is None else min(first, second)


def _new(name: str, scope: str, now: dt.datetime, lifetime: dt.timedelta | None) -> tuple[Key, str]:
    key_id, secret, salt = secrets.token_hex(6), secrets.token_hex(32), secrets.token_hex(16)
    expires = None if lifetime is None else now + lifetime
    key = Key(key_id, name, scope, salt, _digest(salt, secret), now, expires)
    return key, f"{_PREFIX}_{key_id}_{secret}"


def _digest(salt: str, secret: str) -> str:
    # One round of SHA-256 is enough here, and scrypt would harm: the secret is 256 random bits, which nobody guesses
    # at any speed, whereas a slow hash would let anyone who sends wrong keys burn the service's time. The salt only
    # keeps equal digests from standing for equal keys.
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _change(path: Path, change: Change) -> None:
    """Read, change and write a key file while nobody else does."""
    with held(path.with_name(f".{path.name}.lock")):
        keys = change(read_keys(path).keys if path.exists() else ())
        content = json.dumps({"format": _FORMAT, "keys": [_plain(key) for key in keys]}, indent=1)
        mode, owner = _kept(path)

        def write(temporary: Path) -> None:
            temporary.write_text(f"{content}\n", encoding="utf-8")
            if owner is not None:
                os.chown(temporary, *owner)

        write_atomically(path, write, mode)


def _kept(path: Path) -> tuple[int, tuple[int, int] | None]:
    """Return mode and owner to write with: private, but the service's account keeps a file that root changes."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0o600, None
    owner = (found.st_uid, found.st_gid) if os.geteuid() == 0 else None
    return stat.S_IMODE(found.st_mode) & 0o660 | 0o600, owner


def _plain(key: Key) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in asdict(key).items()}


def _parse(document: dict[str, Any]) -> list[Key]:
    if document.get("format") != _FORMAT:
        raise ValueError(f"format {document.get('format')!r}, this version reads {_FORMAT}")
    keys = [_parse_key(row) for row in document["keys"]]
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("two keys have one id")
    return keys


def _parse_key(row: dict[str, Any]) -> Key:
    unknown = set(row) - {field.name for field in fields(Key)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    given = {name: value for name, value in row.items() if not (value is None and name in _OPTIONAL)}
    if not all(isinstance(value, str) for value in given.values()):
        raise ValueError("a field is no text")
    times: dict[str, Any] = {
        name: dt.datetime.fromisoformat(given[name]) for name in ("created_at", *_OPTIONAL) if name in given
    }
    if any(time.tzinfo is None for time in times.values()):
        raise ValueError("a time without its zone")
    key = Key(**{**given, **times})
    _check(key.name, key.scope, None)
    return key

"""Which version serves: the aliases of a models folder, with who became champion when and why.

``models/registry.json`` is the whole truth about aliases. It is replaced in one step (a new inode each time) under a
file lock, so that a reader sees the old state or the new one, and may watch :func:`stamp` for changes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from aegis_yield.domain.errors import RegistryError
from aegis_yield.registry.lock import held
from aegis_yield.utils.files import write_text_atomically

FILE: Final = "registry.json"
FORMAT: Final = 1
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
ALIASES: Final = (CHAMPION, CHALLENGER)
_LOCK: Final = ".registry.lock"

AreKin: TypeAlias = Callable[[str, str], bool]
"""Whether two versions, by name, have the same networks: the registry does not look into files."""


@dataclass(frozen=True)
class Why:
    """On what grounds an alias moves.

    Attributes
    ----------
    reason : str
        In words; never empty.
    decision : str or None
        Id of the gate's decision, if it made one.
    forced : bool
        Whether the gate was overruled.
    """

    reason: str
    decision: str | None = None
    forced: bool = False

    def __post_init__(self) -> None:
        """Refuse a change that nobody explains."""
        if not self.reason.strip():
            raise RegistryError("reason: received nothing; say in a few words why the version changes")


@dataclass(frozen=True)
class Change:
    """One move of an alias.

    Attributes
    ----------
    at : str
        UTC, to the second.
    action : {"promote", "rollback", "assign", "delete"}
        What was asked for.
    alias : str
        Which; empty for a deletion.
    before, after : str or None
        Versions, such as ``lstm_v3``.
    why : Why
        On what grounds.
    """

    at: str
    action: str
    alias: str
    before: str | None
    after: str | None
    why: Why

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        grounds = {"reason": self.why.reason, "decision": self.why.decision, "forced": self.why.forced}
        return {
            "at": self.at, "action": self.action, "alias": self.alias, "from": self.before, "to": self.after, **grounds,
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Change:
        """Read :meth:`to_json` back."""
        why = Why(str(content["reason"]), content.get("decision"), bool(content.get("forced", False)))
        action, alias = str(content.get("action", "promote")), str(content["alias"])
        return cls(str(content["at"]), action, alias, content["from"], content["to"], why)


@dataclass(frozen=True)
class Registry:
    """Aliases, how they came to be, and names that must never be used again.

    Attributes
    ----------
    aliases : mapping of str to str
        ``champion`` and ``challenger``, where set, to versions.
    history : tuple of Change
        Oldest first.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Change, ...] = ()

    @property
    def champion(self) -> str | None:
        """The version that serves, if one was ever promoted."""
        return self.aliases.get(CHAMPION)

    @property
    def deleted(self) -> frozenset[str]:
        """Versions that were deleted."""
        return frozenset(change.before for change in self.history if change.action == "delete" and change.before)

    @property
    def former_champions(self) -> list[str]:
        """Champions before this one, the latest first; one that was rolled back is none."""
        reigns: list[str] = []
        for change in self.history:
            if change.alias != CHAMPION or change.after is None:
                continue
            if change.action == "rollback" and change.after in reigns:
                del reigns[reigns.index(change.after) + 1 :]
            else:
                reigns = [version for version in reigns if version != change.after] + [change.after]
        return reigns[-2::-1]

    def aliases_of(self, version: str) -> list[str]:
        """Return the aliases of a version."""
        return [alias for alias, named in self.aliases.items() if named == version]

    def moved(self, action: str, alias: str, version: str | None, why: Why) -> Registry:
        """Return the registry with an alias pointing elsewhere; None takes it away."""
        change = Change(_now(), action, alias, self.aliases.get(alias), version, why)
        aliases = {name: named for name, named in self.aliases.items() if name != alias}
        if version is not None:
            aliases[alias] = version
        ordered: dict[str, str] = {name: aliases[name] for name in ALIASES if name in aliases}
        return replace(self, aliases=ordered, history=(*self.history, change))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"format": FORMAT, "aliases": dict(self.aliases), "history": [one.to_json() for one in self.history]}


def read_registry(folder: Path) -> Registry:
    """Read a models folder's aliases; without a file there are none.

    Raises
    ------
    RegistryError
        If the file is damaged or of another format.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise RegistryError(
                f"{path}: received format {content['format']!r}, this release reads {FORMAT}; use the release that "
                "wrote it, or move the file away and promote again"
            )
        aliases = {str(name): str(version) for name, version in content["aliases"].items()}
        return Registry(aliases, tuple(Change.from_json(one) for one in content["history"]))
    except FileNotFoundError:
        return Registry()
    except NotADirectoryError:
        return Registry()
    except RegistryError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(
            f"{path}: damaged ({type(error).__name__}: {error}); restore it, or move it away and promote again"
        ) from error


def stamp(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes whenever an alias moves (inode, time of change in ns, size), or None without a file."""
    try:
        found = (folder / FILE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def promote(folder: Path, version: str, why: Why, instead_of: str | None = None) -> Registry:
    """Make a version the champion, in one step; if it was the challenger, there is none afterwards.

    Parameters
    ----------
    folder : Path
        The models folder.
    version : str
        Such as ``lstm_v4``.
    why : Why
        On what grounds.
    instead_of : str, optional
        The champion that it was compared with.

    Raises
    ------
    RegistryError
        If it already is, or another than ``instead_of`` is.
    """

    def change(registry: Registry) -> Registry:
        if instead_of is not None and registry.champion != instead_of:
            raise RegistryError(
                f"{version}: was compared with {instead_of}, but meanwhile {registry.champion} became champion; "
                "compare again"
            )
        if registry.champion == version:
            raise RegistryError(f"{version}: already the champion; nothing changed")
        if registry.aliases.get(CHALLENGER) == version:
            registry = registry.moved("promote", CHALLENGER, None, why)
        return registry.moved("promote", CHAMPION, version, why)

    return _changed(folder, change)


def challenge(folder: Path, version: str | None, why: Why) -> Registry:
    """Make a version the challenger, or none.

    Raises
    ------
    RegistryError
        If it is the champion.
    """

    def change(registry: Registry) -> Registry:
        if version is not None and registry.champion == version:
            raise RegistryError(f"{version}: is the champion, which cannot challenge itself; name another version")
        if registry.aliases.get(CHALLENGER) == version:
            return registry
        return registry.moved("assign", CHALLENGER, version, why)

    return _changed(folder, change)


def before_champion(folder: Path, registry: Registry, are_kin: AreKin) -> str | None:
    """Return the version to roll back to, None if there is none; versions that are gone are passed over.

    It is the latest former champion with other networks than the champion's: what a recalibration replaced has
    the very networks that somebody wants to leave. Only where there never were others is it the latest of all.
    """
    there = [version for version in registry.former_champions if (folder / f"{version}.pth").is_file()]
    others = (version for version in there if not are_kin(version, str(registry.champion)))
    return next(others, there[0] if there else None)


def rollback(folder: Path, why: Why, are_kin: AreKin = lambda *_: False) -> Registry:
    """Make the champion before this one champion again (see :func:`before_champion`).

    Parameters
    ----------
    folder : Path
        The models folder.
    why : Why
        On what grounds.
    are_kin : callable
        Whether two versions have the same networks; by default no two have.

    Raises
    ------
    RegistryError
        If there was none before.
    """

    def change(registry: Registry) -> Registry:
        version = before_champion(folder, registry, are_kin)
        if version is None:
            raise RegistryError(
                f"{folder}: no earlier champion to return to (now: {registry.champion or 'none'}); "
                "promote a version by name: aegis models promote VERSION --force --reason WHY"
            )
        return registry.moved("rollback", CHAMPION, version, why)

    return _changed(folder, change)


def strike(folder: Path, version: str, why: Why, remove: Callable[[], object]) -> Registry:
    """Delete a version under the lock, after noting that its name was used: no later version may take it.

    Raises
    ------
    RegistryError
        If an alias points at it.
    """

    def change(registry: Registry) -> Registry:
        aliases = registry.aliases_of(version)
        if aliases:
            raise RegistryError(
                f"{version}: is the {' and '.join(aliases)}; promote another version first, or roll back"
            )
        return replace(registry, history=(*registry.history, Change(_now(), "delete", "", version, None, why)))

    return _changed(folder, change, remove)


def _changed(
    folder: Path, change: Callable[[Registry], Registry], then: Callable[[], object] = lambda: None
) -> Registry:
    with held(folder / _LOCK):
        before = read_registry(folder)
        after = change(before)
        if after != before:
            write_text_atomically(folder / FILE, json.dumps(after.to_json(), indent=2) + "\n")
        then()
        return after


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")

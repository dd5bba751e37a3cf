"""Where strategy names come from: the config file that ships with the project, or the user's own."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from aegis_yield.domain.errors import DataError
from aegis_yield.domain.naming import StrategyNames
from aegis_yield.utils.project import shipped_file


def load_names(path: Path | None = None) -> StrategyNames:
    """Read aliases and default strategies.

    Parameters
    ----------
    path : Path, optional
        A TOML file with ``[aliases]`` and ``[defaults]``; by default ``AEGIS_STRATEGIES``, else
        ``configs/strategies.toml``.

    Raises
    ------
    DataError
        If the file is missing or not of that form.
    """
    chosen = path or Path(
        os.environ.get("AEGIS_STRATEGIES") or shipped_file("configs/strategies.toml", "configs/strategies.toml")
    )
    try:
        content = tomllib.loads(chosen.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{chosen}: cannot be read as a TOML file of strategy names: {error}") from error
    aliases, default_section = content.get("aliases", {}), content.get("defaults", {})
    if not isinstance(aliases, dict) or not isinstance(default_section, dict):
        raise DataError(f"{chosen}: [aliases] and [defaults] must be tables, see configs/strategies.toml")
    defaults = default_section.get("strategies", [])
    targets = {alias.lower(): [target] if isinstance(target, str) else target for alias, target in aliases.items()}
    if not _is_texts(defaults) or not all(_is_texts(found) and found for found in targets.values()):
        received = [*aliases.values(), defaults]
        raise DataError(
            f"{chosen}: aliases must be text or lists of text and defaults a list of text, received {received!r}"
        )
    return StrategyNames({alias: tuple(found) for alias, found in targets.items()}, tuple(defaults))


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)

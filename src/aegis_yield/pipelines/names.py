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
    aliases = content.get("aliases", {})
    defaults = content.get("defaults", {}).get("strategies", [])
    texts = [*aliases, *aliases.values(), *defaults]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{chosen}: aliases and defaults must be text, received {texts!r}")
    return StrategyNames({alias.lower(): target for alias, target in aliases.items()}, tuple(defaults))

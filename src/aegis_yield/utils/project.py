"""Where the project's own folders are: ``models/``, ``data/``, ``configs/``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def project_root() -> Path:
    """Return ``AEGIS_HOME`` if set, else the checkout the package lies in, else the current folder."""
    chosen = os.environ.get("AEGIS_HOME")
    if chosen:
        return Path(chosen).expanduser().resolve()
    checkout = _PACKAGE.parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def shipped_file(in_checkout: str, in_package: str) -> Path:
    """Return a file that ships with the project: the user's own, else the checkout's, else the wheel's."""
    own = project_root() / in_checkout
    return own if own.exists() else packaged_file(in_checkout, in_package)


def packaged_file(in_checkout: str, in_package: str) -> Path:
    """Return a file as it ships with the project, whatever the user has in its place: the checkout's or the wheel's."""
    path = _PACKAGE.parents[1] / in_checkout
    return path if path.exists() else _PACKAGE / in_package


def code_version() -> str:
    """Return the checkout's commit (``-dirty`` if changed), or ``"unknown"`` outside a checkout."""
    root = _PACKAGE.parents[1]
    if not (root / ".git").exists():
        return "unknown"
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src", "pyproject.toml")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

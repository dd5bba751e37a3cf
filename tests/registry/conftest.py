from __future__ import annotations

from stores import cluster, new_postgres, new_sqlite, settings, sqlite_template

__all__ = ["cluster", "new_postgres", "new_sqlite", "settings", "sqlite_template"]

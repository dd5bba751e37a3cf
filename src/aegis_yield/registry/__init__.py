"""Model files and their life cycle: versions, aliases, the record of trainings. A bundle is but bytes here."""

from aegis_yield.registry.aliases import CHAMPION, read_registry, stamp
from aegis_yield.registry.versions import (
    candidate_models,
    default_model,
    find_version,
    models_folder,
    publish,
    version_of,
)

__all__ = [
    "CHAMPION",
    "candidate_models",
    "default_model",
    "find_version",
    "models_folder",
    "publish",
    "read_registry",
    "stamp",
    "version_of",
]

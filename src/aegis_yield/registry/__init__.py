"""Model files: where bundles lie, which is next, which is newest. A bundle is bytes here, nothing more."""

from aegis_yield.registry.versions import candidate_models, default_model, models_folder, publish, version_of

__all__ = ["candidate_models", "default_model", "models_folder", "publish", "version_of"]

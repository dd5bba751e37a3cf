"""Settings of the service, from the environment: ``AEGIS_HOST``, ``AEGIS_PORT``, ``AEGIS_DATA``, ``AEGIS_MODEL``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_PORT = 5000


class ServiceSettings(BaseSettings):
    """Where the service listens and what it serves."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_")

    host: str = Field("127.0.0.1", description="Address to listen on; loopback unless set.")
    port: int = Field(DEFAULT_PORT, ge=1, le=65_535)
    data: Path | None = Field(None, description="Dataset folder; default as on the command line.")
    model: Path | None = Field(None, description="Bundle; default as on the command line.")
    max_body_bytes: int = Field(1_000_000, ge=1_000, description="Larger request bodies are refused.")

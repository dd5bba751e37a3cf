"""Settings of the service, from the environment: ``AEGIS_HOST``, ``AEGIS_PORT``, ``AEGIS_DATA``, ``AEGIS_MODEL``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from aegis_yield.domain.errors import RequestError

DEFAULT_PORT = 5000


class LifeSettings(BaseModel):
    """How it stays fresh and what it remembers: ``AEGIS_SERVICE__WATCH_S``, ``AEGIS_SERVICE__RECORD``."""

    model_config = ConfigDict(extra="forbid")

    watch_s: float = Field(
        5.0,
        ge=0,
        le=3_600,
        allow_inf_nan=False,
        description="Seconds between looks for a newer model or tables; 0 off.",
    )
    record: bool | None = Field(
        None,
        description="Whether forecasts are recorded for monitoring; unset: on real data, where it can be written.",
    )


class ServiceSettings(BaseSettings):
    """Where the service listens and what it serves."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", env_nested_delimiter="__")

    host: str = Field("127.0.0.1", description="Address to listen on; loopback unless set.")
    port: int = Field(DEFAULT_PORT, ge=1, le=65_535)
    data: Path | None = Field(None, description="Dataset folder; default as on the command line.")
    model: Path | None = Field(None, description="Bundle; default as on the command line.")
    service: LifeSettings = Field(default_factory=LifeSettings, description="Freshness and recording.")
    max_body_bytes: int = Field(1_000_000, ge=1_000, description="Larger request bodies are refused.")


def read_settings() -> ServiceSettings:
    """Read the settings from the environment.

    Raises
    ------
    RequestError
        If a variable is out of bounds; the error names it.
    """
    try:
        return ServiceSettings()
    except ValidationError as error:
        fault = error.errors()[0]
        name = "AEGIS_" + "__".join(str(part) for part in fault["loc"]).upper()
        raise RequestError(name, fault["input"], f"what the service can use ({fault['msg']})") from error

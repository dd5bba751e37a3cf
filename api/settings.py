"""Settings of the service, from the environment: ``AEGIS_HOST``, ``AEGIS_PORT``, ``AEGIS_DATA``, ``AEGIS_MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from aegis_yield.domain.errors import RequestError

DEFAULT_PORT = 5000


def _split(value: object) -> object:
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list in one variable, its parts separated by commas."""


class AccessSettings(BaseModel):
    """Who may ask, from where and how often: ``AEGIS_SERVICE__KEYS`` and so on (docs/security.md)."""

    keys: Path | None = Field(
        None, description="Key file; unset: data/service/keys.json of the project, if it is there."
    )
    allowed_hosts: Names = Field(
        (), description="Names in a Host header that are answered, comma-separated; unset: loopback names without keys."
    )
    cors_origins: Names = Field((), description="Foreign pages that may ask, e.g. https://desk.example; * all.")
    read_per_s: float = Field(
        1_000.0, ge=0, le=1e6, allow_inf_nan=False, description="Requests a second and key (else address); 0 unlimited."
    )
    read_burst: int = Field(2_000, ge=1, le=1_000_000, description="Requests that may come at once.")
    optimize_per_s: float = Field(
        5.0, ge=0, le=1e6, allow_inf_nan=False, description="The same for risk and optimisation; 0 unlimited."
    )
    optimize_burst: int = Field(10, ge=1, le=1_000_000, description="The same for risk and optimisation.")


class PatienceSettings(BaseModel):
    """How long it waits for what, and how much it takes on: ``AEGIS_SERVICE__TIME_LIMIT_S`` and so on."""

    time_limit_s: float = Field(
        30.0, ge=0.05, le=3_600, allow_inf_nan=False, description="For an answer; risk and optimisation have their own."
    )
    header_timeout_s: float = Field(
        10.0, ge=0.1, le=600, allow_inf_nan=False, description="For a client to send the head of a request."
    )
    body_timeout_s: float = Field(
        30.0, ge=0.1, le=600, allow_inf_nan=False, description="For a client to send the body of a request."
    )
    write_timeout_s: float = Field(
        30.0, ge=0.1, le=600, allow_inf_nan=False, description="For a client that stopped reading to go on."
    )
    keep_alive_s: int = Field(15, ge=1, le=3_600, description="An idle connection is closed after so many seconds.")
    max_connections: int = Field(
        1_000, ge=1, le=100_000, description="Connections at once; one that waits for its client makes room."
    )
    max_header_bytes: int = Field(32_768, ge=1_024, le=1_048_576, description="Larger heads of requests are refused.")
    drain_s: int = Field(6, ge=0, le=600, description="At SIGTERM requests under way have so many seconds to end.")
    log_format: Literal["json", "text"] | None = Field(
        None, description="How the log is written; unset: text on a terminal, else JSON."
    )
    access_log: bool = Field(True, description="Whether each request is a line of the log.")


class WorkerSettings(BaseModel):
    """Processes for risk and optimisation: ``AEGIS_SERVICE__WORKERS``, ``AEGIS_SERVICE__DEADLINE_S`` and so on."""

    workers: int = Field(1, ge=1, le=64, description="Worker processes; each takes some 400 MB once it is asked.")
    waiting: int = Field(8, ge=0, le=10_000, description="Requests that may wait for a worker; more are refused.")
    deadline_s: float = Field(
        30.0, ge=0.1, le=3_600, allow_inf_nan=False, description="Seconds for an answer, waiting included."
    )
    idle_s: float = Field(
        600.0, ge=0.1, le=1e6, allow_inf_nan=False, description="An idle worker is given up after so many seconds."
    )


class AgeSettings(BaseModel):
    """How old real data may be: ``AEGIS_SERVICE__WARN_AGE_DAYS``, ``AEGIS_SERVICE__MAX_AGE_DAYS``."""

    warn_age_days: int = Field(
        3, ge=0, le=100_000, description="Forecasts from older data carry a warning; simulated data has no age."
    )
    max_age_days: int = Field(
        30, ge=0, le=100_000, description="Older data is not forecast from; simulated data has no age."
    )


class LifeSettings(AccessSettings, PatienceSettings, WorkerSettings, AgeSettings):
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
    max_body_bytes: int = Field(4_000_000, ge=1_000, le=1_000_000_000, description="Larger request bodies are refused.")


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

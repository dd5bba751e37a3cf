"""Client: a service that runs elsewhere, asked from Python; answers are checked, frozen values."""

from __future__ import annotations

from aegis_yield.client.asynchronous import AsyncClient, AsyncPredictionStream
from aegis_yield.client.blocking import Client, PredictionStream
from aegis_yield.client.errors import DamagedAnswerError, RefusedError, ServiceError, UnreachableError
from aegis_yield.client.policy import Retries

__all__ = [
    "AsyncClient",
    "AsyncPredictionStream",
    "Client",
    "DamagedAnswerError",
    "PredictionStream",
    "RefusedError",
    "Retries",
    "ServiceError",
    "UnreachableError",
]

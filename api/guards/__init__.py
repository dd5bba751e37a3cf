"""Guards: what stands between the network and the routes, from the outside in."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from api.guards.authentication import Authentication
from api.guards.bodies import BodyLimits
from api.guards.deadlines import Deadline
from api.guards.doorway import Doorway
from api.guards.headers import SecurityHeaders
from api.guards.keys import keys_in_force
from api.guards.rate_limits import RateLimits
from api.guards.request_log import RequestLog
from api.settings import ServiceSettings

__all__ = ["middleware"]

CORS_MAX_AGE_S = 600


def middleware(settings: ServiceSettings) -> list[Middleware]:
    """Return the guards that an app installs, the outermost first.

    Raises
    ------
    AegisError
        If the service would be open to others without a key, or its key file cannot be used.
    """
    life, keys = settings.service, keys_in_force(settings)
    return [
        Middleware(SecurityHeaders),
        Middleware(RequestLog),
        Middleware(Doorway, keys=keys, allowed_hosts=life.allowed_hosts, origins=life.cors_origins),
        *_cors(life.cors_origins),
        Middleware(Authentication, keys=keys),
        Middleware(RateLimits, settings=life),
        Middleware(BodyLimits, max_bytes=settings.max_body_bytes, timeout_s=life.body_timeout_s),
        Middleware(Deadline, limit_s=life.time_limit_s),
    ]


def _cors(origins: tuple[str, ...]) -> list[Middleware]:
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "X-API-Key", "X-Request-Id"],
            expose_headers=["ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"],
            max_age=CORS_MAX_AGE_S,
        )
    ]

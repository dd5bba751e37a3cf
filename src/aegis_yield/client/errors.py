"""What goes wrong between a client and the service: it refused, it was not reached, its answer is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_yield.domain.errors import AegisError


class ServiceError(AegisError, RuntimeError):
    """The service gave no good answer.

    Attributes
    ----------
    detail : str
        What is wrong, in one line.
    status : int or None
        HTTP status; None if there was none.
    request_id : str or None
        Under which the service's log knows the request.
    """

    def __init__(self, detail: str, status: int | None = None, request_id: str | None = None) -> None:
        self.detail = " ".join(detail.split())
        self.status = status
        self.request_id = request_id
        known = [str(status)] if status is not None else []
        known += [f"request {request_id}"] if request_id is not None else []
        super().__init__(f"{self.detail} ({', '.join(known)})" if known else self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.detail, self.status, self.request_id)


class RefusedError(ServiceError):
    """The service answered with an error.

    Attributes
    ----------
    problem : dict
        The whole problem document (RFC 9457): ``errors`` lists the fields at fault; limits that cannot all be met
        add ``conflict`` and ``relaxation``. Empty if the answer was none, as from a proxy.
    """

    def __init__(
        self, detail: str, status: int, request_id: str | None = None, problem: Mapping[str, Any] | None = None
    ) -> None:
        self.problem = dict(problem or {})
        super().__init__(detail, status, request_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.detail, self.status, self.request_id, self.problem)


class UnreachableError(ServiceError):
    """The service was not reached, or did not answer in time."""


class DamagedAnswerError(ServiceError):
    """An answer was cut off, or is not what the service promises."""

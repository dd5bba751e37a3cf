"""Problem documents (RFC 9457): how every error looks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FieldFault(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="Which, with dots between the levels.")
    received: str = Field(description="What came, shortened.")
    problem: str = Field(description="What is allowed.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "unknown strategy 'lidoo'; closest names: lido",
                    "request_id": "4f9c1b7e2a6d4d5c",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599, description="HTTP status.")
    detail: str = Field(description="What is wrong, and what to do.")
    request_id: str | None = Field(None, description="As in X-Request-Id and in the service's log.")
    errors: list[FieldFault] | None = Field(None, description="Each field that is wrong, where fields are.")

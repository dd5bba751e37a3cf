"""Forecasts that come line by line: nothing is believed to be all of them until the last line says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aegis_yield.client.errors import DamagedAnswerError
from aegis_yield.client.forecasts import Prediction, Predictions, PredictionsEnd
from aegis_yield.client.parsing import MisfitError, decode, read

MAX_LINE_BYTES: Final = 1_000_000
"""A line with an explanation has some 5,000; what is longer is no line of ours."""


class LineReader:
    """Takes an answer's bytes as they come, gives forecasts away as they are whole.

    Attributes
    ----------
    end : PredictionsEnd or None
        What holds for all forecasts; None before the last line.
    """

    def __init__(self, request_id: str | None = None) -> None:
        self.end: PredictionsEnd | None = None
        self._request_id = request_id
        self._rest = b""
        self._n_lines = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[str, Prediction]]:
        """Give the forecasts that are whole now.

        Raises
        ------
        DamagedAnswerError
            If a line is not what the service promises.
        """
        # Split at line feeds only: other characters that end lines elsewhere may be part of a name.
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise self._damage(f"a line of more than {MAX_LINE_BYTES:,} bytes")
        for line in lines:
            found = self._line(line)
            if found is not None:
                yield found

    def close(self) -> PredictionsEnd:
        """Return the last line when the answer has ended.

        Raises
        ------
        DamagedAnswerError
            If there was none, or if it counts other forecasts than came.
        """
        if self.end is None or self._rest:
            raise self.cut("the last line is missing")
        if self.end.count != self._n_lines:
            raise self._damage(f"{self.end.count:,} forecasts announced, {self._n_lines:,} received")
        return self.end

    def cut(self, reason: str) -> DamagedAnswerError:
        """Return the error for an answer that ended too early."""
        return self._damage(f"cut off after {self._n_lines:,} forecasts: {reason}")

    def _line(self, line: bytes) -> tuple[str, Prediction] | None:
        if self.end is not None:
            raise self._damage("a line after the last one")
        try:
            content: Any = decode(line)
            if isinstance(content, dict) and content.get("end") is True:
                self.end = read(PredictionsEnd, content)
                return None
            if not isinstance(content, dict) or not {"name", "prediction"} <= set(content):
                raise MisfitError("a name and its prediction", content)
            found = read(str, content["name"]), read(Prediction, content["prediction"])
        except MisfitError as error:
            raise self._damage(f"line {self._n_lines + 1:,}: {error}") from error
        self._n_lines += 1
        return found

    def _damage(self, what: str) -> DamagedAnswerError:
        return DamagedAnswerError(f"damaged answer: {what}", request_id=self._request_id)


def gathered(body: bytes) -> Predictions:
    """Return the forecasts of a whole answer in lines, as if it had come in one piece."""
    reader = LineReader()
    found = dict(reader.feed(body))
    end = reader.close()
    return Predictions(found, end.horizon_days, end.model_version, end.simulated, end.notes, end.warnings)

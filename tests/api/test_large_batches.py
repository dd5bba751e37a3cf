"""Batches: up to 20,000 names, line by line above 1,000, and a cut answer is known for one."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bundles import start
from services import free_port
from starlette.testclient import TestClient
from test_predict_endpoint import IDS, PROMISED, problem_of

NDJSON = "application/x-ndjson"


def many_names(count: int) -> list[str]:
    """Different names of one strategy: case does not matter."""
    spelt = product(*((letter, letter.upper()) for letter in IDS["aave"] if letter.isalpha()))
    return ["".join(letters) for letters in islice(spellings(IDS["aave"], spelt), count)]


def spellings(pattern: str, spelt: Iterator[tuple[str, ...]]) -> Iterator[list[str]]:
    for letters in spelt:
        given = iter(letters)
        yield [next(given) if letter.isalpha() else letter for letter in pattern]


def whole(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read an answer line by line; refuse one that was cut."""
    if not text.endswith("\n"):
        raise ValueError("cut in a line")
    *lines, last = [json.loads(line) for line in text.splitlines()] or [{}]
    if last.get("end") is not True or last["count"] != len(lines):
        raise ValueError("cut between lines")
    return {line["name"]: line["prediction"] for line in lines}, last


def test_line_by_line_says_the_same_as_in_one(client: TestClient) -> None:
    in_one = client.post("/predict", json=PROMISED).json()
    response = client.post("/predict", json=PROMISED, headers={"accept": NDJSON})
    assert response.headers["content-type"] == NDJSON
    predictions, last = whole(response.text)
    assert predictions == in_one.pop("predictions")
    assert list(predictions) == PROMISED["strategies"]
    assert last == {"end": True, "count": 3, **in_one}


def test_explanations_come_line_by_line_too(client: TestClient) -> None:
    order = {**PROMISED, "explain": True}
    predictions, _ = whole(client.post("/predict", json=order, headers={"accept": NDJSON}).text)
    assert predictions == client.post("/predict", json=order).json()["predictions"]


@pytest.mark.parametrize(("count", "by_line"), [(1_000, False), (1_001, True)])
def test_more_than_a_thousand_are_answered_line_by_line(client: TestClient, count: int, by_line: bool) -> None:
    response = client.post("/predict", json={"strategies": many_names(count)})
    assert response.status_code == 200
    assert (response.headers["content-type"] == NDJSON) == by_line
    predictions = whole(response.text)[0] if by_line else response.json()["predictions"]
    assert list(predictions) == many_names(count)


def test_twenty_thousand_are_the_most(client: TestClient) -> None:
    names = many_names(20_001)
    assert len(set(names)) == 20_001
    predictions, last = whole(client.post("/predict", json={"strategies": names[1:]}).text)
    assert (len(predictions), last["count"]) == (20_000, 20_000)
    problem_of(client.post("/predict", json={"strategies": names}), 422)


def test_one_bad_name_refuses_a_batch_before_it_begins(client: TestClient) -> None:
    names = [*many_names(5_000), "nobody"]
    problem_of(client.post("/predict", json={"strategies": names}, headers={"accept": NDJSON}), 404)


def test_a_name_asked_for_twice_is_answered_once(client: TestClient) -> None:
    predictions, last = whole(
        client.post("/predict", json={"strategies": ["aave", "lido", "aave"]}, headers={"accept": NDJSON}).text
    )
    assert (list(predictions), last["count"]) == (["aave", "lido"], 2)


def test_every_cut_is_seen(client: TestClient) -> None:
    text = client.post("/predict", json=PROMISED, headers={"accept": NDJSON}).text
    for length in range(len(text)):
        with pytest.raises(ValueError, match="cut"):
            whole(text[:length])


def test_an_answer_that_a_kill_cuts_has_no_end(home: Path, tables: Path, tmp_path: Path) -> None:
    port = free_port()
    process = start(["api/ml_service.py"], home, tmp_path, AEGIS_PORT=str(port), AEGIS_DATA=str(tables))
    try:
        wait_for(port)
        body = json.dumps({"strategies": many_names(20_000)}).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
            connection.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + body)
            received = b""
            while b'"prediction"' not in received:
                received += connection.recv(1_000)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
            received += rest_of(connection)
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert received.startswith(b"HTTP/1.1 200")
    assert b'"end":true' not in received
    assert not received.endswith(b"0\r\n\r\n")


def wait_for(port: int) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    pytest.fail("the service did not become ready")


def rest_of(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)

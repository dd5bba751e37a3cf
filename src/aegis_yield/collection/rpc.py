"""JSON-RPC to Ethereum nodes: calls in batches, answers by id, and what each error means.

Facts (execution-apis, nodes' and providers' behaviour): answers of a batch come in any order; each may fail by itself;
errors come with HTTP 200 as a rule, but some providers send 400, 403 or 500 with the reason in the body; too wide a
range of logs is refused, never cut short; a node that keeps no old state says "missing trie node" or the like, and
another node may keep it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeGuard

from aegis_yield.collection.chain import HOST, READERS
from aegis_yield.collection.client import Check, Reply
from aegis_yield.collection.datasets import Session
from aegis_yield.collection.units import Page, Request
from aegis_yield.collection.verdicts import SHOWN_CHARS, Verdict, decoded
from aegis_yield.domain.errors import SourceError

MAX_BATCH: Final = 50
"""Calls in one request; a node that takes fewer is asked with fewer."""

Outcome: TypeAlias = Any
"""What came of one call: its answer, read by :data:`chain.READERS`, or a SourceError in its place."""

Judge = Callable[[Sequence[Outcome]], None]
"""Raises SourceError if the outcomes of a batch are of no use."""

Send = Callable[[Request, Check], Awaitable[Reply]]


@dataclass(frozen=True)
class Call:
    """One call of a method.

    Attributes
    ----------
    method : str
        e.g. ``"eth_getLogs"``.
    params : tuple
        As JSON.
    about : mapping
        What the reader of the answer must know and neither the call nor the answer says.
    """

    method: str
    params: tuple[Any, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def contract_call(to: str, data: bytes, block: int | str, about: Mapping[str, Any] | None = None) -> Call:
    """Return the call of a contract's function in the state after a block (a number or a tag)."""
    tag = block if isinstance(block, str) else hex(block)
    return Call("eth_call", ({"to": to, "data": "0x" + data.hex()}, tag), about or {})


def header_call(block: int | str) -> Call:
    """Return the call for a block's header (its transactions only as hashes)."""
    return Call("eth_getBlockByNumber", (block if isinstance(block, str) else hex(block), False))


def has_failed(outcome: Outcome) -> TypeGuard[SourceError]:
    """Whether a call came to nothing."""
    return isinstance(outcome, SourceError)


async def ask(session: Session, calls: Sequence[Call]) -> list[Outcome]:
    """Make calls whose answers are to be read into the history; see :func:`probe`."""
    return await _complete(session.ask, calls, refuse_useless)


async def probe(session: Session, calls: Sequence[Call]) -> list[Outcome]:
    """Make calls that only help to make others.

    What fails in passing is called again, and only that. What another node might answer fails over to it.

    Returns
    -------
    list
        An outcome per call, in the order of the calls; a failure among them is lasting.

    Raises
    ------
    SourceError
        If no node answers.
    """
    return await _complete(session.probe, calls, refuse_useless)


async def ask_keepers(session: Session, calls: Sequence[Call]) -> list[Outcome]:
    """Make calls for old state, which not every node keeps; like :func:`ask`, but what none keeps fails alone.

    Raises
    ------
    SourceError
        If no node answers at all.
    """
    refusals: list[SourceError] = []
    has_some = False

    def watch(found: Sequence[Outcome]) -> None:
        nonlocal has_some
        lost = [one for one in found if has_failed(one) and one.verdict == Verdict.PROVIDER]
        refusals.extend(lost)
        has_some |= bool(lost) and any(not has_failed(one) for one in found)
        refuse_useless(found)

    try:
        return await _complete(session.ask, calls, watch)
    except SourceError:
        if not refusals:
            raise
    if not has_some:
        return [refusals[0]] * len(calls)
    return await _complete(session.ask, calls, _refuse_without_result)


def results(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return outcomes if none failed.

    Raises
    ------
    SourceError
        The first failure.
    """
    for outcome in outcomes:
        if has_failed(outcome):
            raise outcome
    return list(outcomes)


async def exchange(send: Send, calls: Sequence[Call], judge: Judge, is_whole: bool = False) -> list[Outcome]:
    """Make calls in one request, whatever becomes of it.

    Parameters
    ----------
    send : callable
        ``session.ask`` or ``session.probe``.
    calls : sequence of Call
        At least one; they go out as one batch, a single one by itself.
    judge : callable
        Refuses useless outcomes while the client can still try again or elsewhere.
    is_whole : bool
        Whether the batch cannot be divided: another node may take it then.
    """
    body = [
        {"jsonrpc": "2.0", "id": number, "method": call.method, "params": list(call.params)}
        for number, call in enumerate(calls, 1)
    ]
    request = Request(
        HOST,
        "",
        body=body if len(body) > 1 else body[0],
        weight=len(calls),
        context={"about": [dict(call.about) for call in calls]},
        reads_errors=True,
    )

    def check(content: Any) -> None:
        try:
            found = outcomes_of(content, calls)
        except SourceError as error:
            if is_whole and error.verdict == Verdict.TOO_LARGE:
                error.verdict = Verdict.PROVIDER
            raise
        judge(found)

    reply = await send(request, check)
    return outcomes_of(reply.content, calls)


def answered(page: Page) -> Iterator[tuple[Call, Any]]:
    """Yield the calls of a landed answer that were answered, each with its answer."""
    body = page.request["body"]
    asked = body if isinstance(body, list) else [body]
    calls = [
        Call(one["method"], tuple(one["params"]), about)
        for one, about in zip(asked, page.context["about"], strict=True)
    ]
    for call, outcome in zip(calls, outcomes_of(decoded(page.body), calls), strict=True):
        if not has_failed(outcome):
            yield call, outcome


def refuse_useless(found: Sequence[Outcome]) -> None:
    """Refuse what another node or another moment may answer better.

    Raises
    ------
    SourceError
        If this node lacks something another may have, or if every call failed and waiting may help.
    """
    failures = [one for one in found if has_failed(one)]
    for failure in failures:
        if failure.verdict == Verdict.PROVIDER:
            raise failure
    _refuse_without_result(found)


def _refuse_without_result(found: Sequence[Outcome]) -> None:
    failures = [one for one in found if has_failed(one)]
    if len(failures) < len(found):
        return
    for failure in failures:
        if failure.verdict == Verdict.TRANSIENT or len(found) == 1:
            raise failure
    if all(failure.verdict == Verdict.PROVIDER for failure in failures):
        raise failures[0]


async def _complete(send: Send, calls: Sequence[Call], judge: Judge) -> list[Outcome]:
    found: list[Outcome] = []
    for start in range(0, len(calls), MAX_BATCH):
        found += await _divided(send, calls[start : start + MAX_BATCH], judge)
    # A batch without any answer is refused, so that every turn leaves fewer to call again.
    again = [at for at, one in enumerate(found) if has_failed(one) and one.verdict == Verdict.TRANSIENT]
    if again:
        for at, one in zip(again, await _complete(send, [calls[at] for at in again], judge), strict=True):
            found[at] = one
    return found


async def _divided(send: Send, calls: Sequence[Call], judge: Judge) -> list[Outcome]:
    """Make calls in one request, or in two halves if a node does not take so many at once."""
    try:
        return await exchange(send, calls, judge)
    except SourceError as error:
        if error.verdict != Verdict.TOO_LARGE:
            raise
        if len(calls) == 1:
            return [error]
    half = len(calls) // 2
    return [*await _divided(send, calls[:half], judge), *await _divided(send, calls[half:], judge)]


def outcomes_of(content: Any, calls: Sequence[Call]) -> list[Outcome]:
    """Return what came of each call, in their order.

    Raises
    ------
    SourceError
        If the batch as a whole was refused or the answer is no JSON-RPC.
    """
    items = content if isinstance(content, list) else [content]
    if not items or not all(isinstance(item, dict) for item in items):
        raise SourceError(f"expected JSON-RPC, received {str(content)[:SHOWN_CHARS]}", Verdict.PROVIDER)
    # Some nodes give ids back as text.
    by_id = {str(item.get("id")): item for item in items}
    if not any(str(number) in by_id for number in range(1, len(calls) + 1)):
        error = items[0].get("error", items[0])
        raise _failure(calls[0].method, error)
    return [_outcome(call, by_id.get(str(number))) for number, call in enumerate(calls, 1)]


def _outcome(call: Call, item: Mapping[str, Any] | None) -> Outcome:
    if item is None:
        return SourceError(f"{call.method}: no answer in the batch", Verdict.TRANSIENT)
    if item.get("error") is not None:
        return _failure(call.method, item["error"])
    result = item.get("result")
    if result is None:
        return SourceError(f"{call.method}: this node knows nothing of {call.params[:1]}", Verdict.PROVIDER)
    try:
        return READERS[call.method](result)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        return SourceError(f"{call.method}: unreadable answer ({reason})"[: 2 * SHOWN_CHARS], Verdict.PROVIDER)


def _failure(method: str, error: Any) -> SourceError:
    error = error if isinstance(error, Mapping) else {"message": str(error)}
    message, code = str(error.get("message", error)), error.get("code")
    return SourceError(
        f"{method}: {message[:SHOWN_CHARS]} (code {code})", verdict_of_error(method, code, message.lower())
    )


_REVERTED: Final = ("revert", "out of gas", "invalid opcode")
_BEHIND: Final = ("beyond current head", "beyond head", "beyond the head", "future block")
_TOO_WIDE: Final = (
    "returned more than", "range", "response size", "query timeout", "exceeds limit of", "max results", "limited to",
    "too many results", "too many logs", "too many blocks",
)  # fmt: skip
_NOT_HERE: Final = (
    "missing trie node", "header not found", "not available", "unavailable", "historical state", "archive", "pruned",
    "unknown block", "block not found", "not supported", "unsupported", "unauthorized", "authenticat", "personal token",
    "dedicated full node", "suitable provider",
)  # fmt: skip
_PASSING: Final = (
    "limit", "too many", "timeout", "timed out", "try again", "overload", "capacity", "busy", "temporar", "throttl",
    "internal error",
)  # fmt: skip
_PASSING_CODES: Final = frozenset({-32005, -32097, -32016, -32603, 429})
_MALFORMED_CODES: Final = frozenset({-32600, -32602, -32700})


def verdict_of_error(method: str, code: Any, message: str) -> Verdict:
    """Return what a JSON-RPC error means.

    Parameters
    ----------
    method : str
        That failed.
    code : object
        As received; usually a number.
    message : str
        In lower case. Codes alone do not tell: -32005 is both "slow down" and "too many logs".
    """
    if code == 3 or _says(message, _REVERTED):
        return Verdict.FINAL
    if _says(message, _BEHIND):
        # Nothing is asked beyond what some node called final: this one is behind.
        return Verdict.PROVIDER
    if "batch" in message:
        return Verdict.TOO_LARGE
    if method == "eth_getLogs" and _says(message, _TOO_WIDE) and "invalid block range" not in message:
        return Verdict.TOO_LARGE
    if _says(message, _NOT_HERE):
        return Verdict.PROVIDER
    if code in _PASSING_CODES or _says(message, _PASSING):
        return Verdict.TRANSIENT
    if code in _MALFORMED_CODES:
        return Verdict.FINAL
    # An error without a number is no JSON-RPC: it comes from something before the node.
    return Verdict.PROVIDER if isinstance(code, int) else Verdict.TRANSIENT


def _says(message: str, phrases: Sequence[str]) -> bool:
    return any(phrase in message for phrase in phrases)

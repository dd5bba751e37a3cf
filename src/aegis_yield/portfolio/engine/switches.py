"""What is open or closed, as rows between columns and switches; and a program in which that is settled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.engine.program import Limit, Program, Switch
from aegis_yield.utils.typing import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Row:
    """``lower <= columns'x + switches'z <= upper``, x in units of capital."""

    columns: FloatArray
    switches: FloatArray
    lower: float
    upper: float


def rows_of_switches(program: Program, capital: float) -> tuple[FloatArray, list[Row]]:
    """Return the cost of each switch, then order, being on, and the rows that tie them to columns.

    Raises
    ------
    RequestError
        If a switch or the columns of an order have no finite ceiling, or a count names an unknown switch.
    """
    n = len(program.switches) + len(program.orders)
    cost = np.array([*(switch.cost for switch in program.switches), *(0.0 for _ in program.orders)])
    rows: list[Row] = []
    for place, switch in enumerate(program.switches):
        ceiling = ceiling_of(program, switch)
        offset, ticket = switch.offset / capital, switch.ticket / capital
        mine = np.eye(1, n, place)[0]
        rows.append(Row(switch.coefficients, -ticket * mine, -offset, np.inf))
        rows.append(Row(switch.coefficients, -ceiling / capital * mine, -np.inf, -offset))
        rows += _each_column(program, switch, mine, capital)
    capacity = program.capacity()
    for place, order in enumerate(program.orders, start=len(program.switches)):
        if not np.isfinite(capacity[[order.before, order.after]]).all():
            raise RequestError("order", (order.before, order.after), "columns with a finite upper bound")
        mine = np.eye(1, n, place)[0]
        for column, sign in ((order.before, 1.0), (order.after, -1.0)):
            top = program.upper[column] if sign > 0 else capacity[column]
            rows.append(Row(sign * np.eye(1, program.n_columns, column)[0], -sign * top / capital * mine, 0.0, np.inf))
    names = [switch.name for switch in program.switches]
    for count in program.counts:
        unknown = sorted(set(count.switches) - set(names))
        if unknown:
            raise RequestError(f"count {count.name}", unknown, f"names of switches: {', '.join(names)}")
        members = np.array([float(name in count.switches) for name in names] + [0.0] * len(program.orders))
        most = np.inf if count.at_most is None else float(count.at_most)
        rows.append(Row(np.zeros(program.n_columns), members, float(count.at_least), most))
    return cost, rows


def _each_column(program: Program, switch: Switch, mine: FloatArray, capital: float) -> list[Row]:
    """Return rows that shut each column of a switch by itself.

    They say no more than the ceiling does of whole numbers, but of a switch that is half on they leave exactly the
    concave envelope of what its columns bring less its cost (the perspective reformulation, Frangioni and Gentile
    2006): far less for a search to prove.
    """
    mine_only = np.flatnonzero(switch.coefficients > 0)
    if switch.offset != 0.0 or (switch.coefficients < 0).any() or len(mine_only) < 2:
        return []
    top = np.minimum(program.upper[mine_only], ceiling_of(program, switch) / switch.coefficients[mine_only])
    unit = np.eye(program.n_columns)
    return [Row(unit[k], -x / capital * mine, -np.inf, 0.0) for k, x in zip(mine_only, top, strict=True)]


def ceiling_of(program: Program, switch: Switch) -> float:
    """Return the largest amount of a switch that its own ceiling and the columns' capacity allow."""
    rises = switch.coefficients > 0
    reach = switch.offset + float(switch.coefficients[rises] @ program.capacity()[rises])
    ceiling = min(switch.ceiling, reach)
    if not np.isfinite(ceiling):
        raise RequestError(f"switch {switch.name}", ceiling, "a finite ceiling, or columns with finite capacity")
    return max(ceiling, 0.0)


def settle(program: Program, switched: BoolArray) -> Program:
    """Return the convex program that is left when each switch, then each order, is known.

    Parameters
    ----------
    program : Program
        With switches.
    switched : ndarray of shape (n_switches + n_orders,)
        What is on.
    """
    limits, upper, constant = list(program.limits), program.upper.copy(), program.constant
    for switch, on in zip(program.switches, switched[: len(program.switches)], strict=True):
        low, high = (switch.ticket, ceiling_of(program, switch)) if on else (0.0, 0.0)
        name = f"switch {switch.name}"
        # a ticket above the ceiling has no amount between them: the search never opens such a switch
        limits.append(Limit(name, switch.coefficients, low - switch.offset, max(low, high) - switch.offset))
        constant -= switch.cost * bool(on)
    for order, on in zip(program.orders, switched[len(program.switches) :], strict=True):
        if on:
            row = np.eye(1, program.n_columns, order.before)[0]
            limits.append(Limit(f"order {order.before} {order.after}", row, lower=float(program.upper[order.before])))
        else:
            upper[order.after] = 0.0
    return replace(program, upper=upper, limits=tuple(limits), constant=constant, switches=(), orders=(), counts=())

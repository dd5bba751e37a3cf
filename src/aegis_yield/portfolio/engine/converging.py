"""Solve, learn, solve again: a solver that knows risks by cuts is asked until it underrates none."""

from __future__ import annotations

from aegis_yield.portfolio.engine.answer import Answer, Master
from aegis_yield.portfolio.engine.cuts import VIOLATION, Cuts
from aegis_yield.portfolio.engine.scales import Scales
from aegis_yield.utils.typing import FloatArray

_MAX_ROUNDS = 200


def converge(master: Master, cuts: list[Cuts], scales: Scales) -> Answer:
    """Solve, learn the units that the answer underrates, and solve again until there are none."""
    tolerance = VIOLATION * scales.risks
    answer = master.solve()
    for _ in range(_MAX_ROUNDS):
        if answer.verdict != "optimal" or not learn(master, cuts, answer, tolerance):
            break
        answer = master.solve()
    return answer


def learn(master: Master, cuts: list[Cuts], answer: Answer, tolerance: FloatArray) -> bool:
    """Learn, for each risk that the solver knows by cuts, the units that its answer underrates."""
    learned = [
        known.learn_violated(answer.values, float(answer.levels[k]), answer.excess[k], float(tolerance[k]))
        for k, known in enumerate(cuts)
        if not master.knows(k)
    ]
    return any(learned)

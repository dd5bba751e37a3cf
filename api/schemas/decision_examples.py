"""Answers of ``/risk``, ``/optimize`` and ``/frontier`` as examples in the OpenAPI document; lists are shortened."""

from __future__ import annotations

from typing import Any, Final

RISK: Final[dict[str, Any]] = {
    "rows": [
        {
            "name": "aave",
            "strategy_id": "aave-v3:ethereum:usdc",
            "apy": 0.07884,
            "low": 0.04451,
            "high": 0.134,
            "nav_volatility": 0.02741,
            "expected_loss_a_year": 0.0007547,
            "var": 0.00555,
            "cvar": 0.01094,
            "loss_probability": 0.01747,
            "expected_max_drawdown": 0.005369,
            "drawdown_probability": 0.0002104,
            "worst_event": "depeg of circle: 60 % lost",
        }
    ],
    "horizon_days": 30,
    "n_scenarios": 1040,
    "as_of": "2025-09-30",
    "model_version": "lstm_v1-90f11658",
    "simulated": True,
    "notes": ["SIMULATED market data: these numbers say nothing about real strategies"],
}

ALLOCATION: Final[dict[str, Any]] = {
    "capital_usd": 100000.0,
    "horizon_days": 30,
    "as_of": "2025-09-30",
    "simulated": True,
    "model_version": "lstm_v1-90f11658",
    "weights": {"aave-v3:ethereum:usdc": 0.6, "lido:ethereum:steth": 0.3998},
    "cash_usd": 0.0,
    "outcome": {
        "income_usd": 482.5,
        "net_apy": 0.06032,
        "net_apy_low": -0.0911,
        "net_apy_high": 0.2017,
        "gross_apy": 0.06181,
        "cost_usd": 23.93,
        "var": 0.00782,
        "cvar": 0.0134,
        "loss_probability": 0.02764,
        "worst_loss": 0.4991,
    },
    "cutoff_apy": 0.01854,
    "strategies": [
        {
            "strategy_id": "aave-v3:ethereum:usdc",
            "amount_usd": 60000.0,
            "share": 0.6,
            "before_usd": 0.0,
            "apy": 0.07884,
            "apy_after": 0.0774,
            "marginal_apy": 1.055e-17,
            "why": "up to the limit on protocol aave-v3",
            "curve": "fitted",
            "curve_note": "kink at 0.88",
            "rate_kept_at_a_tenth": [0.3788, 0.4201],
        },
        {
            "strategy_id": "lido:ethereum:steth",
            "amount_usd": 39980.0,
            "share": 0.3998,
            "before_usd": 0.0,
            "apy": 0.03885,
            "apy_after": 0.03885,
            "marginal_apy": 3.694e-17,
            "why": "up to the point where its next dollar earns what it would elsewhere",
            "curve": "price taker",
            "curve_note": "paid from outside the pool: a deposit does not lower it",
            "rate_kept_at_a_tenth": [1.0, 1.0],
        },
    ],
    "limits": [
        {"name": "capital", "used": 1.0, "allowed": 1.0, "price": 0.01854, "binds": True},
        {"name": "max_protocol_share of aave-v3", "used": 0.6, "allowed": 0.6, "price": 0.05282, "binds": True},
        {"name": "max_protocol_share of lido", "used": 0.3998, "allowed": 0.6, "price": 0.0, "binds": False},
    ],
    "trades": [
        {"strategy_id": "aave-v3:ethereum:usdc", "amount_usd": 60000.0, "cost_usd": 2.11, "break_even_days": 0.1716},
        {"strategy_id": "lido:ethereum:steth", "amount_usd": 39980.0, "cost_usd": 21.82, "break_even_days": 5.22},
    ],
    "left_out": {},
    "certificate": {
        "status": "optimal",
        "solver": "branch and bound, HiGHS simplex",
        "primal_residual": 0.0,
        "gap": 3.596e-16,
        "certified": True,
        "seconds": 0.1658,
        "n_exact": 2,
    },
    "notes": ["SIMULATED market data: these numbers say nothing about real strategies"],
}

FRONTIER: Final[dict[str, Any]] = {
    "capital_usd": 100000.0,
    "horizon_days": 30,
    "as_of": "2025-09-30",
    "simulated": True,
    "model_version": "lstm_v1-90f11658",
    "points": [
        {
            "risk_aversion": 0.0,
            "net_apy": 0.06083,
            "net_apy_low": -0.09067,
            "net_apy_high": 0.2023,
            "income_usd": 486.5,
            "cost_usd": 19.99,
            "cvar": 0.01336,
            "loss_probability": 0.02764,
            "weights": {"aave-v3:ethereum:usdc": 0.6, "lido:ethereum:steth": 0.3998},
        }
    ],
    "chosen": {
        "net_apy": 0.06032,
        "net_apy_low": -0.0911,
        "net_apy_high": 0.2017,
        "income_usd": 482.5,
        "cost_usd": 23.93,
        "cvar": 0.0134,
        "loss_probability": 0.02764,
        "weights": {"aave-v3:ethereum:usdc": 0.6, "lido:ethereum:steth": 0.3998},
    },
    "references": [
        {
            "name": "highest APY",
            "net_apy": 0.07766,
            "net_apy_low": -0.05095,
            "net_apy_high": 0.2116,
            "income_usd": 616.6,
            "cost_usd": 2.11,
            "cvar": 0.0102,
            "loss_probability": 0.01648,
            "weights": {"aave-v3:ethereum:usdc": 1.0},
        }
    ],
    "notes": ["SIMULATED market data: these numbers say nothing about real strategies"],
}

// The options of an allocation: what they are called, their unit, their default, and how they are sent.

import { days, dollars, number, percent } from "../format.js";

/** [name in the request, label, unit, value unless changed, hint]; percent for people is a fraction for the service. */
export const GROUPS = [
  ["Concentration", [
    ["max_share", "In one strategy, at most", "%", 40],
    ["max_protocol", "In one protocol, at most", "%", 50],
    ["max_chain", "On one chain, at most", "%", 100],
    ["max_category", "In one category, at most", "%", 100],
    ["max_issuer", "In one issuer's coin, at most", "%", 100],
    ["max_positions", "Positions, at most", "", null, "Empty: any number"],
  ]],
  ["Size and liquidity", [
    ["min_invested", "Invested, at least", "%", 0],
    ["min_instant", "Withdrawable at once, at least", "%", 0],
    ["max_exit_days", "Mean days to withdraw, at most", "days", null],
    ["min_ticket", "Least position", "$", 0],
    ["min_tvl", "Pool holds at least", "$", 0],
    ["max_tvl_share", "Our part of a pool, at most", "%", 10],
  ]],
  ["Risk budgets", [
    ["max_cvar", "CVaR 95 %, at most", "%", null, "Mean loss of the worst 5 % of scenarios, share of the capital"],
    ["max_drawdown", "Drawdown, at most", "%", null, "Mean of the worst 5 % of the deepest falls, share of the capital"],
    ["max_loss_probability", "Probability of losing over 1 %, at most", "%", null],
    ["max_turnover", "Purchases plus sales, at most", "%", null, "Share of the capital"],
  ]],
];
export const FIELDS = new Map(GROUPS.flatMap(([, fields]) => fields).map(([name, label, unit, value, hint]) => [name, { name, label, unit, value, hint }]));

export const GOALS = [["mean-cvar", "Income less risk (CVaR)"], ["robust", "Income at the low end, less risk"], ["ratio", "Income per unit of risk"],
  ["mean-variance", "Income less variance"], ["income", "Income only"]];
export const AVERSIONS = [0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];

/** What a form starts with, in people's units. */
export function fresh() {
  const limits = Object.fromEntries([...FIELDS].map(([name, field]) => [name, field.value]));
  return { capital_usd: 1_000_000, horizon_days: 30, goal: "mean-cvar", risk_aversion: 0.05, risk_free: 0, limits, all: true, strategies: [], never: [], current: [] };
}

/** Turn people's units into a request; what is left empty is not sent. */
export function toRequest(form) {
  const limits = {};
  for (const [name, value] of Object.entries(form.limits)) {
    if (value === null || value === "") continue;
    limits[name] = FIELDS.get(name).unit === "%" ? rounded(value / 100) : value;
  }
  return {
    capital_usd: form.capital_usd, horizon_days: form.horizon_days, goal: form.goal, risk_aversion: form.risk_aversion, risk_free: rounded(form.risk_free / 100),
    ...limits, ...(!form.all && form.strategies.length && { strategies: form.strategies }), ...(form.never.length && { never: form.never }),
    ...(form.current.length && { current: Object.fromEntries(form.current) }),
  };
}

const rounded = (value) => Number(value.toPrecision(12));

/** Give way by what the service says is enough, a little more than that for rounding. */
export function relaxed(form, relaxation) {
  const limits = { ...form.limits };
  for (const { field, by } of relaxation) {
    const { unit } = FIELDS.get(field) ?? {};
    if (unit === undefined) continue;
    const sign = field.startsWith("min_") ? -1 : 1, scale = unit === "%" ? 100 : 1;
    const wanted = (limits[field] ?? 0) + sign * by * scale, places = unit === "$" || field === "max_positions" ? 1 : 100;
    limits[field] = Math.max(0, (sign > 0 ? Math.ceil(wanted * places - 1e-6) : Math.floor(wanted * places + 1e-6)) / places);
    if (unit === "%" && ["max_share", "max_protocol", "max_chain", "max_category", "max_issuer"].includes(field)) limits[field] = Math.min(100, limits[field]);
  }
  return { ...form, limits };
}

/** A field's value as people read it. */
export function spoken(name, value) {
  if (name === "capital_usd") return dollars(value);
  if (name === "goal") return (GOALS.find(([goal]) => goal === value) ?? [null, value])[1];
  if (Array.isArray(value)) return value.length ? value.join(", ") : "none";
  if (value !== null && typeof value === "object") return Object.entries(value).map(([id, usd]) => `${id} ${dollars(usd)}`).join(", ") || "none";
  if (value === null || value === undefined) return "no limit";
  const unit = FIELDS.get(name)?.unit;
  if (unit === "%" || name === "risk_free") return percent(value, 2);
  if (unit === "$") return dollars(value);
  if (unit === "days" || name === "horizon_days") return days(value);
  return String(value);
}

/** A field's name as people read it. */
export function labelOf(name) {
  const others = { capital_usd: "Capital", horizon_days: "Days ahead", goal: "Goal", risk_aversion: "Aversion to risk", risk_free: "Idle cash earns",
    strategies: "Candidates", never: "Never used", current: "Present positions" };
  return FIELDS.get(name)?.label ?? others[name] ?? name;
}

/** A limit of an answer as people read it. */
export function limitName(name) {
  const [base, of] = name.split(" of ");
  const bases = { capital: "Capital", capacity: "Caps on single strategies and pools, together", max_share: "One strategy", max_protocol_share: "Protocol", max_chain_share: "Chain", max_category_share: "Category",
    max_issuer_share: "Issuer", min_invested_share: "Invested, at least", min_instant_share: "Withdrawable at once, at least", max_exit_days: "Mean days to withdraw",
    max_cvar: "CVaR 95 %", max_drawdown: "Drawdown", max_loss_probability: "Probability of losing over 1 %", max_turnover: "Turnover", max_positions: "Positions",
    max_tvl_share: "Part of the pool", min_ticket_usd: "Least position" };
  return `${bases[base] ?? base.replaceAll("_", " ")}${of ? ` ${of}` : ""}`;
}

/** How much of a limit, in its unit. */
export function limitValue(name, value) {
  if (name.startsWith("max_exit_days")) return days(value, 1);
  if (name.startsWith("max_positions")) return number(value);
  if (name.includes("_usd")) return dollars(value);
  return percent(value);
}

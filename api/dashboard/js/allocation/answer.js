// The answer of an allocation: where the capital goes, what it brings, what it costs, why.

import { append, fill, h } from "../dom.js";
import { days, dollars, isNumber, number, percent, signedDollars } from "../format.js";
import { share } from "../marks.js";
import { figures, panel, remarks } from "../parts.js";
import { table } from "../table.js";
import { nameOf } from "../views/strategies.js";
import { limitName, limitValue } from "./fields.js";

const LEAST_USD = 0.5;

/** A strategy's name with a link to its page. */
export function linked(id) {
  return nameOf({ strategy_id: id }, `#/strategy/${encodeURIComponent(id)}`);
}

/** The whole answer. */
export function answerView(answer) {
  const inside = answer.strategies.filter((row) => row.amount_usd >= LEAST_USD || row.before_usd >= LEAST_USD);
  const outside = answer.strategies.filter((row) => !inside.includes(row));
  return [
    panel("Result", head(answer), remarks(answer.warnings ?? [], (answer.notes ?? []).filter((note) => !note.startsWith("SIMULATED")))),
    panel("Where the capital goes", places(inside, answer)),
    panel("Trades", trades(answer)),
    panel("Limits", limits(answer)),
    panel("Not used, and why", outs(outside, answer)),
  ];
}

function head(answer) {
  const { outcome, certificate } = answer;
  return [figures([
    ["Net APY", percent(outcome.net_apy), `90 %: ${percent(outcome.net_apy_low)} to ${percent(outcome.net_apy_high)}`],
    ["Income", dollars(outcome.income_usd), `expected over ${days(answer.horizon_days)}, after costs`],
    ["Costs", dollars(outcome.cost_usd), "gas, fees and slippage"],
    ["CVaR 95 %", percent(outcome.cvar), outcome.cvar < 0 ? "even the worst 5 % gain on average" : `mean loss of the worst 5 %, ${dollars(outcome.cvar * answer.capital_usd)}`],
    ["Loss beyond 1 %", percent(outcome.loss_probability), "probability"],
    ["Worst scenario", percent(outcome.worst_loss), `of the capital lost, ${dollars(outcome.worst_loss * answer.capital_usd)}`],
    ["Cash", dollars(answer.cash_usd), "not invested"],
  ]), h("p", { class: "small muted" }, h("span", { class: certificate.certified ? "state good" : "state warn" }, certificate.certified ? "Proven best" : "Not proven best"),
    ` ${certificate.solver}, ${certificate.status}`, isNumber(certificate.gap) ? `, within ${percent(Math.max(Math.abs(certificate.gap), 1e-6), 4)} of the best` : "",
    `, ${number(certificate.seconds, 2)} s. Data of ${answer.as_of}, model ${answer.model_version}.`)];
}

function places(rows, answer) {
  const most = Math.max(...rows.map((row) => row.share), 1e-9);
  const cash = answer.cash_usd > LEAST_USD ? [{ strategy_id: "", share: answer.cash_usd / answer.capital_usd, amount_usd: answer.cash_usd, isCash: true }] : [];
  return table({
    caption: "Where the capital goes", rows: [...rows, ...cash], sort: "-amount_usd", empty: "Nothing: all stays cash.",
    columns: [
      { key: "strategy_id", label: "Strategy", class: "name", cell: (row) => (row.isCash ? "Cash" : linked(row.strategy_id)) },
      { key: "share", label: "Weight", numeric: true, cell: (row) => h("span", { class: "with-bar" }, share(row.share, { full: most, width: 44 }), h("span", {}, percent(row.share))) },
      { key: "amount_usd", label: "Amount", unit: "US$", numeric: true, text: (row) => dollars(row.amount_usd) },
      rows.some((row) => row.before_usd > 0) && { key: "change", label: "Change", unit: "US$", numeric: true, sort: (row) => (row.isCash ? null : row.amount_usd - row.before_usd), text: (row) => (row.isCash ? "" : signedDollars(row.amount_usd - row.before_usd)) },
      { key: "apy", label: "Forecast", unit: "a year", numeric: true, text: (row) => (row.isCash ? "" : percent(row.apy)) },
      { key: "apy_after", label: "Diluted", unit: "a year", numeric: true, text: (row) => (row.isCash ? "" : percent(row.apy_after)), hint: "The rate once our own deposit is in the pool" },
      { key: "why", label: "Why", class: "why", text: (row) => row.why ?? "" },
    ].filter(Boolean),
  }).element;
}

function trades(answer) {
  if (!answer.trades.length) return h("p", { class: "muted" }, "Nothing to move: what is held is best as it is.");
  return [table({
    caption: "Trades", rows: answer.trades, sort: "-amount_usd",
    columns: [
      { key: "strategy_id", label: "Strategy", class: "name", cell: (row) => linked(row.strategy_id) },
      { key: "action", label: "Action", sort: (row) => Math.sign(row.amount_usd), text: (row) => (row.amount_usd < 0 ? "Withdraw" : "Deposit") },
      { key: "amount_usd", label: "Amount", unit: "US$", numeric: true, text: (row) => dollars(Math.abs(row.amount_usd)) },
      { key: "cost_usd", label: "Cost", unit: "US$", numeric: true, text: (row) => dollars(row.cost_usd, 2) },
      { key: "break_even_days", label: "Pays for itself in", numeric: true, text: (row) => (!isNumber(row.break_even_days) ? "never" : row.break_even_days < 0.05 ? "under 0.1 days" : days(row.break_even_days, 1)) },
    ],
  }).element, h("p", { class: "small muted" }, `All trades together: ${dollars(answer.trades.reduce((sum, row) => sum + Math.abs(row.amount_usd), 0))} moved, ${dollars(answer.outcome.cost_usd, 2)} of costs.`)];
}

function limits(answer) {
  const near = (row) => row.binds || (row.used ?? 0) > 1e-9;
  const place = h("div");
  const hidden = answer.limits.filter((row) => !near(row)).length;
  const draw = (isAll) => fill(place, table({
    caption: "Limits", rows: isAll ? answer.limits : answer.limits.filter(near), sort: "-price", pageSize: 20,
    columns: [
      { key: "name", label: "Limit", text: (row) => limitName(row.name) },
      { key: "used", label: "Used", numeric: true, cell: (row) => h("span", { class: "with-bar" }, share(Math.max(0, row.used ?? 0), { allowed: row.allowed }), h("span", {}, limitValue(row.name, row.used))) },
      { key: "allowed", label: "Allowed", numeric: true, text: (row) => limitValue(row.name, row.allowed) },
      { key: "slack", label: "Left", numeric: true, sort: slackOf, text: (row) => limitValue(row.name, slackOf(row)), hint: "How far the limit is from binding" },
      { key: "price", label: "A wider one pays", unit: "$ a year per $", numeric: true, text: (row) => (isNumber(row.price) ? number(row.price, 4) : "–"), hint: "Shadow price: US dollars a year for each dollar by which the limit were wider" },
      { key: "binds", label: "Binds", sort: (row) => Number(row.binds), cell: (row) => (row.binds ? h("span", { class: "state warn" }, "binds") : h("span", { class: "muted" }, "no")) },
    ],
  }).element);
  draw(false);
  const button = hidden > 0 && h("button", { type: "button", class: "link", "aria-expanded": "false", on: { click: () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    button.textContent = isOpen ? `Show ${hidden} more that are not touched` : "Show only those that are touched";
    draw(!isOpen);
  } } }, `Show ${hidden} more that are not touched`);
  return append(h("div"), [place, button]);
}

function slackOf(row) {
  if (!isNumber(row.used) || !isNumber(row.allowed)) return null;
  const left = row.name.startsWith("min_") ? row.used - row.allowed : row.allowed - row.used;
  return Math.abs(left) < 1e-9 ? 0 : left;
}

function outs(rows, answer) {
  const excluded = Object.entries(answer.left_out ?? {});
  return [
    table({
      caption: "Candidates that are not used", rows, sort: "-marginal_apy", pageSize: 10, empty: "Every candidate is used.",
      columns: [
        { key: "strategy_id", label: "Strategy", class: "name", cell: (row) => linked(row.strategy_id) },
        { key: "apy", label: "Forecast", unit: "a year", numeric: true, text: (row) => percent(row.apy) },
        { key: "marginal_apy", label: "Over the cut-off", unit: "a year", numeric: true, text: (row) => percent(row.marginal_apy), hint: "What its first dollar would add over the cut-off, after risk and costs" },
        { key: "why", label: "Why", class: "why", text: (row) => row.why },
      ],
    }).element,
    excluded.length ? h("details", { class: "numbers" }, h("summary", {}, `${excluded.length} could not be candidates`),
      h("ul", { class: "plain-list" }, excluded.map(([id, why]) => h("li", {}, h("a", { href: `#/strategy/${encodeURIComponent(id)}` }, id), `: ${why}`)))) : null,
  ];
}

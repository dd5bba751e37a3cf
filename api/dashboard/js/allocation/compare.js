// What-if: two answers side by side, what was changed and what that did.

import { h } from "../dom.js";
import { dollars, number, percent, points, signedDollars } from "../format.js";
import { signedBar } from "../marks.js";
import { table } from "../table.js";
import { linked } from "./answer.js";
import { labelOf, spoken } from "./fields.js";

const LEAST_SHARE = 5e-5;

/** The difference between an earlier entry {request, answer} and a later one. */
export function comparison(before, after) {
  return [changes(before.request, after.request), outcomes(before.answer, after.answer), weights(before.answer, after.answer)];
}

function changes(before, after) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const changed = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
  if (!changed.length) return h("p", { class: "muted" }, "The same question was asked again.");
  const spell = (name, value) => (name === "strategies" && value === undefined ? "all with a forecast" : ["never", "current"].includes(name) && value === undefined ? "none" : spoken(name, value));
  return h("p", {}, "Changed: ", changed.map((name, index) => [index ? "; " : "", h("strong", {}, labelOf(name)), ` from ${spell(name, before[name])} to ${spell(name, after[name])}`]), ".");
}

function outcomes(before, after) {
  const line = (label, get, show, difference) => ({ label, before: show(get(before)), after: show(get(after)), change: difference(get(after) - get(before)) });
  const rows = [
    line("Net APY", (a) => a.outcome.net_apy, percent, points),
    line("Income over the horizon", (a) => a.outcome.income_usd, dollars, signedDollars),
    line("Costs", (a) => a.outcome.cost_usd, dollars, signedDollars),
    line("CVaR 95 %", (a) => a.outcome.cvar, percent, points),
    line("Probability of losing over 1 %", (a) => a.outcome.loss_probability, percent, points),
    line("Worst scenario", (a) => a.outcome.worst_loss, percent, points),
    line("Positions", (a) => Object.keys(a.weights).length, number, (value) => (value > 0 ? `+${value}` : value === 0 ? "±0" : number(value))),
    line("Cash", (a) => a.cash_usd, dollars, signedDollars),
  ];
  const column = (key, label, numeric = true) => ({ key, label, numeric, plain: true, text: (row) => row[key] });
  return table({ caption: "Before and after", rows, compact: true, columns: [column("label", "Figure", false), column("before", "Before"), column("after", "Now"), column("change", "Difference")] }).element;
}

function weights(before, after) {
  const ids = [...new Set([...Object.keys(before.weights), ...Object.keys(after.weights)])];
  const rows = ids.map((id) => ({ id, before: before.weights[id] ?? 0, after: after.weights[id] ?? 0 })).map((row) => ({ ...row, change: row.after - row.before }))
    .filter((row) => Math.abs(row.change) > LEAST_SHARE).sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
  if (!rows.length) return h("p", { class: "muted" }, "The weights are the same.");
  const largest = Math.max(...rows.map((row) => Math.abs(row.change)));
  return table({
    caption: "Weights that changed", rows, compact: true, pageSize: 15,
    columns: [
      { key: "id", label: "Strategy", class: "name", cell: (row) => linked(row.id) },
      { key: "before", label: "Before", numeric: true, text: (row) => percent(row.before) },
      { key: "after", label: "Now", numeric: true, text: (row) => percent(row.after) },
      { key: "bar", label: "Less or more", sort: (row) => row.change, cell: (row) => signedBar(row.change, largest, 120) },
      { key: "change", label: "Difference", numeric: true, text: (row) => points(row.change) },
    ],
  }).element;
}

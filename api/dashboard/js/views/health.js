// Data health: what is served, since when, how old each strategy's data is, what the service warns of.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { days, moment, number, words } from "../format.js";
import { share } from "../marks.js";
import { figures, panel, problemBox, settle } from "../parts.js";
import { table } from "../table.js";
import { ageMark, everything, nameOf } from "./strategies.js";

const DAY_MS = 86_400_000;

/** Show the state of service and data. */
export function health({ root, signal }) {
  const state = h("div"), ages = h("div"), each = h("div");
  fill(root, h("h1", { tabindex: "-1" }, "Data health"), panel("Service", state), panel("Age by category", ages), panel("Age by strategy", each));
  settle(state, () => readiness(signal), (answer) => served(answer));
  settle(each, () => listing(signal), (answer) => {
    fill(ages, byCategory(answer));
    return byStrategy(answer);
  });
}

async function readiness(signal) {
  try { return await get("/health/ready", signal); } catch (error) {
    if (error.name === "AbortError") throw error;
    return { failure: error };
  }
}

function served(answer) {
  if (answer.failure) return problemBox(answer.failure);
  const warnings = answer.warnings ?? [];
  return [
    figures([
      ["Service", h("span", { class: warnings.length ? "state warn" : "state good" }, warnings.length ? "Ready, with warnings" : "Ready")],
      ["Data", answer.simulated ? h("span", { class: "state sim" }, "Simulated") : h("span", { class: "state good" }, "Real"), answer.data],
      ["Newest day", answer.last_date, answer.simulated ? "of the simulated market" : `${days(answer.data_age_days)} old`],
      ["Strategies", number(answer.n_strategies)],
      ["Model", answer.model_version, answer.loaded_at ? `loaded ${moment(answer.loaded_at)}` : ""],
    ]),
    warnings.length ? h("ul", { class: "warnings" }, warnings.map((line) => h("li", { class: "notice warn" }, line)))
      : h("p", { class: "muted" }, "The service warns of nothing."),
  ];
}

async function listing(signal) {
  const answer = await everything({ h: 7, level: 0.9 }, signal, 0);
  const newest = Math.max(...answer.strategies.map((row) => Date.parse(row.last_date)));
  const today = Date.now();
  const from = answer.simulated ? newest : Math.floor(today / DAY_MS) * DAY_MS;
  return { ...answer, rows: answer.strategies.map((row) => ({ ...row, age: Math.round((from - Date.parse(row.last_date)) / DAY_MS) })) };
}

function byCategory({ rows, simulated }) {
  const groups = new Map();
  for (const row of rows) groups.set(row.category, [...(groups.get(row.category) ?? []), row]);
  const lines = [...groups].map(([category, members]) => {
    const ages = members.map((row) => row.age).sort((a, b) => a - b);
    return { category, count: members.length, newest: ages[0], middle: ages[Math.floor((ages.length - 1) / 2)], oldest: ages[ages.length - 1],
      fresh: ages.filter((age) => age <= 2).length / ages.length };
  });
  return [h("p", { class: "small muted" }, simulated ? "Days behind the newest simulated day: the simulated market ends in the past on purpose." : "Days since the newest row, UTC."),
    table({ caption: "Age of the data by category", rows: lines, sort: "-oldest", columns: [
      { key: "category", label: "Category", text: (row) => words(row.category) },
      { key: "count", label: "Strategies", numeric: true, text: (row) => number(row.count) },
      { key: "newest", label: "Newest", numeric: true, text: (row) => days(row.newest) },
      { key: "middle", label: "Median", numeric: true, text: (row) => days(row.middle) },
      { key: "oldest", label: "Oldest", numeric: true, cell: (row) => ageMark(row.oldest) },
      { key: "fresh", label: "Within 2 days", cell: (row) => h("span", { class: "with-bar" }, share(row.fresh, { full: 1 }), ` ${number(row.fresh * 100)} %`) },
    ] }).element];
}

function byStrategy({ rows }) {
  return table({ caption: "Age of the data by strategy", rows, sort: "-age", pageSize: 25, columns: [
    { key: "strategy_id", label: "Strategy", class: "name", cell: (row) => nameOf(row, `#/strategy/${encodeURIComponent(row.strategy_id)}`) },
    { key: "category", label: "Category", text: (row) => words(row.category) },
    { key: "first_date", label: "First day", text: (row) => row.first_date },
    { key: "last_date", label: "Last day", text: (row) => row.last_date },
    { key: "n_rows", label: "Days of data", numeric: true, text: (row) => number(row.n_rows) },
    { key: "age", label: "Age", numeric: true, cell: (row) => ageMark(row.age) },
  ] }).element;
}

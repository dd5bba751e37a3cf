// All strategies: what each will pay, how sure that is, how old the data is.

import { get } from "../api.js";
import { fill, h, say } from "../dom.js";
import { days, isNumber, level as levelText, number, percent, shortDollars, words } from "../format.js";
import { intervalScale, range, spark } from "../marks.js";
import { chooser, remarks, settle } from "../parts.js";
import { table } from "../table.js";

export const HORIZONS = [1, 3, 7, 14, 21, 30];
export const LEVELS = [0.5, 0.8, 0.9, 0.95];
const SPARK_DAYS = 30;
const PAGE_ROWS = 50;
const FETCHED_ROWS = 1000;

/** Show the list. */
export function strategies({ root, options, signal, address }) {
  const chosen = {
    h: options.get("h") ?? "7", level: options.get("level") ?? "0.9", sort: options.get("sort") ?? "-forecast_apy",
    q: options.get("q") ?? "", category: options.get("category") ?? "", chain: options.get("chain") ?? "", project: options.get("project") ?? "",
  };
  const remember = () => address("strategies", "", {
    ...chosen, h: chosen.h === "7" ? "" : chosen.h, level: chosen.level === "0.9" ? "" : chosen.level,
    sort: chosen.sort === "-forecast_apy" ? "" : chosen.sort,
  });
  const place = h("div", { class: "listing" }), filters = h("div", { class: "filters", role: "search", "aria-label": "Strategies" });
  const count = h("p", { class: "count muted", id: "count" });
  const lead = h("p", { class: "lead" });
  const horizon = chooser("Days ahead", HORIZONS.map((n) => [n, days(n)]), chosen.h, (value) => { chosen.h = value; load(); }, { id: "horizon" });
  const level = chooser("Interval", LEVELS.map((l) => [l, levelText(l)]), chosen.level, (value) => { chosen.level = value; load(); }, { id: "level" });
  append();

  function append() {
    fill(root, h("div", { class: "title-row" }, h("h1", { tabindex: "-1" }, "Strategies"), h("div", { class: "choices" }, horizon, level)),
      lead, filters, count, place);
  }

  let rows = [], list = null;

  function load() {
    remember();
    settle(place, () => everything(chosen, signal), (answer) => {
      rows = answer.strategies;
      fill(lead, "What a depositor of the next ", days(answer.horizon_days ?? Number(chosen.h)), " is forecast to earn, a year. ",
        `Data of ${answer.as_of ?? "the newest day"}, model ${answer.model_version ?? ""}.`);
      drawFilters();
      list = makeTable(answer);
      select();
      return [remarks(answer.warnings ?? []), list.element];
    }, "Forecasting …");
  }

  function drawFilters() {
    const distinct = (key) => [["", "All"], ...[...new Set(rows.map((row) => row[key]).filter(Boolean))].sort((a, b) => a.localeCompare(b)).map((one) => [one, words(one)])];
    const search = h("input", { type: "search", id: "search", value: chosen.q, placeholder: "Name, coin, protocol …", autocomplete: "off", spellcheck: "false",
      on: { input: (event) => { chosen.q = event.target.value; select(); remember(); } } });
    const choose = (key, label) => chooser(label, distinct(key), chosen[key], (value) => { chosen[key] = value; select(); remember(); }, { id: `filter-${key}` });
    const clear = h("button", { type: "button", class: "plain", on: { click: () => {
      Object.assign(chosen, { q: "", category: "", chain: "", project: "" });
      drawFilters();
      select();
      remember();
      document.getElementById("search").focus();
    } } }, "Clear");
    fill(filters, h("div", { class: "field grow" }, h("label", { for: "search" }, "Search"), search),
      choose("category", "Category"), choose("chain", "Chain"), choose("project", "Project"), clear);
  }

  function select() {
    const parts = chosen.q.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = rows.filter((row) => ["category", "chain", "project"].every((key) => !chosen[key] || row[key] === chosen[key])
      && parts.every((part) => [row.strategy_id, row.project, row.chain, row.symbol, row.category, ...(row.aliases ?? [])].join(" ").toLowerCase().includes(part)));
    list.show(shown);
    const text = shown.length === rows.length ? `${number(rows.length)} strategies` : `${number(shown.length)} of ${number(rows.length)} strategies`;
    if (count.textContent && count.textContent !== text) say(text);
    count.textContent = text;
  }

  function makeTable(answer) {
    const scale = intervalScale(rows.filter((row) => isNumber(row.upper)));
    const shown = levelText(Number(chosen.level));
    const suffix = new URLSearchParams({ ...(chosen.h !== "7" && { h: chosen.h }), ...(chosen.level !== "0.9" && { level: chosen.level }) }).toString();
    const link = (row) => `#/strategy/${encodeURIComponent(row.strategy_id)}${suffix ? `?${suffix}` : ""}`;
    const newest = answer.as_of ? Date.parse(answer.as_of) : Math.max(...rows.map((row) => Date.parse(row.last_date)));
    const behind = (row) => Math.round((newest - Date.parse(row.last_date)) / 86_400_000);
    // Simulated days lie in the past on purpose: their age counts from the newest simulated day.
    const age = (row) => (answer.simulated ? behind(row) : (row.data_age_days ?? behind(row)));
    return table({
      caption: `Strategies with their forecast for ${chosen.h} days`, rows: [], sort: chosen.sort, pageSize: PAGE_ROWS,
      onSort: (sort) => { chosen.sort = sort; remember(); }, empty: "No strategy fits. Clear a filter or search for less.",
      columns: [
        { key: "strategy_id", label: "Strategy", class: "name", cell: (row) => nameOf(row, link(row)) },
        { key: "forecast_apy", label: "Forecast", unit: "a year", numeric: true, cell: (row) => (row.no_forecast ? h("span", { class: "muted", title: row.no_forecast }, "none", h("span", { class: "hidden" }, `: ${row.no_forecast}`)) : h("strong", {}, percent(row.forecast_apy))) },
        { key: "lower", label: `${shown} from`, numeric: true, text: (row) => percent(row.lower), hint: `Lower end of the ${shown} interval` },
        { key: "upper", label: "to", numeric: true, text: (row) => percent(row.upper), hint: `Upper end of the ${shown} interval` },
        { key: "width", label: "Interval", sort: (row) => row.upper - row.lower, hint: "On a common scale, compressed towards high rates; sorts by width",
          cell: (row) => range({ lower: row.lower, upper: row.upper, middle: row.forecast_apy }, scale) },
        { key: "last_apy", label: "Now", unit: "a year", numeric: true, text: (row) => percent(row.last_apy) },
        { key: "trend", label: `${SPARK_DAYS} days`, hint: "Daily rate; sorts by its change", sort: changeOf, cell: (row) => spark(row.spark, trendText(row)) },
        { key: "volatility", label: "Volatility", unit: "a year", numeric: true, text: (row) => percent(row.volatility, 1), hint: "Annualised normal volatility of the daily rate" },
        { key: "tvl_usd", label: "TVL", unit: "US$", numeric: true, text: (row) => shortDollars(row.tvl_usd) },
        { key: "category", label: "Category", text: (row) => words(row.category) },
        { key: "data_age_days", label: answer.simulated ? "Behind" : "Data age", numeric: true, sort: age, cell: (row) => ageMark(age(row)),
          hint: answer.simulated ? "Days behind the newest simulated day" : "Days since the newest row" },
      ],
    });
  }

  load();
}

/** All rows with forecasts, page by page. */
export async function everything({ h: horizon, level }, signal, spark = SPARK_DAYS) {
  const query = (offset) => new URLSearchParams({ horizon_days: horizon, level, ...(spark && { spark_days: spark }), limit: FETCHED_ROWS, offset });
  const first = await get(`/strategies?${query(0)}`, signal);
  while (first.strategies.length < first.total) {
    const more = await get(`/strategies?${query(first.strategies.length)}`, signal);
    if (!more.strategies.length) break;
    first.strategies.push(...more.strategies);
  }
  return first;
}

/** What a strategy is called: its coin and protocol, its id below. */
export function nameOf(row, href) {
  const [project, chain, ...rest] = row.strategy_id.split(":");
  const title = `${row.symbol ?? rest.join(":").toUpperCase()}`;
  return [h("a", { href }, title), h("span", { class: "sub" }, `${row.project ?? project} · ${row.chain ?? chain}`)];
}

function changeOf(row) {
  const known = (row.spark ?? []).filter(isNumber);
  return known.length > 1 ? known[known.length - 1] - known[0] : null;
}

function trendText(row) {
  const known = (row.spark ?? []).filter(isNumber);
  return known.length > 1 ? `from ${percent(known[0])} to ${percent(known[known.length - 1])}` : "not enough days";
}

/** An age, marked where it is high. */
export function ageMark(age) {
  const kind = !isNumber(age) ? "" : age > 7 ? "old" : age > 2 ? "aging" : "fresh";
  return h("span", { class: `age ${kind}` }, days(age));
}

// One strategy: history, what it will pay, how sure that is, what moved the forecast, what can go wrong.

import { get, post } from "../api.js";
import { chart } from "../charts.js";
import { fill, h } from "../dom.js";
import { days, isNumber, level as levelText, number, percent, points, shortDollars, words } from "../format.js";
import { signedBar } from "../marks.js";
import { chooser, figures, panel, remarks, segments, settle } from "../parts.js";
import { table } from "../table.js";
import { HORIZONS, LEVELS } from "./strategies.js";

const SPANS = [["90", "90 days"], ["365", "1 year"], ["5000", "All"]];
const VOLATILITY_DAYS = 30;
const FAN_DAYS = 30;

/** Show one strategy. */
export function strategy({ root, argument, options, signal, address }) {
  const chosen = { h: options.get("h") ?? "7", level: options.get("level") ?? "0.9", span: options.get("span") ?? "365" };
  const path = argument.split("/").map(encodeURIComponent).join("/");
  const remember = () => address("strategy", argument, {
    h: chosen.h === "7" ? "" : chosen.h, level: chosen.level === "0.9" ? "" : chosen.level, span: chosen.span === "365" ? "" : chosen.span,
  });
  const head = h("div", { class: "about" }), outlook = h("div"), past = h("div"), fan = h("div"), risk = h("div"), why = h("div");
  const choices = h("div", { class: "choices" },
    chooser("Days ahead", HORIZONS.map((n) => [n, days(n)]), chosen.h, (value) => { chosen.h = value; remember(); forecast(); }, { id: "horizon" }),
    chooser("Interval", LEVELS.map((l) => [l, levelText(l)]), chosen.level, (value) => { chosen.level = value; remember(); forecast(); }, { id: "level" }));
  fill(root, h("p", { class: "crumb" }, h("a", { href: "#/strategies" }, "Strategies"), " / "),
    h("div", { class: "title-row" }, h("h1", { tabindex: "-1" }, argument), choices), head,
    h("div", { class: "grid two" }, h("div", { class: "stack" }, panel("Forecast", outlook), panel("Further ahead", fan)), panel("What moved the forecast", why)),
    panel("History", segments("Span", SPANS, chosen.span, (value) => { chosen.span = value; remember(); history(); }), past),
    panel("What can go wrong", risk));

  settle(head, () => get(`/strategies/${path}`, signal), (row) => about(row));
  forecast();
  history();
  settle(fan, () => get(`/strategies/${path}/fan?horizon_days=${FAN_DAYS}`, signal), (answer) => fanCharts(answer, signal), "Forecasting 30 horizons …");
  settle(risk, () => post("/risk", { strategies: [argument], horizon_days: FAN_DAYS }, signal), riskFigures, "Drawing scenarios …");

  function forecast() {
    fill(why, h("p", { class: "loading" }, "Forecasting …"));
    settle(outlook, () => post("/predict", { strategies: [argument], horizon_days: Number(chosen.h), level: Number(chosen.level), explain: true }, signal), (answer) => {
      const found = Object.values(answer.predictions)[0];
      settle(why, () => Promise.resolve(found), (one) => (one.explanation ? explained(one) : h("p", { class: "muted" }, "No explanation was given.")));
      return [...inWords(found), remarks(answer.warnings ?? [], (answer.notes ?? []).filter((note) => !note.startsWith("SIMULATED")))];
    }, "Forecasting …").then(() => { if (outlook.querySelector(".notice.bad")) fill(why, h("p", { class: "muted" }, "Without a forecast there is nothing to explain.")); });
  }

  function history() {
    // The span counts back from the strategy's own last day, which the service knows and this page does not yet.
    settle(past, () => pastOf(path, Number(chosen.span), signal), (answer) => pastCharts(answer, signal));
  }
}

async function pastOf(path, span, signal) {
  const about = await get(`/strategies/${path}`, signal);
  const start = new Date(Date.parse(about.last_date) - (span - 1) * 86_400_000).toISOString().slice(0, 10);
  const from = start > about.first_date ? start : about.first_date;
  return get(`/strategies/${path}/history?${new URLSearchParams({ start: from, columns: "apy,tvl_usd,price", drawdown: "true" })}`, signal);
}

function about(row) {
  const facts = [words(row.category), row.project, row.chain, row.symbol].filter(Boolean).join(" · ");
  return [h("p", { class: "lead" }, facts, row.aliases?.length ? ` · also called ${row.aliases.join(", ")}` : ""),
    h("p", { class: "small muted" }, `${number(row.n_rows)} days of data, ${row.first_date} to ${row.last_date}.`)];
}

/** The forecast as figures and as a sentence. */
function inWords(found) {
  const { level, lower, upper } = found.confidence_interval;
  const change = found.apy - found.last_apy;
  const share = { 0.5: "one case of two", 0.8: "4 cases of 5", 0.9: "9 cases of 10", 0.95: "19 cases of 20" }[level] ?? `${levelText(level)} of cases`;
  return [
    figures([
      [`Next ${days(found.horizon_days)}`, percent(found.apy), "a year, forecast"],
      [`${levelText(level)} interval`, `${percent(lower)} to ${percent(upper)}`, "a year"],
      ["Now", percent(found.last_apy), `${points(change)} to the forecast`],
      ["Volatility", percent(found.volatility, 1), "of the rate, a year"],
    ]),
    h("p", { class: "words" }, `In ${share} a depositor of the next ${days(found.horizon_days)} earns between ${percent(lower)} and ${percent(upper)} a year; `,
      `the forecast of ${percent(found.apy)} is ${percent(Math.abs((1 + Math.max(found.apy, -0.999999)) ** (found.horizon_days / 365) - 1), 3)} of the deposit over that time.`),
    h("p", { class: "small muted" }, `From data up to ${found.as_of}.`, found.forecast_id ? ` Recorded as ${found.forecast_id}.` : ""),
  ];
}

/** What a forecast is made of, as a table of signed bars; the parts add up. */
function explained(found) {
  const { explanation: made } = found;
  const parts = [
    { label: "Today's rate, over that mean", value: made.today_over_ewma },
    { label: "What its category usually does", value: made.usual_drift },
    ...made.features.map((one) => ({ label: one.meaning.charAt(0).toUpperCase() + one.meaning.slice(1), value: one.apy, small: `${one.name} = ${number(one.value, 3)}` })),
    { label: "All other features together", value: made.other_features },
    { label: "Shape (its median) and the floor at zero", value: made.calibration },
  ];
  const largest = Math.max(...parts.map((part) => Math.abs(part.value)));
  const line = (label, value, bar, kind, small) => h("tr", { class: kind },
    h("th", { scope: "row" }, label, small && h("span", { class: "sub" }, small)), h("td", { class: "bar" }, bar), h("td", { class: "number" }, value));
  return [
    h("p", { class: "small muted" }, "Percentage points (pp) a year; left lowers, right raises the forecast. The lines add up to it."),
    h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "What moved the forecast, scrolls sideways" }, h("table", { class: "data moved compact" },
      h("caption", { class: "hidden" }, "What moved the forecast"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Part"), h("th", { scope: "col" }, h("span", { class: "hidden" }, "As a bar")), h("th", { scope: "col", class: "number" }, "Moves by"))),
      h("tbody", {}, line("Mean of recent rates (exponentially weighted)", percent(made.ewma), "", "total"),
        parts.map((part) => line(part.label, points(part.value), signedBar(part.value, largest), "", part.small)),
        line("Forecast", percent(found.apy), "", "total")))),
  ];
}

function pastCharts(answer, signal) {
  const { dates, columns } = answer;
  const apy = columns.apy, last = dates.length - 1;
  const rolling = rollingVolatility(apy);
  const line = (values, color, extra = {}) => ({ x: dates, y: values, mode: "lines", line: { color, width: 1.5 }, connectgaps: false, ...extra });
  const rate = (format = ".1%") => ({ tickformat: format, rangemode: "tozero" });
  const rows = (key, label, values, format) => () => table({ caption: label, compact: true, pageSize: 30, sort: "-date",
    rows: dates.map((date, index) => ({ date, value: values[index] })), columns: [{ key: "date", label: "Day (UTC)", text: (row) => row.date },
      { key: "value", label, numeric: true, text: (row) => format(row.value) }] }).element;
  const known = apy.filter(isNumber);
  const charts = [chart({
    title: "Rate", note: "Daily, a year; gaps are days without data.", signal, height: 260,
    summary: `Line chart of the daily rate from ${dates[0]} to ${dates[last]}: between ${percent(Math.min(...known))} and ${percent(Math.max(...known))}, last ${percent(known[known.length - 1])}.`,
    build: (c) => ({ data: [line(apy, c.line, { hovertemplate: "%{y:.2%}<extra></extra>" })], layout: { yaxis: rate(), showlegend: false } }),
    rows: rows("apy", "Rate a year", apy, percent),
  }), chart({
    title: "Volatility", note: `Of the daily rate over ${VOLATILITY_DAYS} days, annualised.`, signal, height: 220,
    summary: `Line chart of the volatility of the rate over ${VOLATILITY_DAYS} days.`,
    build: (c) => ({ data: [line(rolling, c.second, { hovertemplate: "%{y:.1%}<extra></extra>" })], layout: { yaxis: rate(".0%"), showlegend: false } }),
    rows: rows("volatility", "Volatility", rolling, (value) => percent(value, 1)),
  })];
  if (columns.drawdown?.some(isNumber)) {
    const fall = columns.drawdown.map((value) => (isNumber(value) ? -Math.abs(value) : null));
    charts.push(chart({
      title: "Drawdown", note: "How far the value of a position lies below its highest so far: accrual and price.", signal, height: 220,
      summary: `Area chart of the drawdown: at worst ${percent(Math.min(...fall.filter(isNumber)))}.`,
      build: (c) => ({ data: [line(fall, c.down, { fill: "tozeroy", fillcolor: c.veil("down", 0.14), hovertemplate: "%{y:.2%}<extra></extra>" })],
        layout: { yaxis: { tickformat: ".2~%", range: [Math.min(...fall.filter(isNumber), -0.0005) * 1.1, 0] }, showlegend: false } }),
      rows: rows("drawdown", "Drawdown", fall, percent),
    }));
  }
  if (columns.tvl_usd?.some(isNumber)) {
    charts.push(chart({
      title: "Value locked", note: "US dollars in the pool.", signal, height: 220, summary: "Line chart of the value locked in the pool.",
      build: (c) => ({ data: [line(columns.tvl_usd, c.muted, { hovertemplate: "$%{y:.3s}<extra></extra>" })], layout: { yaxis: { tickprefix: "$", tickformat: "~s", rangemode: "tozero" }, showlegend: false } }),
      rows: rows("tvl", "TVL", columns.tvl_usd, shortDollars),
    }));
  }
  return [charts[0], h("div", { class: "grid three" }, charts.slice(1))];
}

/** Annualised normal volatility of the rate, as the project defines it, over the days before. */
function rollingVolatility(apy) {
  const squares = apy.map((value, index) => (index > 0 && isNumber(value) && isNumber(apy[index - 1]) ? (value - apy[index - 1]) ** 2 : null));
  return squares.map((_, index) => {
    const window = squares.slice(Math.max(0, index - VOLATILITY_DAYS + 1), index + 1).filter(isNumber);
    return window.length >= VOLATILITY_DAYS / 2 ? Math.sqrt((365 * window.reduce((sum, value) => sum + value, 0)) / window.length) : null;
  });
}

/** Quantiles by horizon as bands, and the volatility that goes with them. */
function fanCharts(answer, signal) {
  const { horizons, levels, apy, volatility } = answer;
  const at = (index) => apy.map((row) => row[index]);
  const middle = levels.findIndex((level) => Math.abs(level - 0.5) < 1e-9);
  const pairs = levels.slice(0, middle).map((level, index) => [index, levels.length - 1 - index, 1 - 2 * level]);
  const name = (covered) => levelText(covered);
  const last = apy[apy.length - 1];
  const fan = chart({
    title: "Mean rate of the next days", note: "A year, by days ahead: the darker the band, the more likely. Each day's figure is the mean up to there, not the rate on that day.",
    signal, height: 300,
    summary: `Fan chart: for ${days(horizons[horizons.length - 1])} ahead the middle is ${percent(last[middle])}, ${name(pairs[0][2])} lie between ${percent(last[0])} and ${percent(last[last.length - 1])}.`,
    build: (c) => ({
      data: [...pairs.flatMap(([low, high, covered], index) => [
        { x: horizons, y: at(low), mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false },
        { x: horizons, y: at(high), mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: c.band(0.1 + 0.06 * index), name: name(covered), hoverinfo: "skip" },
      ]), { x: horizons, y: at(middle), mode: "lines", line: { color: c.line, width: 2 }, name: "middle", hovertemplate: "%{y:.2%}<extra>middle</extra>" }],
      layout: { yaxis: { tickformat: ".1%" }, xaxis: { title: { text: "days ahead" }, dtick: 5 } },
    }),
    rows: () => table({ caption: "Quantiles of the mean rate by days ahead", compact: true, sort: "h",
      rows: horizons.map((h_, index) => ({ h: h_, values: apy[index], volatility: volatility?.[index] })),
      columns: [{ key: "h", label: "Days ahead", text: (row) => String(row.h) }, ...levels.map((level, index) => ({ key: `q${index}`, label: levelText(level), numeric: true,
        sort: (row) => row.values[index], text: (row) => percent(row.values[index]) })), { key: "volatility", label: "Volatility", numeric: true, text: (row) => percent(row.volatility, 1) }] }).element,
  });
  return [fan, volatility && h("p", { class: "words" }, `Volatility of the rate: ${percent(volatility[0], 1)} a year for the next day, ${percent(volatility[volatility.length - 1], 1)} over ${days(horizons[horizons.length - 1])}.`)];
}

function riskFigures(answer) {
  const row = answer.rows[0];
  return [figures([
    ["CVaR 95 %", percent(row.cvar), `mean loss of the worst 5 %, over ${days(answer.horizon_days)}`],
    ["Loss beyond 1 %", percent(row.loss_probability), "probability"],
    ["Events", percent(row.expected_loss_a_year), "of the principal a year, on average"],
    ["Deepest fall", percent(row.expected_max_drawdown), `expected, over ${days(answer.horizon_days)}`],
    ["Fall beyond 5 %", percent(row.drawdown_probability), "probability"],
    ["Value", percent(row.nav_volatility, 1), "volatility of a position, a year"],
  ]), row.worst_event && h("p", { class: "words" }, `The event with the largest expected loss: ${row.worst_event}.`),
  h("p", { class: "small muted" }, `${number(answer.n_scenarios)} scenarios, loss events among them. A negative loss is a gain.`)];
}

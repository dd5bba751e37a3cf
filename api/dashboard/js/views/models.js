// Model versions: which one serves, what it was trained on, how good it was, how well its intervals hold.

import { get } from "../api.js";
import { chart } from "../charts.js";
import { fill, h } from "../dom.js";
import { days, isNumber, moment, number, percent, words } from "../format.js";
import { figures, panel, segments, settle } from "../parts.js";
import { table } from "../table.js";

const PROMISED = 0.9;
const FAR_OFF = 0.05;

/** Show all versions, or one. */
export function models({ root, argument, signal }) {
  const place = h("div", { class: "stack" });
  if (argument) {
    fill(root, h("p", { class: "crumb" }, h("a", { href: "#/models" }, "Models"), " / "), h("h1", { tabindex: "-1" }, argument), place);
    settle(place, () => get(`/models/${encodeURIComponent(argument)}`, signal), (answer) => detail(answer, signal));
  } else {
    fill(root, h("h1", { tabindex: "-1" }, "Models"),
      h("p", { class: "lead" }, "The versions there are, which one forecasts now, and whether what was promised came true."), place);
    settle(place, () => get("/models", signal), (answer) => overview(answer, signal));
  }
}

function overview({ models: versions, outcomes }, signal) {
  const served = versions.find((one) => one.is_served);
  return [
    panel("Versions", versionTable(versions)),
    panel("What became of forecasts", outcomeView(outcomes, signal)),
    served && panel(`Scores of ${served.version} in its training`, scoreView(served.scores)),
  ];
}

function marks(one) {
  return [one.is_served && h("span", { class: "state good" }, "serves now"), one.aliases.map((alias) => h("span", { class: "state plain" }, alias)),
    one.data?.simulated && h("span", { class: "state sim" }, "simulated data"), one.fault && h("span", { class: "state warn" }, "cannot be read")];
}

function versionTable(versions) {
  return table({
    caption: "Versions of the model", rows: versions, sort: "-version", empty: "There is no model.",
    columns: [
      { key: "version", label: "Version", class: "name", cell: (row) => [h("a", { href: `#/models/${encodeURIComponent(row.version)}` }, row.version), h("span", { class: "sub" }, row.model_version)] },
      { key: "is_served", label: "State", sort: (row) => (row.is_served ? 0 : 1) + row.aliases.join(), cell: (row) => h("span", { class: "marks" }, marks(row), row.fault && h("span", { class: "sub" }, row.fault)) },
      { key: "validation_score", label: "Validation loss", numeric: true, text: (row) => number(row.validation_score, 3), hint: "Loss on days that were held back; lower is better" },
      { key: "relative", label: "Error over naive", unit: "7 days", numeric: true, sort: (row) => row.scores?.["7"]?.all?.rel_mae, text: (row) => number(row.scores?.["7"]?.all?.rel_mae, 2), hint: "Mean absolute error over that of the last value; below 1 is skill" },
      { key: "last", label: "Learned until", sort: (row) => row.data?.last_date, text: (row) => row.data?.last_date ?? "–" },
      { key: "calibrated_to", label: "Calibrated until", text: (row) => row.calibrated_to ?? "–" },
      { key: "strategies", label: "Strategies", numeric: true, sort: (row) => row.data?.n_strategies, text: (row) => number(row.data?.n_strategies) },
      { key: "rows", label: "Days of data", numeric: true, sort: (row) => row.data?.n_rows, text: (row) => number(row.data?.n_rows) },
      { key: "n_networks", label: "Networks", numeric: true, text: (row) => number(row.n_networks) },
    ],
  }).element;
}

/** Coverage of the 90 % interval among outcomes that are known. */
function outcomeView(outcomes, signal) {
  if (outcomes === null) return h("p", { class: "notice warn" }, "The store of forecasts cannot be read; the service's log says why.");
  const known = outcomes.filter((row) => row.n_outcomes > 0);
  if (!known.length) {
    return h("div", {}, h("p", {}, "No recorded forecast has an outcome yet. Forecasts on real data are recorded as they are given out; their outcome is known a horizon later."),
      h("p", { class: "small muted" }, "Forecasts on simulated data are not recorded unless that is set."));
  }
  const windows = [...new Set(known.map((row) => row.window_days))].sort((a, b) => a - b);
  const place = h("div");
  const draw = (window) => fill(place, coverage(known.filter((row) => row.window_days === window), window, signal));
  draw(windows[windows.length - 1]);
  return [windows.length > 1 && segments("Window", windows.map((one) => [one, days(one)]), windows[windows.length - 1], draw), place];
}

function coverage(rows, window, signal) {
  const measured = rows.filter((row) => isNumber(row.coverage_90));
  return h("div", { class: "grid two" }, table({
    caption: `Outcomes of the last ${window} days by category`, rows, sort: "-n_outcomes", columns: [
      { key: "category", label: "Category", text: (row) => words(row.category) },
      { key: "n_outcomes", label: "Outcomes", numeric: true, text: (row) => number(row.n_outcomes) },
      { key: "coverage_90", label: "Inside 90 %", numeric: true, cell: (row) => covered(row.coverage_90) },
      { key: "rel_mae", label: "Error over naive", numeric: true, text: (row) => number(row.rel_mae, 2), hint: "Below 1 is better than the last value" },
      { key: "median_width", label: "Interval width", numeric: true, text: (row) => percent(row.median_width), hint: "Median width of the 90 % interval" },
    ],
  }).element, measured.length > 0 && coverageChart(measured, `of the last ${days(window)}`, signal));
}

function coverageChart(rows, of, signal) {
  return chart({
    title: "Share of outcomes inside the 90 % interval", note: `Outcomes ${of}. The line is what was promised.`, height: 70 + 30 * rows.length, signal,
    summary: rows.map((row) => `${words(row.category)} ${percent(row.coverage_90, 1)}`).join(", "),
    build: (c) => ({
      data: [{ type: "scatter", mode: "markers", y: rows.map((row) => words(row.category)), x: rows.map((row) => row.coverage_90), marker: { size: 13, color: rows.map((row) => (Math.abs(row.coverage_90 - PROMISED) > FAR_OFF ? c.down : c.line)) }, hovertemplate: "%{x:.1%}<extra></extra>" }],
      layout: { showlegend: false, hovermode: "closest", xaxis: { tickformat: ".0%", range: [Math.min(0.6, ...rows.map((row) => row.coverage_90 - 0.05)), 1.01] }, yaxis: { autorange: "reversed" },
        shapes: [{ type: "line", x0: PROMISED, x1: PROMISED, yref: "paper", y0: 0, y1: 1, line: { color: c.text, width: 1.5, dash: "dot" } }] },
    }),
  });
}

function covered(share) {
  return isNumber(share) ? h("span", { class: Math.abs(share - PROMISED) > FAR_OFF ? "state warn" : "" }, percent(share, 1)) : "–";
}

/** Scores by horizon and category. */
function scoreView(scores) {
  const horizons = Object.keys(scores ?? {}).sort((a, b) => a - b);
  if (!horizons.length) return h("p", { class: "muted" }, "This version kept none: it was trained by an earlier release. Its validation loss is in the table of versions.");
  const place = h("div"), first = horizons.includes("7") ? "7" : horizons[0];
  const draw = (horizon) => fill(place, table({
    caption: `Scores at ${horizon} days by category`, sort: "-n_strategies", rows: Object.entries(scores[horizon]).map(([category, row]) => ({ category, ...row })), columns: [
      { key: "category", label: "Category", text: (row) => words(row.category) },
      { key: "rel_mae", label: "Error over naive", numeric: true, text: (row) => number(row.rel_mae, 3), hint: "Mean absolute error over that of the last value; below 1 is skill" },
      { key: "rel_crps", label: "CRPS over naive", numeric: true, text: (row) => number(row.rel_crps, 3), hint: "Of the whole distribution; below 1 is skill" },
      { key: "coverage_90", label: "Inside 90 %", unit: "before calibration", numeric: true, text: (row) => percent(row.coverage_90, 1) },
      { key: "n_strategies", label: "Strategies", numeric: true, text: (row) => number(row.n_strategies) },
    ],
  }).element);
  draw(first);
  return [h("p", { class: "small muted" }, "On the newest days, which the networks scored here had not seen. Below 1 is better than the last value."),
    segments("Horizon", horizons.map((one) => [one, days(Number(one))]), first, draw), place];
}

function detail(one, signal) {
  const data = one.data ?? {};
  const curves = Object.entries(one.curves ?? {});
  return [
    panel("Version", h("p", { class: "marks" }, marks(one)), one.fault && h("p", { class: "notice warn" }, one.fault), figures([
      ["Validation loss", number(one.validation_score, 3), "lower is better"],
      ["Learned from", data.n_strategies ? `${number(data.n_strategies)} strategies` : "–", data.n_rows ? `${number(data.n_rows)} days, ${data.first_date} to ${data.last_date}` : ""],
      ["Calibrated until", one.calibrated_to ?? "–", isNumber(one.n_calibration_scores) ? `on ${number(one.n_calibration_scores)} past forecasts` : ""],
      ["Networks", number(one.n_networks), "their mean forecasts"],
      ["Release", one.project_version ?? "–", one.commit ? `code ${one.commit}` : ""],
    ]), h("p", { class: "small muted" }, one.sha256 ? ["File ", h("code", {}, one.sha256)] : "Served from no file.")),
    panel("Scores in training", scoreView(one.scores)),
    h("div", { class: "grid two" },
      panel("Training", facts({ ...one.split, ...one.plan })),
      curves.length ? panel("Learning", chart({
        title: "Loss by epoch", note: "Of each network; scouts find how long to train, finals serve.", signal, height: 320,
        summary: curves.map(([name, losses]) => `${name}: ${number(losses[0], 2)} to ${number(losses[losses.length - 1], 2)}`).join("; "),
        build: (c) => ({ data: curves.map(([name, losses]) => ({ name, y: losses, x: losses.map((_, index) => index + 1), mode: "lines+markers", marker: { size: 4 },
          line: { width: 1.5, color: name.includes("validation") ? c.down : name.startsWith("final") ? c.line : name.startsWith("volatility") ? c.second : c.muted, dash: name.includes("fold") ? "dot" : "solid" }, hovertemplate: `%{y:.3f}<extra>${name.replace(/[<>&]/g, "")}</extra>` })),
        layout: { hovermode: "closest", showlegend: false, xaxis: { title: { text: "epoch" }, dtick: 1 } } }),
        rows: () => table({ caption: "Loss by epoch", compact: true, rows: curves.map(([name, losses]) => ({ name, losses })), columns: [
          { key: "name", label: "Network", text: (row) => row.name },
          ...Array.from({ length: Math.max(...curves.map(([, losses]) => losses.length)) }, (_, index) => ({ key: `e${index}`, label: String(index + 1), numeric: true, plain: true, text: (row) => number(row.losses[index], 3) }))] }).element,
      })) : null),
    panel("History", one.changes?.length ? table({ caption: "How aliases came to it and left it", rows: one.changes, sort: "-at", columns: [
      { key: "at", label: "When", text: (row) => moment(row.at) }, { key: "action", label: "What", text: (row) => `${row.action} ${row.alias}` },
      { key: "move", label: "From and to", plain: true, text: (row) => `${row.before ?? "–"} → ${row.after ?? "–"}` },
      { key: "reason", label: "Why", class: "why", text: (row) => row.reason + (row.forced ? " (the gate was overruled)" : "") },
    ] }).element : h("p", { class: "muted" }, "No alias has named it yet.")),
  ];
}

function facts(values) {
  const entries = Object.entries(values ?? {}).filter(([, value]) => value !== null && typeof value !== "object");
  return entries.length ? h("dl", { class: "facts" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, words(name)), h("dd", {}, String(value)))))
    : h("p", { class: "muted" }, "Its file says nothing of its training.");
}

// The efficient frontier: what more safety costs, with what people do today beside it.

import { chart } from "../charts.js";
import { h } from "../dom.js";
import { dollars, percent } from "../format.js";
import { table } from "../table.js";

const SYMBOLS = ["diamond-open", "square-open", "triangle-up-open", "cross-open", "circle-open", "x-open"];

/** Draw a frontier; `onUse(risk_aversion)` takes a point over into the form. */
export function frontierView(answer, onUse, signal) {
  const { points, references, chosen } = answer;
  const dots = (rows, name, extra) => ({ x: rows.map((row) => row.cvar), y: rows.map((row) => row.net_apy), name, ...extra });
  const text = "CVaR %{x:.2%}<br>net APY %{y:.2%}";
  return [chart({
    title: "Net APY against risk", signal, height: 340,
    note: "Up is more income, left is less risk. Gas and least positions are left out of the curve. A negative CVaR is a gain even in the worst 5 %.",
    summary: `Efficient frontier of ${points.length} points: net APY from ${percent(Math.min(...points.map((p) => p.net_apy)))} to ${percent(Math.max(...points.map((p) => p.net_apy)))}, CVaR from ${percent(Math.min(...points.map((p) => p.cvar)))} to ${percent(Math.max(...points.map((p) => p.cvar)))}.`,
    onPoint: (point) => { if (point.curveNumber === 0) onUse(points[point.pointNumber].risk_aversion); },
    build: (c) => ({
      data: [
        dots(points, "frontier", { mode: "lines+markers", line: { color: c.line, width: 2 }, marker: { size: 8 }, customdata: points.map((p) => p.risk_aversion), hovertemplate: `aversion %{customdata}<br>${text}<extra></extra>` }),
        dots([chosen], "chosen", { mode: "markers", marker: { size: 14, symbol: "star", color: c.up, line: { color: c.surface, width: 1 } }, hovertemplate: `chosen<br>${text}<extra></extra>` }),
        ...references.map((one, index) => dots([one], one.name, { mode: "markers", cliponaxis: false, hovertemplate: `today: ${one.name}<br>${text}<extra></extra>`,
          marker: { size: 10, symbol: SYMBOLS[index % SYMBOLS.length], color: c.second, line: { width: 2 } } })),
      ],
      layout: { hovermode: "closest", xaxis: { tickformat: ".1~%", title: { text: "CVaR 95 % over the horizon, share of the capital" } }, yaxis: { tickformat: ".0~%", title: { text: "net APY" } } },
    }),
  }), pointsTable(answer, onUse)];
}

function pointsTable({ points, references, chosen }, onUse) {
  const rows = [{ ...chosen, name: "Chosen" }, ...points.map((point) => ({ ...point, name: `Aversion ${point.risk_aversion}` })), ...references.map((row) => ({ ...row, isReference: true }))];
  return table({
    caption: "Points of the frontier and what people do today", rows, compact: true,
    columns: [
      { key: "name", label: "Split", text: (row) => (row.isReference ? `Today: ${row.name}` : row.name) },
      { key: "net_apy", label: "Net APY", numeric: true, text: (row) => percent(row.net_apy) },
      { key: "income_usd", label: "Income", unit: "US$", numeric: true, text: (row) => dollars(row.income_usd) },
      { key: "cost_usd", label: "Costs", unit: "US$", numeric: true, text: (row) => dollars(row.cost_usd) },
      { key: "cvar", label: "CVaR 95 %", numeric: true, text: (row) => percent(row.cvar) },
      { key: "loss_probability", label: "Loss beyond 1 %", numeric: true, text: (row) => percent(row.loss_probability) },
      { key: "n", label: "Positions", numeric: true, sort: (row) => Object.keys(row.weights).length, text: (row) => String(Object.keys(row.weights).length) },
      { key: "use", label: "Take over", plain: true, cell: (row) => (row.risk_aversion === undefined ? "" : h("button", { type: "button", class: "link", "aria-label": `Use aversion ${row.risk_aversion}`, on: { click: () => onUse(row.risk_aversion) } }, "Use")) },
    ],
  }).element;
}

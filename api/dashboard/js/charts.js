// Charts by plotly, loaded only when the first one is shown; each has its numbers as a table beside it.

import { h, newId } from "./dom.js";

let loading = null;

/** plotly brings styles for maps, which are not drawn here; it leaves them out where this id is taken. */
const MAP_STYLES = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

/** Load plotly's script from this service, once. */
function plotly() {
  loading ??= new Promise((resolve, reject) => {
    if (!document.getElementById(MAP_STYLES)) document.head.append(h("meta", { id: MAP_STYLES }));
    const script = h("script", { src: "/static/plotly.min.js" });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => { loading = null; script.remove(); reject(new Error("plotly could not be loaded")); });
    document.head.append(script);
  });
  return loading;
}

/** Colours of the present theme. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    text: of("--text"), muted: of("--muted"), grid: of("--grid"), line: of("--accent"), second: of("--second"),
    up: of("--up"), down: of("--down"), surface: of("--surface"), band: (share) => withShare(of("--accent"), share),
    veil: (name, share) => withShare(of(`--${name}`), share),
  };
}

function withShare(hex, share) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
}

/**
 * Make a figure.
 * title, note (a line under it), summary (for a screen reader), build(colours) → {data, layout}, rows (the table, unless it stands beside), height, onPoint.
 */
export function chart({ title, note, summary, build, rows, height = 280, onPoint, signal }) {
  const id = newId("chart");
  const plot = h("div", { class: "plot", id, role: "img", "aria-label": summary ?? title, vars: { "--height": `${height}px` } },
    h("p", { class: "loading" }, "Drawing …"));
  const numbers = h("details", { class: "numbers" }, h("summary", {}, "Numbers as a table"));
  numbers.addEventListener("toggle", () => { if (numbers.open && numbers.childElementCount === 1) numbers.append(rows()); });
  const figure = h("figure", { class: "chart" },
    h("figcaption", {}, h("h3", {}, title), note && h("p", { class: "small muted" }, note)), plot, rows && numbers);
  const draw = () => drawn(plot, build, height, onPoint);
  draw();
  const redraw = () => { if (plot.isConnected) draw(); };
  document.addEventListener("aegis:theme", redraw, { signal });
  signal?.addEventListener("abort", () => window.Plotly?.purge(plot));
  figure.redraw = draw;
  return figure;
}

async function drawn(plot, build, height, onPoint) {
  let library;
  try { library = await plotly(); } catch {
    plot.replaceChildren(h("p", { class: "notice" }, "The chart cannot be drawn here; its numbers are in the table below."));
    return;
  }
  const colours = palette();
  const { data, layout } = build(colours);
  plot.querySelector(".loading")?.remove();
  await library.react(plot, data, merged(base(colours, height), layout), { displayModeBar: false, responsive: true, doubleClick: "reset" });
  if (onPoint && !plot.dataset.listens) {
    plot.dataset.listens = "1";
    plot.on("plotly_click", (event) => onPoint(event.points[0]));
  }
}

function base(colours, height) {
  const axis = {
    gridcolor: colours.grid, linecolor: colours.grid, zerolinecolor: colours.muted, zerolinewidth: 1, tickcolor: colours.grid,
    automargin: true, fixedrange: true, title: { font: { size: 12 }, standoff: 8 },
  };
  return {
    height, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.muted },
    margin: { l: 8, r: 12, t: 8, b: 8 }, xaxis: axis, yaxis: { ...axis },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 12 } },
    hovermode: "x unified", hoverlabel: { bgcolor: colours.surface, bordercolor: colours.grid, font: { color: colours.text, size: 12 } },
    dragmode: false,
  };
}

function merged(first, second) {
  const both = { ...first };
  for (const [name, value] of Object.entries(second ?? {})) {
    const isPlain = (one) => one !== null && typeof one === "object" && !Array.isArray(one);
    both[name] = isPlain(value) && isPlain(both[name]) ? merged(both[name], value) : value;
  }
  return both;
}

// Small marks inside tables: spark line, range bar, bars. The cell's text says the same in numbers.

import { s } from "./dom.js";
import { isNumber } from "./format.js";

/** A line of the last days; gaps stay gaps. */
export function spark(values, label, width = 96, height = 26) {
  const known = (values ?? []).filter(isNumber);
  const svg = s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  if (known.length < 2) return svg;
  const low = Math.min(...known), high = Math.max(...known);
  const span = high - low || Math.abs(high) || 1;
  const step = (width - 6) / Math.max(values.length - 1, 1);
  const place = (value, index) => [3 + index * step, high === low ? height / 2 : 3 + (height - 6) * (1 - (value - low) / span)];
  let path = "", open = false, last = null;
  values.forEach((value, index) => {
    if (!isNumber(value)) { open = false; return; }
    const [x, y] = place(value, index);
    path += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
    last = [x, y];
  });
  svg.append(s("path", { d: path }), s("circle", { cx: last[0].toFixed(1), cy: last[1].toFixed(1), r: 2.2 }));
  return svg;
}

/** An interval and its forecast on a scale that all rows share. */
export function range({ lower, upper, middle }, scale, width = 132, height = 16) {
  const svg = s("svg", { class: "range", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  if (!isNumber(lower) || !isNumber(upper)) return svg;
  const at = (value) => 2 + (width - 4) * Math.min(1, Math.max(0, scale(value)));
  const left = at(lower), right = Math.max(at(upper), left + 1.5), zero = at(0);
  svg.append(
    s("line", { class: "axis", x1: 2, x2: width - 2, y1: height / 2, y2: height / 2 }),
    s("line", { class: "zero", x1: zero, x2: zero, y1: 2, y2: height - 2 }),
    s("rect", { class: "band", x: left.toFixed(1), y: height / 2 - 3.5, width: (right - left).toFixed(1), height: 7, rx: 2 }),
  );
  if (isNumber(middle)) svg.append(s("rect", { class: "dot", x: (at(middle) - 1.25).toFixed(1), y: 2, width: 2.5, height: height - 4, rx: 1 }));
  return svg;
}

/** A scale for range bars: even near zero, logarithmic far out, so that 4 % and 400 % fit one column. */
export function intervalScale(rows) {
  const bend = 0.05;
  const curve = (value) => Math.asinh(value / bend);
  const lows = rows.map((row) => row.lower).filter(isNumber), highs = rows.map((row) => row.upper).filter(isNumber);
  const low = curve(Math.min(0, ...lows)), high = curve(Math.max(0.05, ...highs));
  return (value) => (curve(value) - low) / (high - low || 1);
}

/** A bar to the left or right of zero, for what moved a forecast or changed in an answer. */
export function signedBar(value, largest, width = 180, height = 14) {
  const half = width / 2;
  const length = largest > 0 && isNumber(value) ? Math.min(1, Math.abs(value) / largest) * (half - 2) : 0;
  return s("svg", { class: "signed", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    s("line", { class: "zero", x1: half, x2: half, y1: 0, y2: height }),
    s("rect", { class: value < 0 ? "down" : "up", x: (value < 0 ? half - length : half).toFixed(1), y: 2,
      width: Math.max(length, value ? 1 : 0).toFixed(1), height: height - 4, rx: 1.5 }));
}

/** A bar from zero on a scale up to `full`, with a mark where it must end. */
export function share(value, { allowed, full: most = 0, width = 70, height = 12 } = {}) {
  const full = Math.max(most, isNumber(allowed) ? allowed : 0, value, 1e-12);
  const svg = s("svg", { class: "share", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    s("rect", { class: "track", x: 0, y: 2, width, height: height - 4, rx: 2 }),
    s("rect", { class: "fillbar", x: 0, y: 2, width: (width * Math.max(0, value) / full).toFixed(1), height: height - 4, rx: 2 }));
  if (isNumber(allowed)) svg.append(s("rect", { class: "cap", x: (width * allowed / full - 2).toFixed(1), y: 0, width: 2, height }));
  return svg;
}

// A table that sorts by every column and pages; headers are buttons, aria-sort says which one rules.

import { fill, h, newId, say } from "./dom.js";
import { isNumber, number } from "./format.js";

/**
 * Make a table.
 * columns: {key, label, unit, numeric, text(row), cell(row), sort(row), hint, head, plain}; without `cell` the text is shown.
 * options: caption, columns, rows, sort ("-apy" falls), pageSize, onSort(sort), empty, compact, showCaption.
 */
export function table(options) {
  const { caption, columns, pageSize = 0, onSort, empty = "Nothing to show." } = options;
  let rows = options.rows ?? [], sort = options.sort ?? "", page = 0;
  const id = newId("table");
  const head = h("tr"), body = h("tbody");
  const element = h("table", { id, class: options.compact ? "data compact" : "data" },
    h("caption", { class: options.showCaption ? "" : "hidden" }, caption), h("thead", {}, head), body);
  const pager = h("div", { class: "pager" });
  const frame = h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `${caption}, scrolls sideways` }, element);
  const root = h("div", { class: "table" }, frame, pager);

  const key = () => sort.replace(/^-/, "");
  const falls = () => sort.startsWith("-");

  function header(column) {
    const isSorted = column.key === key();
    const label = [column.label, column.unit && h("span", { class: "unit" }, ` ${column.unit}`)];
    const properties = { scope: "col", class: column.numeric ? "number" : "", title: column.hint };
    if (column.plain) return h("th", properties, label);
    if (isSorted) properties["aria-sort"] = falls() ? "descending" : "ascending";
    const arrow = h("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (falls() ? "▼" : "▲") : "");
    return h("th", properties, h("button", { type: "button", "data-key": column.key, on: { click: () => turn(column) } },
      column.numeric ? [arrow, label] : [label, arrow]));
  }

  function turn(column) {
    const isSorted = column.key === key();
    const startsFalling = Boolean(column.numeric);
    sort = isSorted ? (falls() ? column.key : `-${column.key}`) : `${startsFalling ? "-" : ""}${column.key}`;
    page = 0;
    draw();
    head.querySelector(`button[data-key="${CSS.escape(column.key)}"]`)?.focus();
    say(`Sorted by ${column.label}, ${falls() ? "falling" : "rising"}.`);
    onSort?.(sort);
  }

  function ordered() {
    const column = columns.find((one) => one.key === key());
    if (!column) return rows;
    const value = column.sort ?? ((row) => row[column.key]);
    const sign = falls() ? -1 : 1;
    return rows.map((row, index) => ({ row, index, value: value(row) })).sort((a, b) => {
      const gone = Number(isMissing(a.value)) - Number(isMissing(b.value)); // what is not known comes last either way
      if (gone) return gone;
      return sign * compared(a.value, b.value) || a.index - b.index;
    }).map((entry) => entry.row);
  }

  function line(row) {
    return h("tr", { class: options.rowClass?.(row) ?? "" }, columns.map((column, index) => {
      const content = column.cell ? column.cell(row) : column.text(row);
      const properties = { class: column.numeric ? "number" : (column.class ?? "") };
      return index === 0 && column.head !== false ? h("th", { scope: "row", ...properties }, content) : h("td", properties, content);
    }));
  }

  function draw() {
    fill(head, columns.map(header));
    const all = ordered(), size = pageSize || all.length || 1;
    page = Math.min(page, Math.max(0, Math.ceil(all.length / size) - 1));
    const shown = all.slice(page * size, (page + 1) * size);
    fill(body, shown.length ? shown.map(line) : h("tr", {}, h("td", { class: "none", colspan: columns.length }, empty)));
    if (all.length > size) drawPager(all.length, size, shown.length);
    else fill(pager);
  }

  function drawPager(total, size, shown) {
    const first = page * size + 1;
    const step = (change, label, isOff) => h("button", {
      type: "button", class: "plain", "aria-controls": id, disabled: isOff, on: { click: () => {
        page += change;
        draw();
        frame.scrollTop = 0;
        say(`Rows ${page * size + 1} to ${Math.min(total, (page + 1) * size)} of ${total}.`);
        const wanted = pager.querySelectorAll("button")[change < 0 ? 0 : 1];
        (wanted.disabled ? pager.querySelector("button:enabled") : wanted)?.focus();
      } },
    }, label);
    fill(pager, step(-1, "Previous", page === 0),
      h("span", {}, `${number(first)}–${number(first + shown - 1)} of ${number(total)}`),
      step(1, "Next", first + shown > total));
  }

  draw();
  return {
    element: root,
    /** Show other rows; the order stays. */
    show(others) { rows = others; page = 0; draw(); },
  };
}

const isMissing = (value) => value === null || value === undefined || value === "" || (typeof value === "number" && !isNumber(value));

function compared(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

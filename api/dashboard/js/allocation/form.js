// The form of an allocation: capital, positions, candidates, limits, risk.

import { fill, h, newId, say } from "../dom.js";
import { days, dollars } from "../format.js";
import { chooser } from "../parts.js";
import { AVERSIONS, fresh, GOALS, GROUPS, labelOf } from "./fields.js";

/** Build the form over a state that it keeps up to date; submit calls back. */
export function allocationForm({ state, names, onSubmit, onReset }) {
  const list = newId("names");
  const options = h("datalist", { id: list }, names.map((name) => h("option", { value: name })));
  const submit = h("button", { type: "submit", class: "main" }, "Optimise");
  const form = h("form", { class: "workbench", novalidate: true, "aria-label": "Allocation", on: { submit: (event) => {
    event.preventDefault();
    clearFaults();
    const wrong = [...form.querySelectorAll("input")].filter((input) => !input.validity.valid);
    wrong.forEach((input) => fault(input, input.validationMessage));
    if (wrong.length) { wrong[0].closest("details")?.setAttribute("open", ""); wrong[0].focus(); return; }
    onSubmit();
  } } });
  fill(form, options,
    h("fieldset", {}, h("legend", {}, "Capital"),
      numberField("capital_usd", "Capital", "$", state.capital_usd, (value) => { state.capital_usd = value; }, { required: true, min: 1, hint: "Present positions included" }),
      chooser("Days ahead", [7, 14, 30].map((n) => [n, days(n)]), state.horizon_days, (value) => { state.horizon_days = Number(value); }, { name: "horizon_days" }),
      numberField("risk_free", "Idle cash earns", "%", state.risk_free, (value) => { state.risk_free = value ?? 0; }, { min: -49, max: 99 })),
    positions(state, list),
    h("fieldset", {}, h("legend", {}, "Goal and risk"),
      chooser("Goal", GOALS, state.goal, (value) => { state.goal = value; }, { name: "goal" }), riskSlider(state)),
    candidates(state, list),
    GROUPS.map(([title, fields], index) => h("details", { class: "limits", open: index === 0 }, h("summary", {}, title),
      h("div", { class: "fields" }, fields.map(([name, label, unit, , hint]) => numberField(name, label, unit, state.limits[name],
        (value) => { state.limits[name] = value; }, { min: unit === "" ? 1 : 0, max: limitMost(name, unit), hint }))))),
    h("div", { class: "row actions" }, submit, h("button", { type: "button", class: "plain", on: { click: () => { Object.assign(state, fresh()); onReset(); } } }, "Start over")));

  function clearFaults() {
    form.querySelectorAll("[aria-invalid]").forEach((input) => { input.removeAttribute("aria-invalid"); });
    form.querySelectorAll(".fault").forEach((note) => { note.textContent = ""; });
  }

  function fault(input, text) {
    input.setAttribute("aria-invalid", "true");
    const note = input.closest(".field")?.querySelector(".fault");
    if (note) note.textContent = text;
  }

  return {
    element: form,
    /** Show the service's complaints at their fields. */
    faults(errors) {
      clearFaults();
      for (const error of errors) {
        const input = form.querySelector(`[name="${CSS.escape(String(error.field).split(".")[0])}"]`);
        if (input) { fault(input, error.problem); input.closest("details")?.setAttribute("open", ""); }
      }
      form.querySelector("[aria-invalid]")?.focus();
    },
    /** While an answer is awaited. */
    busy(isBusy) { submit.disabled = isBusy; submit.textContent = isBusy ? "Working …" : "Optimise"; },
  };
}

function limitMost(name, unit) {
  if (unit !== "%") return undefined;
  return ["max_cvar", "max_drawdown", "max_turnover"].includes(name) ? 200 : 100;
}

function numberField(name, label, unit, value, keep, { required, min, max, hint } = {}) {
  const id = newId("field"), note = `${id}-note`, hintId = `${id}-hint`;
  const described = hint ? `${hintId} ${note}` : note;
  const input = unit === "$" ? moneyInput({ id, name, min, required, value, "aria-describedby": described }, keep)
    : h("input", { id, name, type: "number", inputmode: "decimal", step: "any", min, max, required, value: value ?? "",
      "aria-describedby": described, on: { input: () => keep(input.value === "" ? null : Number(input.value)) } });
  return h("div", { class: "field" }, h("label", { for: id }, label, unit && h("span", { class: "unit" }, ` (${unit})`)), input,
    hint && h("p", { class: "hint", id: hintId }, hint), h("p", { class: "fault", id: note }));
}

/** An amount of dollars, written with commas; "1.5m" and "250k" are understood. */
function moneyInput({ min = 0, value, ...properties }, keep) {
  const shown = (amount) => (amount === null || amount === undefined ? "" : new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 }).format(amount));
  const input = h("input", { ...properties, type: "text", class: "money", inputmode: "decimal", autocomplete: "off", value: shown(value), on: {
    input: () => {
      const amount = amountOf(input.value);
      input.setCustomValidity(Number.isNaN(amount) ? "Write dollars as a number, such as 250,000 or 1.5m." : amount !== null && amount < min ? `At least ${dollars(min)}.` : "");
      if (!Number.isNaN(amount)) keep(amount);
    },
    change: () => { const amount = amountOf(input.value); if (!Number.isNaN(amount)) input.value = shown(amount); },
  } });
  return input;
}

/** "1.5m" → 1500000; null where nothing is written, NaN where it is no amount. */
export function amountOf(text) {
  const found = /^\$?\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmb]?)$/i.exec(text.replace(/[,_\s]/g, ""));
  if (text.trim() === "") return null;
  return found ? Number(found[1]) * { "": 1, k: 1e3, m: 1e6, b: 1e9 }[found[2].toLowerCase()] : Number.NaN;
}

function riskSlider(state) {
  const id = newId("risk");
  const stops = [...new Set([...AVERSIONS, state.risk_aversion])].sort((a, b) => a - b);
  const tell = (value) => (value === 0 ? "Income alone counts" : `${dollars(value, value < 0.01 ? 3 : 2)} of income given up to lose $1 less in bad cases`);
  const text = h("output", { for: id, class: "hint" }, tell(state.risk_aversion));
  const slider = h("input", { id, type: "range", name: "risk_aversion", min: 0, max: stops.length - 1, step: 1, value: stops.indexOf(state.risk_aversion),
    "aria-valuetext": tell(state.risk_aversion), on: { input: () => {
      state.risk_aversion = stops[Number(slider.value)];
      text.textContent = tell(state.risk_aversion);
      slider.setAttribute("aria-valuetext", tell(state.risk_aversion));
    } } });
  return h("div", { class: "field wide" }, h("label", { for: id }, "Aversion to risk"), slider,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, "more income"), h("span", {}, "more safety")), text, h("p", { class: "fault" }));
}

/** Strategies added one by one; `amounts` adds dollars to each. */
function picker({ label, list, entries, amounts, name, onChange }) {
  const id = newId("pick"), shown = h("ul", { class: "picked" });
  const input = h("input", { id, list, name, autocomplete: "off", spellcheck: "false", placeholder: "Alias or id" });
  let dollarsIn = null;
  const usd = amounts && moneyInput({ "aria-label": "US dollars in it", placeholder: "US$" }, (amount) => { dollarsIn = amount; });
  const nameOf = (entry) => (amounts ? entry[0] : entry);
  const add = () => {
    const value = input.value.trim();
    if (!value || (amounts && (dollarsIn === null || !usd.validity.valid))) { (value ? usd : input).focus(); return; }
    const at = entries.findIndex((entry) => nameOf(entry) === value);
    if (at >= 0) entries.splice(at, 1);
    entries.push(amounts ? [value, dollarsIn] : value);
    input.value = "";
    if (usd) usd.value = "";
    dollarsIn = null;
    draw();
    say(`${value} added.`);
    input.focus();
    onChange?.();
  };
  const onEnter = (event) => { if (event.key === "Enter") { event.preventDefault(); add(); } };
  input.addEventListener("keydown", onEnter);
  usd?.addEventListener("keydown", onEnter);
  function draw() {
    fill(shown, entries.map((entry, index) => h("li", {}, h("span", {}, nameOf(entry)), amounts && h("span", { class: "number" }, dollars(entry[1])),
      h("button", { type: "button", class: "link", "aria-label": `Remove ${nameOf(entry)}`, on: { click: () => { entries.splice(index, 1); draw(); say(`${nameOf(entry)} removed.`); input.focus(); onChange?.(); } } }, "Remove"))));
    shown.hidden = !entries.length;
  }
  draw();
  return h("div", { class: "field wide" }, h("label", { for: id }, label), h("div", { class: "row tight" }, input, usd, h("button", { type: "button", class: "plain", on: { click: add } }, "Add")),
    h("p", { class: "fault" }), shown);
}

function positions(state, list) {
  return h("fieldset", {}, h("legend", {}, "Present positions"),
    picker({ label: "What is held now", list, entries: state.current, amounts: true, name: "current" }),
    h("p", { class: "hint" }, "Moving out of them costs; leave empty if all is cash."));
}

function candidates(state, list) {
  const chosen = h("div", {}, picker({ label: "Candidates", list, entries: state.strategies, name: "strategies" }));
  const show = () => { chosen.hidden = state.all; };
  const id = newId("mode");
  const radio = (value, text) => h("label", { class: "choice" }, h("input", { type: "radio", name: id, checked: state.all === value, on: { change: () => { state.all = value; show(); } } }), text);
  show();
  return h("fieldset", {}, h("legend", {}, "Candidates"), h("div", { class: "row" }, radio(true, "All with a forecast"), radio(false, "Only these")), chosen,
    picker({ label: labelOf("never"), list, entries: state.never, name: "never" }));
}

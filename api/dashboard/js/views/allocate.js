// The allocation workbench: ask, see the answer, change something, compare.

import { answerView } from "../allocation/answer.js";
import { comparison } from "../allocation/compare.js";
import { fresh, FIELDS, limitName, relaxed, spoken, toRequest } from "../allocation/fields.js";
import { allocationForm } from "../allocation/form.js";
import { frontierView } from "../allocation/frontier.js";
import { get, post } from "../api.js";
import { append, fill, h, say } from "../dom.js";
import { percent } from "../format.js";
import { chooser, panel, problemBox, settle } from "../parts.js";

const KEPT_ANSWERS = 8;

/** Kept while the page is open, so that a look at a strategy loses nothing. */
const memory = { state: fresh(), answers: [], count: 0, names: [] };

/** Show the workbench. */
export function allocate({ root, signal }) {
  const formPlace = h("div", { class: "form-place" }), result = h("div", { class: "result", "aria-live": "off" });
  fill(root, h("h1", { tabindex: "-1" }, "Allocation"),
    h("p", { class: "lead" }, "How to split a capital: expected net income less risk, after your own deposit's effect on each rate, under your limits."),
    h("div", { class: "bench" }, formPlace, result));
  let form = null, running = null;

  function drawForm() {
    const hadFocus = formPlace.contains(document.activeElement);
    form = allocationForm({ state: memory.state, names: memory.names, onSubmit: ask, onReset: () => { drawForm(); say("The form is as at the start."); } });
    fill(formPlace, form.element);
    if (hadFocus) form.element.querySelector("button[type=submit]").focus();
  }

  async function ask() {
    running?.abort();
    running = new AbortController();
    const stop = running, request = toRequest(memory.state);
    signal.addEventListener("abort", () => stop.abort());
    form.busy(true);
    fill(result, progress(() => stop.abort()));
    try {
      const answer = await post("/optimize", request, stop.signal);
      memory.count += 1;
      memory.answers = [...memory.answers, { number: memory.count, request, answer }].slice(-KEPT_ANSWERS);
      show();
      say(`Answer ${memory.count}: net APY ${percent(answer.outcome.net_apy)}, ${Object.keys(answer.weights).length} positions.`);
    } catch (error) {
      if (signal.aborted) return;
      if (error.name === "AbortError") fill(result, empty("Stopped."));
      else if (error.problem?.conflict) fill(result, conflict(error, request));
      else { fill(result, problemBox(error)); form.faults(error.errors ?? []); }
    } finally {
      form.busy(false);
      // One above the other, on a phone, the answer would come unseen.
      if (!signal.aborted && result.getBoundingClientRect().top > window.innerHeight * 0.8) result.scrollIntoView({ block: "start" });
    }
  }

  /** Limits that cannot all be met: which ones, and what would do. */
  function conflict(error, request) {
    const { conflict: names, relaxation } = error.problem;
    const after = toRequest(relaxed(memory.state, relaxation));
    const steps = relaxation.filter(({ field }) => FIELDS.has(field));
    const box = h("div", { class: "notice bad", role: "alert" }, h("p", { class: "notice-title" }, "These limits cannot all be met"),
      h("ul", {}, names.map((name) => h("li", {}, limitName(name)))));
    if (steps.length) append(box, [
      h("p", {}, "It would be enough to change:"),
      h("ul", {}, steps.map(({ field }) => h("li", {}, h("strong", {}, FIELDS.get(field).label), ` from ${spoken(field, request[field])} to ${spoken(field, after[field])}`))),
      h("button", { type: "button", on: { click: () => { memory.state = relaxed(memory.state, relaxation); drawForm(); ask(); } } }, "Change that and optimise"),
    ]);
    else append(box, [h("p", {}, error.message)]);
    return box;
  }

  function show() {
    const last = memory.answers[memory.answers.length - 1];
    if (!last) { fill(result, empty("Set capital and limits, then optimise.")); return; }
    fill(result, answerView(last.answer));
    const earlier = memory.answers.slice(0, -1).reverse();
    if (earlier.length) result.children[0].after(whatIf(earlier, last));
    append(result, [frontier(last)]);
  }

  function whatIf(earlier, last) {
    const place = h("div");
    const draw = (number) => fill(place, comparison(earlier.find((entry) => entry.number === Number(number)), last));
    draw(earlier[0].number);
    return panel("Compared with an earlier answer", chooser("Answer", earlier.map((entry) => [entry.number, `${entry.number}: net APY ${percent(entry.answer.outcome.net_apy)}`]), earlier[0].number, draw), place);
  }

  function frontier(last) {
    const place = h("div", {}, h("p", { class: "muted" }, "The same question for a range of aversions to risk. This takes longer than one answer."));
    const draw = h("button", { type: "button", class: "plain", on: { click: () => settle(place, () => post("/frontier", last.request, signal), (answer) => frontierView(answer, use, signal), "Solving for each aversion …") } }, "Draw the frontier");
    append(place, [draw]);
    return panel("Efficient frontier", place);
  }

  function use(aversion) {
    memory.state.risk_aversion = aversion;
    memory.state.goal = "mean-cvar";
    drawForm();
    say(`Aversion to risk is now ${aversion}. Optimise to see what that does.`);
    const slider = form.element.querySelector("[name=risk_aversion]");
    slider.scrollIntoView({ block: "center" });
    slider.focus();
  }

  drawForm();
  show();
  if (!memory.names.length) {
    get("/strategies?limit=1000", signal).then((answer) => {
      memory.names = answer.strategies.flatMap((row) => [...(row.aliases ?? []), row.strategy_id]).sort();
      form.element.querySelector("datalist").replaceChildren(...memory.names.map((name) => h("option", { value: name })));
    }).catch(() => { /* names can still be typed; the answer says what is wrong with them */ });
  }
}

function empty(text) {
  return h("div", { class: "empty" }, h("p", {}, text));
}

/** How long it has been thinking, and a way to stop. */
function progress(stop) {
  const began = Date.now(), seconds = h("span", {}, "0 s");
  const box = h("div", { class: "empty", role: "status" }, h("p", { class: "loading" }, "Weighing forecasts, scenarios and costs … ", h("span", { "aria-hidden": "true" }, seconds)),
    h("button", { type: "button", class: "plain", on: { click: stop } }, "Stop"));
  const timer = window.setInterval(() => {
    if (!box.isConnected) { window.clearInterval(timer); return; }
    seconds.textContent = `${Math.round((Date.now() - began) / 1000)} s`;
  }, 1000);
  return box;
}

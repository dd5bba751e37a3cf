// Pieces that several views share: problems, panels, key figures, choosers.

import { append, h, newId } from "./dom.js";

/** Show what went wrong in the service's own words, and what can be done about it. */
export function problemBox(error, retry) {
  const what = { 0: "The service does not answer", 401: "An API key is needed", 403: "This key may not do that",
    404: "Not found", 422: "The service cannot do that", 429: "Too busy", 503: "The service is not ready" };
  const box = h("div", { class: "notice bad", role: "alert" },
    h("p", { class: "notice-title" }, what[error.status] ?? error.title ?? "Something went wrong"), h("p", {}, error.message));
  if (error.status === 429) append(box, [h("p", {}, `Try again in ${Math.max(1, Math.ceil(error.retryAfter || 1))} s.`)]);
  if (error.problem?.request_id) append(box, [h("p", { class: "small muted" }, `Request ${error.problem.request_id}, for the service's log.`)]);
  if (retry && (error.status === undefined || [0, 401, 403, 408, 429].includes(error.status) || error.status >= 500)) append(box, [h("button", { type: "button", class: "plain", on: { click: retry } }, "Try again")]);
  return box;
}

/** A titled part of a page. */
export function panel(title, ...content) {
  const id = newId("panel");
  return h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), content);
}

/** The figures that matter most: [label, value, small print]. */
export function figures(entries) {
  return h("dl", { class: "figures" }, entries.filter(Boolean).map(([label, value, small]) =>
    h("div", {}, h("dt", {}, label), h("dd", {}, value, small && h("small", {}, small)))));
}

/** A labelled select. */
export function chooser(label, options, chosen, onChange, properties = {}) {
  const id = properties.id ?? newId("choose");
  const select = h("select", { ...properties, id, on: { change: () => onChange(select.value) } }, options.map(([value, text]) =>
    h("option", { value, selected: String(value) === String(chosen) }, text)));
  return h("div", { class: "field" }, h("label", { for: id }, label), select);
}

/** A few choices of which one is pressed. */
export function segments(label, options, chosen, onChange) {
  const group = h("div", { class: "segments", role: "group", "aria-label": label });
  for (const [value, text] of options) {
    append(group, [h("button", { type: "button", "aria-pressed": String(value === chosen), on: { click: (event) => {
      for (const other of group.children) other.setAttribute("aria-pressed", "false");
      event.currentTarget.setAttribute("aria-pressed", "true");
      onChange(value);
    } } }, text)]);
  }
  return group;
}

/** A placeholder while something is asked for. */
export function waiting(text = "Loading …") {
  return h("p", { class: "loading", role: "status" }, text);
}

/** Show what a promise gives, a placeholder before and the problem if it fails. */
export async function settle(place, asked, show, text) {
  place.replaceChildren(waiting(text));
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await asked();
    place.replaceChildren(...[show(answer)].flat(Infinity).filter(Boolean));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === undefined) console.error(error);
    place.replaceChildren(problemBox(error, () => settle(place, asked, show, text)));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** Notes and warnings of an answer. */
export function remarks(...lists) {
  const lines = lists.flat().filter(Boolean);
  return lines.length ? h("ul", { class: "remarks" }, lines.map((line) => h("li", {}, line))) : null;
}

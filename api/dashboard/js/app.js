// The page: which view the address names, colours, the banner of simulated data, what is served.

import { get, installKeyDialog } from "./api.js";
import { fill, h } from "./dom.js";
import { days, moment } from "./format.js";
import { problemBox } from "./parts.js";
import { allocate } from "./views/allocate.js";
import { health } from "./views/health.js";
import { models } from "./views/models.js";
import { strategies } from "./views/strategies.js";
import { strategy } from "./views/strategy.js";

const VIEWS = { strategies, strategy, allocate, models, health };
const NAV = { strategy: "strategies" };
const LOOK_AGAIN_MS = 30_000;

let current = new AbortController();
let isFirst = true;
let drawnFrom = null; // what was served when the view was drawn

/** "#/strategy/aave?h=30" → view, argument, options. */
function place() {
  const [path, query] = location.hash.replace(/^#\//, "").split("?");
  const [view, ...rest] = path.split("/");
  let argument = rest.join("/");
  try { argument = decodeURIComponent(argument); } catch { /* then as it is written */ }
  return { view: view || "strategies", argument, options: new URLSearchParams(query ?? "") };
}

async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  current.abort();
  current = new AbortController();
  const { view, argument, options } = place();
  const main = document.getElementById("main");
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === (NAV[view] ?? view)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  drawnFrom = null;
  const root = h("div", { class: `view view-${view in VIEWS ? view : "none"}` });
  fill(main, root);
  window.scrollTo(0, 0);
  try {
    if (!(view in VIEWS)) throw Object.assign(new Error(`There is no view "${view}" here.`), { status: 404 });
    VIEWS[view]({ root, argument, options, signal: current.signal, address });
  } catch (error) {
    fill(root, h("h1", { tabindex: "-1" }, "Not here"), problemBox(error), h("p", {}, h("a", { href: "#/strategies" }, "All strategies")));
  }
  const title = root.querySelector("h1");
  document.title = `${title?.textContent ?? "Aegis Yield"} – Aegis Yield`;
  if (!isFirst) title?.focus({ preventScroll: true });
  isFirst = false;
}

/** Write a view's choices into the address, without showing it anew. */
function address(view, argument, options) {
  const kept = new URLSearchParams([...Object.entries(options)].filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const query = kept.toString();
  history.replaceState(null, "", `#/${view}${argument ? `/${encodeURIComponent(argument)}` : ""}${query ? `?${query}` : ""}`);
}

function installTheme() {
  const chooser = document.getElementById("theme");
  chooser.value = document.documentElement.dataset.theme ?? "system";
  const tell = () => document.dispatchEvent(new CustomEvent("aegis:theme"));
  chooser.addEventListener("change", () => {
    if (chooser.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chooser.value;
    try { localStorage.setItem("aegis.theme", chooser.value); } catch { /* then for this visit only */ }
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
}

/** Ask what is served: banner, footer, and warnings that concern every view. */
async function look() {
  const alerts = document.getElementById("alerts"), banner = document.getElementById("banner");
  try {
    const ready = await get("/health/ready");
    banner.hidden = !ready.simulated;
    if (ready.simulated && !banner.childElementCount) {
      fill(banner, h("p", {}, h("strong", {}, "Simulated data."), " These numbers say nothing about real strategies: do not invest by them."));
    }
    const age = ready.simulated ? "" : `, data of ${ready.last_date} (${days(ready.data_age_days)} old)`;
    document.getElementById("served").textContent =
      `Model ${ready.model_version}${age}${ready.loaded_at ? `, loaded ${moment(ready.loaded_at)}` : ""}. Days are UTC.`;
    const served = `${ready.model_version} ${ready.last_date} ${ready.loaded_at}`;
    drawnFrom ??= served;
    const isNewer = drawnFrom !== served;
    const shown = [...(ready.warnings ?? []), isNewer].join("\n");
    if (alerts.dataset.shown !== shown) {
      alerts.dataset.shown = shown;
      fill(alerts, (ready.warnings ?? []).map((line) => h("p", { class: "notice warn" }, line)), isNewer && newer());
    }
  } catch (error) {
    if (alerts.dataset.shown === error.message) return;
    alerts.dataset.shown = error.message;
    fill(alerts, h("p", { class: "notice bad" }, error.message));
  }
}

/** Numbers never change under a reader's eyes: newer ones are offered. */
function newer() {
  return h("p", { class: "notice" }, "The service has newer data or another model. ",
    h("button", { type: "button", class: "link", on: { click: () => { show(); look(); } } }, "Show it"));
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
installTheme();
installKeyDialog(show);
window.addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
window.setInterval(() => { if (!document.hidden) look(); }, LOOK_AGAIN_MS);
show();
look();

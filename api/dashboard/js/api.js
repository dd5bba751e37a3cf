// The service: JSON in and out, problem documents as errors, the key asked for when it is needed.

import { say } from "./dom.js";

const STORE = "aegis.key";
let key = readKey();

function readKey() {
  try { return sessionStorage.getItem(STORE) ?? ""; } catch { return ""; }
}

function keep(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(STORE, value);
    else sessionStorage.removeItem(STORE);
  } catch { /* then it is kept in memory only */ }
  document.getElementById("forget").hidden = !value;
}

/** What went wrong, as the service said it. */
export class ApiError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.title = problem.title ?? "";
    this.problem = problem;
    this.retryAfter = retryAfter;
    this.errors = Array.isArray(problem.errors) ? problem.errors : [];
  }
}

/** Ask for JSON. */
export async function get(path, signal) {
  return asked(path, { method: "GET", signal });
}

/** Send JSON, receive JSON. */
export async function post(path, body, signal) {
  return asked(path, {
    method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });
}

async function asked(path, options) {
  for (;;) {
    const used = key;
    const answer = await sent(path, options);
    if (answer.status !== 401) return read(answer);
    await answer.arrayBuffer().catch(() => null); // an answer that nobody reads keeps its connection busy
    // Another request may have been given a key meanwhile: try that one before asking a person.
    if (used === key && !(await askForKey(Boolean(used)))) {
      throw new ApiError(401, { title: "No key", detail: "This service answers only with an API key." });
    }
  }
}

async function sent(path, options) {
  const headers = { Accept: "application/json", ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  try {
    return await fetch(path, { ...options, headers, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { title: "No answer", detail: "The service does not answer. It may be starting or stopped." });
  }
}

async function read(answer) {
  let content = null;
  try { content = await answer.json(); } catch (error) {
    if (error.name === "AbortError") throw error;
    if (answer.ok) throw new ApiError(answer.status, { title: "Broken answer", detail: "The answer ended too early." });
  }
  if (answer.ok) return content;
  const retry = Number(answer.headers.get("Retry-After"));
  throw new ApiError(answer.status, content ?? { title: answer.statusText }, Number.isFinite(retry) ? retry : 0);
}

let asking = null;

/** Ask a person for the key; all requests that wait share one dialog. Resolves to whether there is one now. */
function askForKey(isRefused) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const input = document.getElementById("key-value");
    document.getElementById("key-reason").textContent = isRefused
      ? "The service does not accept this key. It may be mistyped, ended or revoked."
      : "This service answers only with an API key. Whoever runs it can make one for you (aegis keys create).";
    input.value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "given" ? input.value.trim() : "";
      input.value = "";
      if (given) keep(given);
      asking = null;
      resolve(Boolean(given));
    }, { once: true });
    dialog.showModal();
    input.focus();
  });
  return asking;
}

/** Connect the dialog and the button that forgets the key. */
export function installKeyDialog(onForget) {
  const dialog = document.getElementById("key");
  document.getElementById("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close("given");
  });
  document.getElementById("key-cancel").addEventListener("click", () => dialog.close(""));
  const forget = document.getElementById("forget");
  forget.hidden = !key;
  forget.addEventListener("click", () => {
    keep("");
    say("The API key is forgotten.");
    onForget();
  });
}

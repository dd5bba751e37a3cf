// Elements from data: text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. Properties: class, on (listeners), vars (CSS variables), anything else an attribute. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** Make an SVG element. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "vars") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Append nodes and texts; lists are flattened, what is absent is left out. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Put children in place of what is there. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** Tell a screen reader, once. */
export function say(text) {
  const live = document.getElementById("live");
  live.textContent = "";
  window.setTimeout(() => { live.textContent = text; }, 50);
}

let serial = 0;
/** Return an id that nothing else has. */
export function newId(prefix) {
  serial += 1;
  return `${prefix}-${serial}`;
}

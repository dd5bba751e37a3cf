// Numbers for people: percent, dollars, days, always with their unit.

const NONE = "–";
const BREAK = "\u202f"; // a narrow space that does not break
const MINUS = "\u2212";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const fixed = (value, digits) =>
  new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
const withSign = (text) => text.replace("-", MINUS);

/** 0.0523 → "5.23 %"; above 100 % fewer places, so that columns stay readable. */
export function percent(fraction, digits) {
  if (!isNumber(fraction)) return NONE;
  const value = fraction * 100;
  const places = digits ?? (Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : 2);
  const text = fixed(value, places);
  return `${withSign(Number(text.replaceAll(",", "")) === 0 ? text.replace("-", "") : text)}${BREAK}%`;
}

/** 0.0031 → "+0.31 pp": a difference between percentages. */
export function points(fraction, digits = 2) {
  if (!isNumber(fraction)) return NONE;
  const text = fixed(Math.abs(fraction) * 100, digits);
  const sign = Number(text.replaceAll(",", "")) === 0 ? "±" : fraction < 0 ? MINUS : "+";
  return `${sign}${text}${BREAK}pp`;
}

/** 1234567 → "$1,234,567". */
export function dollars(amount, digits = 0) {
  if (!isNumber(amount)) return NONE;
  const text = fixed(Math.abs(amount), digits);
  return `${amount < 0 && Number(text.replaceAll(",", "")) !== 0 ? MINUS : ""}$${text}`;
}

/** As dollars, with a plus sign where it is one. */
export function signedDollars(amount, digits = 0) {
  if (!isNumber(amount)) return NONE;
  return amount > 0 && Number(fixed(amount, digits).replaceAll(",", "")) !== 0
    ? `+${dollars(amount, digits)}` : dollars(amount, digits);
}

/** 1234567 → "$1.23 M". */
export function shortDollars(amount) {
  if (!isNumber(amount)) return NONE;
  const sizes = [[1e9, "B"], [1e6, "M"], [1e3, "k"]];
  const [size, letter] = sizes.find(([least]) => Math.abs(amount) >= least * 0.9995) ?? [1, ""];
  const value = amount / size;
  const places = letter === "" ? 0 : Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${dollars(value, places)}${letter && BREAK + letter}`;
}

/** 1 → "1 day", 2.5 → "2.5 days". */
export function days(count, digits = 0) {
  if (!isNumber(count)) return NONE;
  const text = fixed(count, digits);
  return `${text}\u00a0${text === "1" ? "day" : "days"}`;
}

/** A plain number. */
export function number(value, digits = 0) {
  return isNumber(value) ? withSign(fixed(value, digits)) : NONE;
}

/** 0.9 → "90 %", 0.975 → "97.5 %". */
export function level(fraction) {
  return percent(fraction, Number.isInteger(Math.round(fraction * 1000) / 10) ? 0 : 1);
}

/** "delta_neutral" → "delta neutral". */
export function words(name) {
  return name === null || name === undefined || name === "" ? NONE : String(name).replaceAll("_", " ");
}

/** A UTC moment to the minute. */
export function moment(text) {
  const when = new Date(text);
  return Number.isNaN(when.getTime()) ? NONE : `${when.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

export { isNumber, NONE };

// What is chosen: a filter for each column, a text, an area on the map; and its form in the page's address.

export class Choice {
  constructor() {
    this.columns = {}; // by name: {labels: [...]} of a class, or {low, high} of numbers and dates
    this.text = "";
    this.area = null; // corners [x, y] on the map
    this.colour = null; // the name of a column; null is the one that the corpus opens with
    this.chip = null;
    this.run = null; // the training run that is open
  }

  static ofAddress(hash) {
    const choice = new Choice();
    try {
      const plain = JSON.parse(decodeURIComponent(hash.replace(/^#/, "")) || "{}");
      for (const key of ["columns", "text", "area", "colour", "chip", "run"]) if (key in plain) choice[key] = plain[key];
    } catch {
      // An address that somebody cut short: everything is shown.
    }
    return choice;
  }

  address() {
    const { columns, text, area, colour, chip, run } = this;
    return `#${encodeURIComponent(JSON.stringify({ columns, text, area, colour, chip, run: run ?? undefined }))}`;
  }

  get isEmpty() {
    return !Object.keys(this.columns).length && !this.text && !this.area;
  }

  clear() {
    Object.assign(this, { columns: {}, text: "", area: null });
  }
}

/** For each filter by itself, which rows pass: a Map from its name to a Uint8Array. */
export async function passes(choice, columns, places, find) {
  const parts = new Map();
  for (const [name, wanted] of Object.entries(choice.columns)) {
    if (columns.has(name)) parts.set(name, ofColumn(await columns.get(name), wanted));
  }
  if (choice.text) parts.set("text", ofRows(await find(choice.text), places.xs.length));
  if (choice.area) parts.set("area", ofArea(choice.area, places));
  return parts;
}

function ofColumn(column, wanted) {
  const { values } = column;
  if (column.kind !== "class") return between(values, wanted);
  const chosen = new Set(wanted.labels);
  const allowed = column.labels.map((label) => (chosen.has(label) ? 1 : 0));
  return Uint8Array.from(values, (code) => allowed[code]);
}

function between(values, { low, high }) {
  const least = low ?? -Infinity;
  const most = high ?? Infinity;
  return Uint8Array.from(values, (value) => (value >= least && value <= most ? 1 : 0));
}

function ofRows(rows, count) {
  const mask = new Uint8Array(count);
  for (const row of rows) mask[row] = 1;
  return mask;
}

function ofArea(corners, { xs: placesX, ys: placesY }) {
  const mask = new Uint8Array(placesX.length);
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let row = 0; row < mask.length; row++) {
    const x = placesX[row];
    const y = placesY[row];
    if (x >= left && x <= right && y >= bottom && y <= top && inside(corners, x, y)) mask[row] = 1;
  }
  return mask;
}

function inside(corners, x, y) {
  let odd = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [xi, yi] = corners[i];
    const [xj, yj] = corners[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

/** Rows that pass all parts, or all but the one called `except`. */
export function together(parts, count, except) {
  const mask = new Uint8Array(count).fill(1);
  for (const [name, part] of parts) {
    if (name !== except) for (let row = 0; row < count; row++) mask[row] &= part[row];
  }
  return mask;
}

export function rowsOf(mask) {
  let count = 0;
  for (const one of mask) count += one;
  const rows = new Uint32Array(count);
  for (let row = 0, at = 0; row < mask.length; row++) if (mask[row]) rows[at++] = row;
  return rows;
}

/** Rows as `--rows` takes them, such as 0:100,250. */
export function asText(rows) {
  const parts = [];
  for (let at = 0; at < rows.length;) {
    let end = at + 1;
    while (end < rows.length && rows[end] === rows[end - 1] + 1) end++;
    parts.push(end - at > 1 ? `${rows[at]}:${rows[end - 1] + 1}` : `${rows[at]}`);
    at = end;
  }
  return parts.join(",");
}

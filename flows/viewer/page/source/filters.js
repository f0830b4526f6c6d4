// The filters: one for each column, opened when it is wanted, with counts of what the other filters leave.

import { ofClass } from "./colours.js";
import { day, days, fills, isFlag } from "./data.js";
import { element, number, trying } from "./dom.js";

const MOST_SHOWN = 60; // classes of one column; the commonest, and those that are chosen

export class Filters {
  constructor(root, columns, choice, onChange) {
    Object.assign(this, { columns, choice, onChange });
    this.parts = new Map();
    const groups = [["Places", (name) => !fills(name)], ["Quality flags", isFlag],
      ["Layers: there, or why not", (name) => name.startsWith("layer:")]];
    for (const [title, belongs] of groups) {
      const own = columns.titles.filter((column) => belongs(column.name));
      if (own.length) root.append(element("h3", { textContent: title }), ...own.map((column) => this.part(column)));
    }
  }

  part(column) {
    const state = element("span", { className: "state" });
    const body = element("div", { className: "choices" });
    const details = element("details", { name: "filter", id: `filter-${column.name}` },
      element("summary", {}, element("span", { textContent: column.title }), state), body);
    details.addEventListener("toggle", () => details.open && trying(() => this.fill(column.name)));
    this.parts.set(column.name, { details, body, state });
    return details;
  }

  /** Shows what is chosen in the summaries, and counts in the one that is open. */
  async update(counter) {
    this.counter = counter;
    for (const [name, { details, state }] of this.parts) {
      const wanted = this.choice.columns[name];
      state.textContent = wanted ? said(wanted) : "";
      if (details.open) await this.fill(name);
    }
  }

  async fill(name) {
    const column = await this.columns.get(name);
    const { body } = this.parts.get(name);
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    body.replaceChildren(...(column.kind === "class" ? this.boxes(column) : this.limits(column)));
    if (focused) body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  boxes(column) {
    const counts = this.counter(column);
    const chosen = this.choice.columns[column.name]?.labels;
    const codes = column.labels.map((_, code) => code)
      .sort((a, b) => counts[b] - counts[a] || a - b)
      .filter((code, place) => place < MOST_SHOWN || chosen?.includes(column.labels[code]));
    const boxes = codes.map((code) => this.box(column, code, counts[code], chosen));
    const more = column.labels.length - codes.length;
    return more > 0 ? [...boxes, element("p", { className: "quiet", textContent: `and ${more} rarer ones` })] : boxes;
  }

  box(column, code, count, chosen) {
    const label = column.labels[code];
    const box = element("input", { type: "checkbox", checked: chosen?.includes(label) ?? false });
    box.dataset.key = label;
    box.addEventListener("change", () => this.toggle(column.name, label, box.checked));
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = ofClass(column, code);
    return element("label", {}, box, swatch, element("span", { textContent: label }),
      element("b", { textContent: number(count) }));
  }

  toggle(name, label, on) {
    const labels = new Set(this.choice.columns[name]?.labels ?? []);
    if (on) labels.add(label);
    else labels.delete(label);
    if (labels.size) this.choice.columns[name] = { labels: [...labels] };
    else delete this.choice.columns[name];
    this.onChange();
  }

  limits(column) {
    if (column.low === null) return [element("p", { className: "quiet", textContent: "known of no place yet" })];
    const inputs = ["low", "high"].map((end) => this.limit(column, end));
    return inputs;
  }

  limit(column, end) {
    const dates = column.kind === "date";
    const value = this.choice.columns[column.name]?.[end];
    const shown = value === undefined || value === null ? "" : dates ? day(value) : `${value}`;
    const input = element("input", { type: dates ? "date" : "number", value: shown, step: "any",
      placeholder: dates ? day(column[end]) : `${Number(column[end].toPrecision(4))}` });
    input.dataset.key = end;
    input.addEventListener("change", () => this.bound(column, end, input.value));
    return element("label", {}, element("span", { textContent: end === "low" ? "from" : "to" }), input);
  }

  bound(column, end, text) {
    const bounds = { ...(this.choice.columns[column.name] ?? {}) };
    if (text === "") delete bounds[end];
    else bounds[end] = column.kind === "date" ? days(text) + (end === "high" ? 0.99999 : 0) : Number(text);
    if ("low" in bounds || "high" in bounds) this.choice.columns[column.name] = { ...bounds, date: column.kind === "date" };
    else delete this.choice.columns[column.name];
    this.onChange();
  }
}

function said(wanted) {
  if (wanted.labels) return wanted.labels.length === 1 ? wanted.labels[0] : `${wanted.labels.length} chosen`;
  const text = (value) => (value === undefined ? "" : wanted.date ? day(value) : `${value}`);
  return `${text(wanted.low)} to ${text(wanted.high)}`;
}

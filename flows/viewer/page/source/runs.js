// Training runs: the losses of each over its steps, figures on val chips, and its reconstructions.

import { json } from "./data.js";
import { at, element, number, trying } from "./dom.js";

const ARROWS = { falls: "↓", stays: "→", rises: "↑", "": "" };
const [WIDTH, HEIGHT] = [300, 80];
const SMOOTHED = 10; // points on either side, of at most 300

export class RunsPanel {
  constructor(onRow, onRun) {
    Object.assign(this, { onRow, onRun, known: [], name: null, told: null, step: null });
    this.root = at("runs");
    at("open-runs").addEventListener("click", () => this.open(this.known[0]?.name));
    at("close-runs").addEventListener("click", () => this.close());
    at("run-name").addEventListener("change", () => this.open(at("run-name").value));
    at("picture-step").addEventListener("input", () => this.picture(Number(at("picture-step").value)));
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  get isOpen() {
    return !this.root.hidden;
  }

  /** The runs that there are now; the one that is open is read again where something was written. */
  async listed(runs) {
    const before = this.known.find((run) => run.name === this.name)?.changed_at;
    this.known = runs;
    at("open-runs").hidden = !runs.length;
    const names = runs.map((run) => run.name);
    if ([...at("run-name").options].map((option) => option.value).join("\n") !== names.join("\n")) {
      at("run-name").replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
      if (this.name) at("run-name").value = this.name;
    }
    const now = runs.find((run) => run.name === this.name);
    if (this.isOpen && now && (now.changed_at !== before || this.told?.state !== "ended")) await this.read();
  }

  async open(name) {
    if (!name) return;
    if (name !== this.name) Object.assign(this, { name, told: null, step: null });
    const wasOpen = this.isOpen;
    this.root.hidden = false;
    document.body.classList.add("has-runs");
    at("run-name").value = name;
    this.onRun(name);
    if (!wasOpen) at("close-runs").focus({ preventScroll: true });
    await this.read();
  }

  close() {
    this.root.hidden = true;
    this.name = null;
    document.body.classList.remove("has-runs");
    this.onRun(null);
    at("open-runs").focus({ preventScroll: true });
  }

  async read() {
    const { name } = this;
    const told = await trying(() => json(`runs/${encodeURIComponent(name)}/run.json`));
    if (!told || this.name !== name) return;
    this.told = told;
    at("run-state").textContent = said(told);
    at("run-notes").textContent = told.notes.join(" ");
    at("losses").replaceChildren(...told.losses.map((loss) => chart(loss, told.steps)));
    at("looks-part").hidden = !told.validation.length;
    at("looks").replaceChildren(...told.validation.map((look) => chart(look, told.steps)));
    this.reconstructions();
  }

  reconstructions() {
    const { pictures, drawn } = this.told;
    at("reconstructions").hidden = !pictures.length;
    if (!pictures.length) return;
    Object.assign(at("picture-step"), { max: pictures.length - 1, hidden: pictures.length < 2 });
    if (JSON.stringify(drawn) !== this.shown) { // else what has the focus would be lost at every look
      this.shown = JSON.stringify(drawn);
      at("drawn").replaceChildren(...(drawn.length ? drawn.map((chip) => this.chip(chip)) : ["The picture names its chips."]));
    }
    const kept = pictures.findIndex((each) => each.step === this.step);
    this.picture(kept < 0 || this.newest ? pictures.length - 1 : kept);
  }

  /** The picture at a place in their list; the newest one goes on being the newest. */
  picture(place) {
    const { pictures } = this.told;
    const { step, file } = pictures[place];
    this.newest = place === pictures.length - 1;
    at("picture-step").value = place;
    at("picture-step").setAttribute("aria-valuetext", `step ${step}`);
    at("picture-said").textContent = `step ${number(step)}, picture ${place + 1} of ${pictures.length}`;
    const source = `data/runs/${encodeURIComponent(this.name)}/${encodeURIComponent(file)}`;
    if (this.step === step && at("picture-alone").getAttribute("href") === source) return;
    this.step = step;
    at("picture-alone").href = source;
    at("reconstruction").src = source;
    at("reconstruction").alt = `Reconstructions of ${this.name} at step ${step}`;
  }

  chip({ id, row }) {
    if (row === null) return element("span", { textContent: `${id} (not in this corpus)` });
    const button = element("button", { type: "button", textContent: id });
    button.addEventListener("click", () => this.onRow(row));
    return button;
  }
}

/** Where a run stands, and how many of its losses fell. */
function said({ step, steps, state, losses }) {
  const layers = losses.filter((loss) => !loss.total);
  const fell = layers.filter((loss) => loss.trend === "falls").length;
  const fall = layers.some((loss) => loss.trend) ? ` ${fell} of ${layers.length} losses fell by a tenth or more.` : "";
  return `Step ${number(step)} of ${number(steps)}, ${state}.${fall}`;
}

const short = (value) => `${Number(value.toPrecision(3))}`;

/** A curve over all steps of its run, with what became of it, and the value under the pointer. */
function chart(curve, steps) {
  const { name, values } = curve;
  const range = values.length ? `${short(Math.min(...values))} to ${short(Math.max(...values))}` : "nothing yet";
  const readout = element("output", { textContent: range });
  const title = curve.total ? "all together" : name;
  const trend = "trend" in curve ? trendOf(curve) : null;
  const picture = drawing(curve, steps, `${title}: ${trend?.textContent ?? ""} ${range}`);
  picture.addEventListener("pointermove", (event) => {
    readout.textContent = under(curve, steps, event, picture) ?? range;
  });
  picture.addEventListener("pointerleave", () => (readout.textContent = range));
  const made = element("figure", { className: curve.total ? "chart whole" : "chart" },
    element("figcaption", {}, element("b", { textContent: title }), trend), picture, readout);
  made.dataset.loss = name;
  return made;
}

function trendOf({ first, last, trend }) {
  if (!trend) return null;
  const share = first > 0 ? ` (${Math.round((100 * last) / first)} %)` : "";
  return element("span", { className: trend, textContent: `${ARROWS[trend]} ${trend}: ${short(first)} to ${short(last)}${share}` });
}

function drawing({ steps: at, values }, steps, label) {
  const svg = (tag, properties, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const most = Math.max(steps, at.at(-1) ?? 0) || 1;
  const y = (value) => (high > low ? HEIGHT - 3 - ((value - low) / (high - low)) * (HEIGHT - 6) : HEIGHT / 2);
  const points = (heights) => heights.map((value, index) => `${((WIDTH * at[index]) / most).toFixed(1)} ${y(value).toFixed(1)}`);
  const line = (heights) => (heights.length ? `M${points(heights).join("L")}` : "");
  const few = values.length < 2 * SMOOTHED;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("path", { d: line(values), class: few ? "" : "raw" }), svg("path", { d: few ? "" : line(smoothed(values)) }),
    svg("path", { class: "marks", d: values.length < 12 ? points(values).map((point) => `M${point}h0`).join("") : "" }));
}

/** Means over the points around each, fewer at the ends. */
function smoothed(values) {
  return values.map((_, index) => {
    const near = values.slice(Math.max(0, index - SMOOTHED), index + SMOOTHED + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

/** The point of a curve that is nearest to the pointer, in words. */
function under({ steps: at, values }, steps, event, picture) {
  if (!values.length) return undefined;
  const box = picture.getBoundingClientRect();
  const wanted = ((event.clientX - box.left) / box.width) * Math.max(steps, at.at(-1));
  const nearest = at.reduce((best, step, index) => (Math.abs(step - wanted) < Math.abs(at[best] - wanted) ? index : best), 0);
  return `step ${number(at[nearest])}: ${short(values[nearest])}`;
}

// The explorer: map, filters, list, chip, and the run at work.

import { ChipPanel } from "./chip.js";
import { asText, Choice, passes, rowsOf, together } from "./choice.js";
import { NOTHING, ofClass, painted } from "./colours.js";
import { Chips, Columns, day, fills, found, json, places as fetchPlaces } from "./data.js";
import { at, element, number, say, trying } from "./dom.js";
import { Filters } from "./filters.js";
import { PlaceMap } from "./map.js";
import { RunsPanel } from "./runs.js";

const MOST_LISTED = 200;
const ASK_AGAIN_MS = 5000;
const MOST_TYPED = 2000; // letters of rows in a command; with more they go by a file

class Explorer {
  async start() {
    const ground = Promise.all([fetchPlaces(), json("outlines.json")]);
    const corpus = await json("corpus.json");
    Object.assign(this, { corpus, columns: new Columns(corpus.columns), choice: Choice.ofAddress(location.hash) });
    at("name").textContent = corpus.name;
    document.title = `${corpus.name}: ${number(corpus.chips)} chips`;
    if (!this.columns.has(this.choice.colour)) this.choice.colour = corpus.colour;
    this.columns.get(this.choice.colour).catch(() => null); // comes while places do; that it fails is said by paint
    const [places, outlines] = await ground;
    this.places = places;
    this.map = new PlaceMap({
      canvas: at("map"), below: at("outlines"), ring: at("ring"), outlines, places,
      onPlace: (row) => this.openChip(row), onArea: (area) => this.chosen({ area }),
    });
    this.filters = new Filters(at("filters"), this.columns, this.choice, () => this.chosen({}));
    this.chips = new Chips(corpus.layers);
    this.panel = new ChipPanel(corpus, this.chips, (step) => this.stepped(step), (row) => this.openChip(row));
    this.runs = new RunsPanel((row) => this.openChip(row), (run) => this.ran(run));
    this.wire();
    this.map.whole();
    await this.paint();
    performance.mark("first points");
    await this.apply();
    if (this.choice.chip !== null) await this.openChip(this.choice.chip);
    if (!corpus.exported) await this.atStart();
    document.body.dataset.ready = "true";
  }

  /** What only a server has: training runs, one of them open where the address says so, and what is at work. */
  async atStart() {
    const { run } = this.choice;
    await trying(async () => this.runs.listed(await json("runs.json")));
    if (run && this.runs.known.some((each) => each.name === run)) await this.runs.open(run);
    this.watch();
  }

  wire() {
    at("report").hidden = !this.corpus.report;
    const select = at("colour");
    select.append(...this.columns.titles.map((column) =>
      element("option", { value: column.name, textContent: column.title, selected: column.name === this.choice.colour })));
    select.addEventListener("change", () => this.recoloured(select.value));
    at("text").value = this.choice.text;
    at("search").hidden = Boolean(this.corpus.exported);
    at("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.chosen({ text: at("text").value.trim() });
    });
    at("lasso").addEventListener("click", () => this.lassoing(at("lasso").getAttribute("aria-pressed") !== "true"));
    at("home").addEventListener("click", () => this.map.whole());
    at("clear").addEventListener("click", () => this.cleared());
    at("save").addEventListener("click", () => this.save());
    at("command").addEventListener("click", () => this.copy());
    window.addEventListener("hashchange", () => location.hash !== this.written && location.reload());
  }

  lassoing(on) {
    at("lasso").setAttribute("aria-pressed", on);
    this.map.lasso(on);
  }

  cleared() {
    this.choice.clear();
    at("text").value = "";
    return this.chosen({});
  }

  async chosen(change) {
    Object.assign(this.choice, change);
    if (change.area) this.lassoing(false);
    await trying(() => this.apply());
  }

  async recoloured(name) {
    this.choice.colour = name;
    this.write();
    await trying(() => this.paint());
  }

  async painted() {
    return painted(await this.columns.get(this.choice.colour));
  }

  async paint() {
    const column = await this.columns.get(this.choice.colour);
    await this.map.paint(painted(column));
    this.legend(column);
  }

  legend(column) {
    const entry = (colour, label) => {
      const swatch = element("i", { className: "swatch" });
      swatch.style.background = colour;
      return element("li", {}, swatch, element("span", { textContent: label }));
    };
    const text = (value) => (column.kind === "date" ? day(value) : `${Number(value.toPrecision(4))}`);
    if (column.kind === "class") {
      const shown = column.labels.slice(0, 24).map((label, code) => entry(ofClass(column, code), label));
      const more = column.labels.length - shown.length;
      at("legend").replaceChildren(...shown, ...(more > 0 ? [entry("transparent", `and ${more} more`)] : []));
    } else if (column.low === null) at("legend").replaceChildren(entry(NOTHING, "known of no place yet"));
    else {
      const ramp = element("li", { className: "ramp" }, element("span", { textContent: text(column.low) }),
        element("i", {}), element("span", { textContent: text(column.high) }));
      at("legend").replaceChildren(ramp, entry(NOTHING, "nothing"));
    }
  }

  async apply() {
    const count = this.corpus.chips;
    const parts = await passes(this.choice, this.columns, this.places, found);
    this.rows = rowsOf(together(parts, count));
    await this.filters.update(({ name, values, labels }) => {
      const mask = together(parts, count, name);
      const counts = new Uint32Array(labels.length);
      for (let row = 0; row < count; row++) counts[values[row]] += mask[row];
      return counts;
    });
    await this.map.show(this.rows);
    await this.list();
    at("count").textContent = this.choice.isEmpty
      ? `${number(count)} chips` : `${number(this.rows.length)} of ${number(count)} chips`;
    at("clear").disabled = this.choice.isEmpty;
    at("area").textContent = this.choice.area ? "within the area that you drew" : "";
    this.write();
  }

  write() {
    const nothing = this.choice.isEmpty && this.choice.chip === null && !this.choice.run && this.choice.colour === this.corpus.colour;
    this.written = nothing ? "" : this.choice.address();
    history.replaceState(null, "", this.written || location.pathname);
    this.written = location.hash;
  }

  async list() {
    const shown = [...this.rows.slice(0, MOST_LISTED)];
    const [{ values: codes, labels }, { values: date }] = await Promise.all([this.corpus.colour, "date"].map((name) => this.columns.get(name)));
    at("rows").replaceChildren(...shown.map((row) => {
      const button = element("button", { type: "button", textContent: `${row} · ${labels[codes[row]]} · ${day(date[row])}` });
      button.addEventListener("click", () => this.openChip(row));
      return element("li", {}, button);
    }));
    const more = this.rows.length - shown.length;
    at("more").textContent = more > 0 ? `and ${number(more)} more` : this.rows.length ? "" : "No chip passes all filters.";
  }

  async openChip(row) {
    this.choice.chip = row;
    this.map.mark(row);
    this.write();
    const place = this.rows.indexOf(row);
    await this.panel.open(row, place < 0 ? "not in the selection" : `${number(place + 1)} of ${number(this.rows.length)}`);
    if (place >= 0 && this.choice.chip === row) this.chips.ahead([1, -1].map((step) => this.beside(place, step)).filter((each) => this.isThere(each)));
  }

  beside(place, step) {
    return this.rows[(place + step + this.rows.length) % this.rows.length];
  }

  /** A static export has some of the chips. */
  isThere(row) {
    return row !== this.choice.chip && (this.corpus.exported?.includes(row) ?? true);
  }

  /** To the next chip of the selection, or the one before; 0: the panel was closed. */
  stepped(step) {
    if (!step) {
      this.choice.chip = null;
      this.map.mark(null);
      this.write();
      return;
    }
    if (!this.rows.length) return;
    const place = this.rows.indexOf(this.choice.chip);
    this.openChip(this.beside(place, step));
  }

  save() {
    const file = new Blob([asText(this.rows), "\n"], { type: "text/plain" });
    const link = element("a", { href: URL.createObjectURL(file), download: `${this.corpus.name}-rows.txt` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async copy() {
    const text = asText(this.rows);
    const rows = text.length > MOST_TYPED ? `"$(cat ${this.corpus.name}-rows.txt)"` : text;
    const line = `geocorpus convert ${this.corpus.folder} chips --to geotiff --rows ${rows}`;
    at("line").textContent = line;
    await navigator.clipboard?.writeText(line).then(() => say("The command is in the clipboard."), () => say("Copy the command below."));
  }

  ran(run) {
    this.choice.run = run;
    this.write();
  }

  async watch() {
    const [work, runs] = await Promise.all(["work.json", "runs.json"].map((path) => json(path).catch(() => null)));
    if (work) await trying(() => this.shown(work));
    if (runs) await trying(() => this.runs.listed(runs));
    setTimeout(() => this.watch(), ASK_AGAIN_MS);
  }

  async shown(work) {
    const filling = Object.entries(work.done).filter(([, done]) => done < work.shards);
    at("work").hidden = !work.run && !filling.length;
    const run = work.run;
    at("run").textContent = run ? `${run.stage} ${number(run.done)} of ${number(run.total)}` : "no run is at work";
    at("run-figures").textContent = run ? Object.entries(run.figures).map(([name, value]) => `${name} ${value}`).join(" · ") : "";
    at("filling").replaceChildren(...filling.map(([name, done]) => element("li", {}, element("span", { textContent: name }),
      element("progress", { max: work.shards, value: done, "aria-label": name }), element("span", { textContent: `${done} of ${work.shards}` }))));
    const total = Object.values(work.done).reduce((sum, done) => sum + done, 0);
    if (this.total !== undefined && total !== this.total) {
      this.columns.renew();
      this.chips.ahead([]);
      if (fills(this.choice.colour)) await this.paint();
      await this.apply();
    }
    this.total = total;
  }
}

const explorer = new Explorer();
window.explorer = explorer; // for people who look at it in their browser's console, and for tests
explorer.start().catch((error) => say(error.message));

// One chip: all layers side by side, with the values of all of them at the place under the cursor.

import { json } from "./data.js";
import { at, element, trying } from "./dom.js";

const DIGITS = 5;

export class ChipPanel {
  constructor({ layers, likeness }, chips, onStep, onRow) {
    Object.assign(this, { layers, likeness, chips, onStep, onRow });
    this.root = at("chip");
    this.root.addEventListener("keydown", (event) => this.pressed(event));
    at("previous").addEventListener("click", () => onStep(-1));
    at("next").addEventListener("click", () => onStep(1));
    at("close").addEventListener("click", () => this.close());
  }

  async open(row, place) {
    this.row = row;
    const facts = await trying(() => this.chips.get(row));
    if (!facts || this.row !== row) return;
    this.facts = facts;
    this.outputs = [];
    this.uv = null;
    at("chip-title").textContent = facts.ecoregion || facts.biome || facts.id;
    at("chip-place").textContent = place;
    at("facts").replaceChildren(...this.said(facts));
    at("pictures").replaceChildren(...this.drawnLayers().flatMap((layer) => this.figures(layer)));
    at("numbers").replaceChildren(...this.valueLayers());
    for (const layer of this.valued()) this.listed(layer, facts.layers[layer.name].values);
    this.blend();
    this.alike(row);
    const wasOpen = !this.root.hidden;
    if (!wasOpen) this.from = document.activeElement;
    this.root.hidden = false;
    if (!wasOpen) at("close").focus({ preventScroll: true });
    document.body.classList.add("has-chip");
    this.point(0.5, 0.5);
  }

  close() {
    this.root.hidden = true;
    this.row = null;
    document.body.classList.remove("has-chip");
    this.onStep(0);
    if (this.from?.isConnected) this.from.focus({ preventScroll: true }); // where the person was before
  }

  drawn() {
    return this.drawnLayers().filter((layer) => this.facts.layers[layer.name]?.there);
  }

  drawnLayers() {
    return this.layers.filter((layer) => layer.extent === "pixel");
  }

  /** Layers with one value for the chip and band. */
  valued() {
    return this.layers.filter((layer) => layer.extent === "image" && this.facts.layers[layer.name].there);
  }

  said(facts) {
    const { grid } = facts;
    const scenes = facts.scenes.map((scene) => [scene.role, this.scene(scene)]);
    const own = Object.entries(facts.own).map(([name, value]) => [name, value === null ? "(nothing)" : `${value}`]);
    const lines = [
      ["id", facts.id], ["row", `${facts.row}`], ["place", `${facts.lon.toFixed(5)}, ${facts.lat.toFixed(5)}`],
      ["biome", facts.biome], ["split", facts.split], ["date", facts.date], ["level", facts.level],
      ["quality flags", facts.flags.join("; ")], ...scenes,
      ["grid", `${grid.crs}, corner ${grid.origin_xy.join(", ")} m, ${grid.shape_yx.join(" x ")} px of ${grid.resolution_m} m`],
      ...own,
    ];
    return lines.filter(([, value]) => value).flatMap(([name, value]) =>
      [element("dt", { textContent: name }), element("dd", {}, value)]);
  }

  scene({ id, time, link }) {
    if (!link) return `${id}, ${time}`;
    const anchor = element("a", { href: link, rel: "noreferrer", target: "_blank", textContent: id });
    return element("span", {}, anchor, `, ${time}`);
  }

  figures(layer) {
    const state = this.facts.layers[layer.name];
    if (!state.there) return [this.absent(layer, state.note)];
    const bands = [...this.facts.pictures.get(layer.name).keys()];
    return bands.map((band, index) => this.figure(layer, band, index === bands.length - 1));
  }

  absent(layer, note) {
    return element("figure", { className: "absent" }, element("div", { className: "picture none", textContent: note || "no data" }),
      element("figcaption", {}, element("b", { textContent: layer.name })));
  }

  figure(layer, band, last) {
    const picture = element("div", { className: "picture", tabIndex: 0, role: "img",
      "aria-label": `${layer.title} ${band}: arrow keys move the cross-hair` }, canvasOf(this.facts.pictures.get(layer.name).get(band)), element("i", { className: "cross" }));
    picture.addEventListener("pointermove", (event) => this.moved(event, picture));
    picture.addEventListener("pointerdown", (event) => this.moved(event, picture));
    const output = element("output", {});
    this.outputs.push({ layer, band, output });
    const caption = element("figcaption", {}, element("b", { textContent: `${layer.name} ${band}`.trim(), title: layer.title }), output);
    const made = element("figure", {}, picture, caption);
    if (last) made.append(this.tools(layer, picture));
    made.dataset.layer = layer.name;
    return made;
  }

  tools(layer, picture) {
    const download = element("a", { href: `data/chips/${this.row}/${layer.name}.tif`, download: `${this.facts.id}-${layer.name}.tif`,
      textContent: "GeoTIFF" });
    return element("div", { className: "tools" }, download, layer.classes.length ? null : this.bands(layer, picture));
  }

  bands(layer, picture) {
    const names = layer.bands.map((band) => band.name);
    const first = layer.shown.length ? layer.shown : names;
    const selects = [0, 1, 2].map((place) => element("select", { "aria-label": ["red", "green", "blue"][place] },
      ...names.map((name) => element("option", { value: name, textContent: name, selected: name === (first[place] ?? first[0]) }))));
    const limits = ["from", "to"].map((name) => element("input", { type: "number", step: "any", placeholder: name, "aria-label": name }));
    const draw = () => trying(async () => this.draw(layer, picture, selects.map((one) => names.indexOf(one.value)), limits));
    for (const one of [...selects, ...limits]) one.addEventListener("change", draw);
    return element("details", {}, element("summary", { textContent: "bands and stretch" }),
      element("div", { className: "bands" }, ...selects, ...limits));
  }

  draw(layer, picture, indices, limits) {
    const values = this.facts.values.get(layer.name);
    const [height, width] = this.facts.grid.shape_yx;
    const image = new ImageData(width, height);
    const bands = indices.map((index) => values.band(index));
    const ends = bands.map((band) => stretch(band, limits));
    for (let at = 0; at < values.pixels; at++) {
      bands.forEach((band, channel) => {
        image.data[4 * at + channel] = (255 * (band[at] - ends[channel][0])) / (ends[channel][1] - ends[channel][0]);
      });
      image.data[4 * at + 3] = bands.some((band) => Number.isNaN(band[at])) ? 0 : 255;
    }
    picture.querySelector("canvas").replaceWith(canvasOf(image));
  }

  valueLayers() {
    return this.layers.filter((layer) => layer.extent === "image").map((layer) => {
      const state = this.facts.layers[layer.name];
      const body = element("dl", { id: `values-${layer.name}` });
      if (!state.there) body.append(element("dd", { textContent: state.note || "no data" }));
      return element("section", {}, element("h4", { textContent: layer.name, title: layer.title }), body);
    });
  }

  listed(layer, values) {
    const lines = layer.bands.flatMap((band, index) =>
      [element("dt", { textContent: band.name }), element("dd", { textContent: text(layer, index, values[index]) })]);
    at(`values-${layer.name}`)?.replaceChildren(...lines);
  }

  moved(event, picture) {
    const box = picture.getBoundingClientRect();
    this.point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  /** Puts the cross-hair at the same ground in all layers; u and v are from 0 to 1, from the upper left. */
  point(u, v) {
    const size = this.facts.grid.shape_yx[0];
    const pixel = (share) => Math.min(size - 1, Math.max(0, Math.floor(share * size)));
    const [x, y] = [pixel(u), pixel(v)];
    this.uv = [(x + 0.5) / size, (y + 0.5) / size];
    this.root.style.setProperty("--u", `${100 * this.uv[0]}%`);
    this.root.style.setProperty("--v", `${100 * this.uv[1]}%`);
    const { grid } = this.facts;
    const [left, top] = grid.origin_xy;
    at("cursor").textContent = `pixel ${x}, ${y} from the upper left; ${left + (x + 0.5) * grid.resolution_m}, ${top - (y + 0.5) * grid.resolution_m} m`;
    for (const { layer, band, output } of this.outputs) output.textContent = this.read(layer, band, x, y, size);
  }

  read(layer, band, x, y, size) {
    const values = this.facts.values.get(layer.name);
    const names = layer.bands.map((each) => each.name);
    const shown = band ? [band] : layer.shown.length ? layer.shown : names.slice(0, 1);
    return shown.map((name) => {
      const index = names.indexOf(name);
      const value = text(layer, index, values.at(index, y * size + x));
      return shown.length > 1 ? `${name} ${value}` : value;
    }).join(" · ");
  }

  /** Two layers on each other: what is not aligned shows. */
  blend() {
    const drawn = this.drawn();
    at("blend").hidden = drawn.length < 2;
    if (drawn.length < 2) return;
    const choose = (id, start) => at(id).replaceChildren(...drawn.map((layer, index) =>
      element("option", { value: layer.name, textContent: layer.name, selected: index === start })));
    choose("below-layer", 0);
    choose("above-layer", 1);
    const show = () => {
      for (const [id, select] of [["below-picture", "below-layer"], ["above-picture", "above-layer"]]) {
        const [picture] = this.facts.pictures.get(at(select).value).values();
        paint(at(id), picture);
      }
      at("above-picture").style.opacity = at("opacity").value / 100;
    };
    at("below-layer").onchange = at("above-layer").onchange = at("opacity").oninput = show;
    at("blend").ontoggle = () => at("blend").open && show();
    if (at("blend").open) show();
  }

  /** Chips that look like this one, by their embeddings. */
  async alike(row) {
    at("alike").hidden = !this.likeness;
    if (!this.likeness) return;
    at("alike-chips").replaceChildren();
    const near = await json(`chips/${row}/near.json`).catch((error) => error);
    if (this.row !== row) return;
    if (near instanceof Error) at("alike-chips").textContent = near.message;
    else at("alike-chips").replaceChildren(...near.map((each) => this.neighbour(each)));
  }

  neighbour({ row, similarity }) {
    const layer = this.drawnLayers().find((each) => each.style === "rgb") ?? this.drawnLayers()[0];
    const several = layer?.style === "grey" && layer.shown.length > 1;
    const band = several ? `@${encodeURIComponent(layer.shown[0])}` : "";
    const picture = layer && element("img", { src: `data/chips/${row}/${layer.name}${band}.png`, alt: "" });
    picture?.addEventListener("error", () => picture.remove());
    const button = element("button", { type: "button" }, picture, element("span", { textContent: `row ${row} · ${similarity}` }));
    button.addEventListener("click", () => this.onRow(row));
    return button;
  }

  pressed(event) {
    if (event.target.closest("input, select, textarea")) return;
    const inPicture = event.target.classList.contains("picture");
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (inPicture && steps[event.key]) {
      const size = this.facts.grid.shape_yx[0];
      const [dx, dy] = steps[event.key];
      this.point(this.uv[0] + dx / size, this.uv[1] + dy / size);
    } else if (event.key === "ArrowLeft") this.onStep(-1);
    else if (event.key === "ArrowRight") this.onStep(1);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
  }
}

function text(layer, index, value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "no data";
  if (layer.classes.length) return layer.classes.find((each) => each.code === value)?.name ?? `unknown class ${value}`;
  const { units } = layer.bands[index];
  return `${Number(value.toPrecision(DIGITS))}${units && units !== "1" ? ` ${units}` : ""}`;
}

function canvasOf(picture) {
  return paint(element("canvas"), picture);
}

function paint(canvas, picture) {
  Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/** Given limits, or the 2nd and 98th percentile. */
function stretch(band, limits) {
  const known = band.filter((value) => !Number.isNaN(value)).sort();
  const share = (part) => known[Math.floor(part * (known.length - 1))] ?? 0;
  const [low, high] = limits.map((input, place) => (input.value === "" ? share(place ? 0.98 : 0.02) : Number(input.value)));
  return high > low ? [low, high] : [low, low + 1];
}

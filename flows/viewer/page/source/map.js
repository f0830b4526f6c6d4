// The map: every place as a point, over the outlines of regions.

import { scaleLinear } from "d3-scale";
import createScatterplot from "regl-scatterplot";

import { emptyIndex, filled } from "./point_index.js";

const HEIGHT = 0.487; // y of the poles, where x is 1 at the antimeridian

export class PlaceMap {
  static scatterplot = createScatterplot; // by itself in the benchmark

  constructor({ canvas, below, ring, outlines, places, onPlace, onArea }) {
    Object.assign(this, { canvas, below, ring, onPlace, onArea });
    this.lines = new Path2D();
    for (const line of outlines) line.forEach(([x, y], index) => this.lines[index ? "lineTo" : "moveTo"](x, y));
    this.x = scaleLinear().domain([-1, 1]);
    this.y = scaleLinear().domain([-1, 1]);
    const count = places.xs.length;
    Object.assign(this, places);
    this.plot = createScatterplot({
      canvas, xScale: this.x, yScale: this.y, backgroundColor: [0, 0, 0, 0], pointSize: count > 50000 ? 2 : 6,
      opacity: count > 50000 ? 0.7 : 0.9, lassoOnLongPress: false, performanceMode: count > 50000,
      pointColorHover: "#3b7dd8", pointColorActive: "#d1495b", pointSizeSelected: 5, pointOutlineWidth: 3,
      lassoColor: "#d1495b", deselectOnEscape: true, ...this.size(),
    });
    this.index = emptyIndex(count);
    this.indexed = filled(this.index, this.xs, this.ys); // meanwhile points are drawn, and none is under the cursor
    this.plot.subscribe("view", () => this.drawOutlines());
    this.plot.subscribe("lassoEnd", ({ coordinates }) => this.lassoed(coordinates));
    this.plot.subscribe("select", ({ points }) => this.picked(points));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.drawOutlines());
    for (const kind of ["wheel", "mousedown"]) canvas.addEventListener(kind, () => (this.isWhole = false), { capture: true });
    this.fit();
    window.addEventListener("resize", () => this.fit());
    new ResizeObserver(() => this.resized()).observe(canvas.parentElement);
  }

  size() {
    const { width, height } = this.canvas.parentElement.getBoundingClientRect();
    return { width, height };
  }

  /** The scales follow from the new size a frame after it is set; before that, points and outlines would lie apart. */
  async resized() {
    this.fit();
    await this.plot.set(this.size());
    if (this.isWhole) await this.whole();
    else this.plot.view(this.plot.get("cameraView"));
  }

  /** By itself the library draws on no more than the screen's size, in which a page that is zoomed out has no room. */
  fit() {
    const { width, height } = this.size();
    this.plot.get("renderer").resize(width, height);
  }

  /** Paints all points that are shown. */
  paint({ codes, palette }) {
    this.plot.set({ colorBy: "valueA", pointColor: palette.length > 1 ? palette : palette[0] });
    const options = { zDataType: "categorical", preventFilterReset: true, spatialIndex: this.index };
    return this.plot.draw({ x: this.xs, y: this.ys, z: codes }, options);
  }

  /** The view of all; the promise is kept with the next frame, of which there is none before points are painted. */
  async whole() {
    this.isWhole = true; // and stays so, whatever size the map gets, until somebody moves it
    await this.plot.zoomToArea({ x: -1, y: -HEIGHT, width: 2, height: 2 * HEIGHT });
    this.drawOutlines();
  }

  /** Shows the points of these rows alone. A frame of a million points takes long: none is drawn for nothing. */
  async show(rows) {
    const all = rows.length === this.xs.length;
    if (all && !this.filtered) return;
    this.filtered = !all;
    await (all ? this.plot.unfilter() : this.plot.filter(Array.from(rows)));
  }

  /** A ring round the place of the chip that is open: an element of its own, so that no point is drawn again. */
  mark(row) {
    this.marked = row;
    this.drawMark();
  }

  drawMark() {
    this.ring.hidden = this.marked === null || this.marked === undefined;
    if (this.ring.hidden) return;
    this.ring.style.left = `${this.x(this.xs[this.marked])}px`;
    this.ring.style.top = `${this.y(this.ys[this.marked])}px`;
  }

  picked(points) {
    if (points.length !== 1 || this.lassoing) return;
    this.plot.deselect({ preventEvent: true });
    this.onPlace(points[0]);
  }

  lasso(on) {
    this.plot.set({ mouseMode: on ? "lasso" : "panZoom" });
  }

  lassoed(coordinates) {
    const flat = Array.from(coordinates).flat();
    const corners = Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]]);
    this.lassoing = true;
    setTimeout(() => {
      this.plot.deselect({ preventEvent: true });
      this.lassoing = false;
    });
    if (corners.length > 2) this.onArea(corners.map((corner) => corner.map((value) => Number(value.toFixed(5)))));
  }

  drawOutlines() {
    const { width, height } = this.size();
    const ratio = window.devicePixelRatio;
    Object.assign(this.below, { width: width * ratio, height: height * ratio });
    const pen = this.below.getContext("2d");
    const across = this.x(1) - this.x(0);
    const up = this.y(1) - this.y(0);
    pen.setTransform(across * ratio, 0, 0, up * ratio, this.x(0) * ratio, this.y(0) * ratio);
    pen.lineWidth = 0.7 / Math.abs(across);
    pen.strokeStyle = getComputedStyle(this.below).color;
    pen.stroke(this.lines);
    this.drawMark();
  }
}

// Reads what the server (or the folder of a static export) has under data/.

import { ARRAYS, unpacked } from "./bundle.js";

async function answer(path) {
  const response = await fetch(`data/${path}`);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error ?? `data/${path} is not there.`);
}

export const json = async (path) => (await answer(path)).json();
const bytes = async (path) => (await answer(path)).arrayBuffer();

/** Where all places lie on the map: `xs` and `ys`. */
export async function places() {
  const both = new Float32Array(await bytes("places.bin"));
  return { xs: both.subarray(0, both.length / 2), ys: both.subarray(both.length / 2) };
}

/** Rows in which a text is found. */
export const found = async (text) => (await json(`find.json?text=${encodeURIComponent(text)}`)).rows;

export const isFlag = (name) => name === "flags" || name.startsWith("flag:");
/** Whether a column changes while shards are filling. */
export const fills = (name) => name.startsWith("layer:") || isFlag(name);

/** The columns of the corpus; what each has is fetched when it is asked for first. */
export class Columns {
  constructor(titles) {
    this.titles = titles;
    this.made = new Map();
  }

  has(name) {
    return this.titles.some((each) => each.name === name);
  }

  /** All that is known of a column, with its `values`. */
  get(name) {
    if (!this.made.has(name)) this.made.set(name, this.fetched(name));
    return this.made.get(name);
  }

  async fetched(name) {
    const path = `columns/${encodeURIComponent(name)}`;
    const about = await json(`${path}.json`);
    return { ...about, values: new ARRAYS[about.dtype](await bytes(`${path}.bin`)) };
  }

  /** Layers fill while a run is at work: what was fetched of them is asked for again. */
  renew() {
    for (const name of [...this.made.keys()]) if (fills(name)) this.made.delete(name);
  }
}

/** Chips, of which those that were fetched ahead are there at once. */
export class Chips {
  constructor(layers) {
    this.layers = layers;
    this.fetchedAhead = new Map();
  }

  async get(row) {
    const chip = this.fetchedAhead.get(row) ?? this.fetched(row);
    this.fetchedAhead.delete(row); // asked for once more it is read anew: a run may have written to it
    return chip;
  }

  async fetched(row) {
    return unpacked(await bytes(`chips/${row}/chip.bin`), this.layers);
  }

  /** Fetches these rows, and forgets others. What cannot be had is said when it is asked for. */
  ahead(rows) {
    const before = this.fetchedAhead;
    this.fetchedAhead = new Map(rows.map((row) => [row, before.get(row) ?? this.fetched(row)]));
    for (const chip of this.fetchedAhead.values()) chip.catch(() => null);
  }
}

export const day = (days) => new Date(days * 86400000).toISOString().slice(0, 10);
export const days = (text) => Date.parse(text) / 86400000;

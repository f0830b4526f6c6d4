// Reads what the server (or the folder of a static export) has under data/.

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

async function answer(path) {
  const response = await fetch(`data/${path}`);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error ?? `data/${path} is not there.`);
}

export const json = async (path) => (await answer(path)).json();
const bytes = async (path) => (await answer(path)).arrayBuffer();

export const places = async () => new Float32Array(await bytes("places.bin"));

/** Rows in which a text is found. */
export const found = async (text) => (await json(`find.json?text=${encodeURIComponent(text)}`)).rows;

/** The columns of the corpus; values are fetched when they are asked for first. */
export class Columns {
  constructor(descriptions) {
    this.all = new Map(descriptions.map((each) => [each.name, each]));
    this.made = new Map();
  }

  get(name) {
    return this.all.get(name);
  }

  values(name) {
    if (!this.made.has(name)) {
      const path = `columns/${encodeURIComponent(name)}.bin`;
      this.made.set(name, bytes(path).then((body) => new ARRAYS[this.get(name).dtype](body)));
    }
    return this.made.get(name);
  }

  /** Layers fill while a run is at work: what was fetched of them is asked for again. */
  async renew() {
    const { columns } = await json("corpus.json");
    for (const each of columns) this.all.set(each.name, each);
    for (const name of [...this.made.keys()]) if (name.startsWith("layer:")) this.made.delete(name);
  }
}

/** Values of one layer of a chip: NaN for nodata. */
export const layerValues = async (row, layer) => new Float64Array(await bytes(`chips/${row}/${layer}.f64`));

export const day = (days) => new Date(days * 86400000).toISOString().slice(0, 10);
export const days = (text) => Date.parse(text) / 86400000;

// A chip as the server sends it: one answer with its facts, the values of all layers, and their pictures.

/** The browser's arrays by the name of their dtype. */
export const ARRAYS = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  float32: Float32Array, float64: Float64Array,
};
const LENGTH_BYTES = 4;

/** Values of one layer in its units, NaN for nodata: band after band, pixels by row. */
class Values {
  constructor(buffer, start, { dtype, scale, offset, nodata }, length, pixels) {
    Object.assign(this, { scale, offset, nodata, pixels });
    this.stored = new ARRAYS[dtype](buffer, start, length);
  }

  at(band, pixel) {
    return this.physical(this.stored[band * this.pixels + pixel]);
  }

  physical(stored) {
    return stored === this.nodata ? NaN : stored * this.scale + this.offset;
  }

  band(band) {
    return Float64Array.from({ length: this.pixels }, (_, pixel) => this.at(band, pixel));
  }
}

/** The facts, with `values` and `pictures` (ImageData by band) of the layers that are there. */
export function unpacked(buffer, layers) {
  const length = new DataView(buffer).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, LENGTH_BYTES, length)));
  const start = LENGTH_BYTES + length;
  const [height, width] = facts.grid.shape_yx;
  facts.values = new Map();
  facts.pictures = new Map();
  for (const { name, bands } of layers) {
    const { pictures, values } = facts.layers[name];
    if (!pictures) continue;
    const pixels = height * width;
    facts.values.set(name, new Values(buffer, start + values.at, values, bands.length * pixels, pixels));
    facts.pictures.set(name, new Map(pictures.map(({ band, at }) => [band, imageOf(buffer, start + at, width, height)])));
  }
  return facts;
}

function imageOf(buffer, start, width, height) {
  const rgb = new Uint8Array(buffer, start, 3 * width * height);
  const image = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    image.data[to] = rgb[from];
    image.data[to + 1] = rgb[from + 1];
    image.data[to + 2] = rgb[from + 2];
    image.data[to + 3] = 255;
  }
  return image;
}

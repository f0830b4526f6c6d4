// The index of points by place, in the library's own form (KDBush): made in a worker, into the buffer that the plot has.

// The class by itself, which the package does not export: its text is what the worker gets.
import createKDBushClass from "../node_modules/regl-scatterplot/src/kdbush-class.js";

const NODE_SIZE = 64;

/** The bytes of an index in which no point is found yet. */
export function emptyIndex(count) {
  const index = new (createKDBushClass())(count, NODE_SIZE, Float32Array);
  index.coords.fill(NaN);
  return index.data;
}

/** Fills the bytes of an index; a plot that was drawn with them finds the points from then on. */
export function filled(index, xs, ys) {
  const text = `const KDBush = (${createKDBushClass})(); onmessage = (${atWork});`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      new Uint8Array(index).set(new Uint8Array(data));
      worker.terminate();
      resolve();
    };
    worker.onerror = reject;
    worker.postMessage({ xs, ys, nodeSize: NODE_SIZE });
  });
}

/* In the worker, where KDBush is what the text above makes it. */
function atWork({ data: { xs, ys, nodeSize } }) {
  const index = new KDBush(xs.length, nodeSize, Float32Array);
  for (let row = 0; row < xs.length; row++) index.add(xs[row], ys[row]);
  index.finish();
  postMessage(index.data, [index.data]);
}

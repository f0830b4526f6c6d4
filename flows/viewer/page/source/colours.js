// Colours of points: those that classes have, a cycle of hues for others, a ramp for numbers.

export const NOTHING = "#9aa0a8";
const HUES = [
  "#3b7dd8", "#e08a1e", "#2f9e5b", "#d1495b", "#8a63d2", "#1fa3a3", "#c8a415", "#a3577a", "#6b8e23", "#5f6caf",
  "#b5651d", "#4aa3df",
];
// From dark to light in equal steps of lightness, readable without a sense of red and green.
const RAMP = ["#2b2166", "#31478f", "#2a6b9c", "#2a8c96", "#3fab83", "#7fc566", "#c4d95a", "#fdf0a0"];
const STEPS = 32;

export const ofClass = (column, code) => column.colours[code] ?? HUES[code % HUES.length];

const channels = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

function ramp(share) {
  const place = share * (RAMP.length - 1);
  const below = Math.min(Math.floor(place), RAMP.length - 2);
  const [low, high] = [channels(RAMP[below]), channels(RAMP[below + 1])];
  const mixed = low.map((value, index) => Math.round(value + (high[index] - value) * (place - below)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Codes and a palette for the points; numbers in steps, the last colour for nothing. */
export function painted(column) {
  const { values } = column;
  if (column.kind === "class") return { codes: values, palette: column.labels.map((_, code) => ofClass(column, code)) };
  const span = column.high - column.low || 1;
  const codes = Uint8Array.from(values, (value) =>
    Number.isNaN(value) ? STEPS : Math.min(STEPS - 1, Math.floor(((value - column.low) / span) * STEPS)));
  const palette = [...Array.from({ length: STEPS }, (_, step) => ramp(step / (STEPS - 1))), NOTHING];
  return { codes, palette };
}

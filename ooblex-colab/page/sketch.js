// @ts-check
// Draws what was found on the picture that it was found in.

/** @typedef {import("./held.js").Item} Item */
/** @typedef {{ color: string, width: number, opacity: number, labels: boolean, points: boolean }} Style */

/** What the effects call a colour by; other names mean the same to a browser. */
const COLORS = /** @type {Record<string, string>} */ ({ green: "#00ff00", orange: "#ff8000", purple: "#8000ff", pink: "#ff80c0" });
/** From this height on lines are twice as thick. */
const LARGE = 1440;

/**
 * How an effect would have it drawn.
 * @param {{ name: string, default: unknown }[]} parameters of the effect
 * @param {Record<string, unknown>} given what was chosen of them
 * @returns {Style}
 */
export function styleOf(parameters, given) {
  const value = (/** @type {string} */ name) => given[name] ?? parameters.find((parameter) => parameter.name === name)?.default;
  const color = String(value("color") ?? "green").toLowerCase();
  return {
    color: COLORS[color] ?? color,
    width: Number(value("width") ?? 2),
    opacity: Number(value("opacity") ?? 0.4),
    labels: value("score") !== false,
    points: value("landmarks") !== false,
  };
}

/**
 * Confidences of a mask, 0 or 1, from the lengths of its runs.
 * @param {{ width: number, height: number, runs: number[] }} mask
 */
export function unpack({ width, height, runs }) {
  const values = new Uint8Array(width * height);
  let at = 0;
  runs.forEach((length, i) => {
    if (i % 2 === 1) values.fill(1, at, at + length);
    at += length;
  });
  return values;
}

/** A colour for each label where there are several. @param {string} label */
const hue = (label) => [...label].reduce((sum, letter) => (31 * sum + (letter.codePointAt(0) ?? 0)) % 360, 7);

/** Draws in a style of its own. */
export class Sketch {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
  }

  /**
   * @param {CanvasRenderingContext2D} context of a canvas that holds the picture
   * @param {Item[]} items
   * @param {Style} style
   */
  draw(context, items, style) {
    const { width, height } = context.canvas;
    context.save();
    // What has a mask is marked by it alone.
    const [masks, outlined] = [items.filter(({ mask }) => mask), items.filter(({ mask }) => !mask)];
    for (const { label, mask } of masks) {
      if (mask) this.mask(context, mask, masks.length > 1 ? `hsl(${hue(label)} 90% 50%)` : style.color, style.opacity);
    }
    context.lineWidth = style.width * (Math.min(width, height) >= LARGE ? 2 : 1);
    context.strokeStyle = context.fillStyle = style.color;
    for (const { box } of outlined) if (box && isWhole(box)) context.strokeRect(box[0] * width, box[1] * height, box[2] * width, box[3] * height);
    if (style.points) outlined.forEach((item) => dots(context, item, width, height));
    if (style.labels) words(context, outlined, width, height);
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context @param {NonNullable<Item["mask"]>} mask @param {string} color @param {number} opacity */
  mask(context, mask, color, opacity) {
    const { canvas, context: small } = this;
    if (!small) return;
    Object.assign(canvas, { width: mask.width, height: mask.height });
    const image = small.createImageData(mask.width, mask.height);
    unpack(mask).forEach((value, at) => (image.data[4 * at + 3] = 255 * value));
    small.putImageData(image, 0, 0);
    small.globalCompositeOperation = "source-in";
    small.fillStyle = color;
    small.fillRect(0, 0, mask.width, mask.height);
    context.globalAlpha = opacity;
    context.drawImage(canvas, 0, 0, context.canvas.width, context.canvas.height);
    context.globalAlpha = 1;
  }
}

/** @param {(number | null)[]} numbers those that the server does not know are null */
const isWhole = (numbers) => numbers.every((number) => number !== null);

/** @param {CanvasRenderingContext2D} context @param {Item} item @param {number} width @param {number} height */
function dots(context, { points, point_scores }, width, height) {
  const radius = Math.max(1.5, Math.min(width, height) / 240);
  points.forEach((point, i) => {
    if (point_scores?.[i] === 0 || !isWhole(point)) return;
    context.beginPath();
    context.arc(point[0] * width, point[1] * height, radius, 0, 2 * Math.PI);
    context.fill();
  });
}

/** @param {CanvasRenderingContext2D} context @param {Item[]} items @param {number} width @param {number} height */
function words(context, items, width, height) {
  const size = Math.max(12, Math.round(Math.min(width, height) / 30));
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  let row = 0;
  for (const { kind, label, score, box } of items) {
    if (kind !== "label" && !box) continue;
    const text = `${label} ${score.toFixed(2)}`;
    // Above its box, or inside where there is no room; what is said of the whole picture in the corner.
    const [x, above] = box && isWhole(box) ? [box[0] * width, box[1] * height - 1.3 * size] : [0, 1.3 * size * row++];
    const y = above < 0 ? above + 1.3 * size : above;
    context.fillRect(x, y, context.measureText(text).width + 8, 1.3 * size);
    const { fillStyle } = context;
    context.fillStyle = "#000";
    context.fillText(text, x + 4, y + 0.15 * size);
    context.fillStyle = fillStyle;
  }
}

// @ts-check
// Draws what was found on the picture that it was found in.

/** @typedef {import("./held.js").Item} Item */
/** @typedef {{ lines: number[][], points: boolean }} Figure lines between points by their numbers, and whether points are drawn, too */
/** @typedef {{ color: string, width: number, opacity: number, labels: boolean, points: boolean, lines: number[][] }} Style */

/** What the effects call a colour by; other names mean the same to a browser. */
const COLORS = /** @type {Record<string, string>} */ ({ green: "#00ff00", orange: "#ff8000", purple: "#8000ff", pink: "#ff80c0" });
/** From this height on lines are twice as thick. */
const LARGE = 1440;
/** Lines between points are at most this thick, in their mean length. */
const THICKNESS = 1 / 6;

/**
 * How an effect would have it drawn.
 * @param {{ name: string, default: unknown }[]} parameters of the effect
 * @param {Record<string, unknown>} given what was chosen of them
 * @param {Figure | null} [figure] what it draws of points unless told otherwise; null for points alone
 * @returns {Style}
 */
export function styleOf(parameters, given, figure = null) {
  const value = (/** @type {string} */ name) => given[name] ?? parameters.find((parameter) => parameter.name === name)?.default;
  const drawn = value("style") === "points" ? null : figure;
  const color = String(value("color") ?? "green").toLowerCase();
  return {
    color: COLORS[color] ?? color,
    width: Number(value("width") ?? 2),
    opacity: Number(value("opacity") ?? 0.4),
    labels: value("score") !== false,
    points: value("landmarks") !== false && (drawn?.points ?? true),
    lines: drawn?.lines ?? [],
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

/** Draws in the styles of whoever found what is drawn. */
export class Sketch {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
  }

  /**
   * @param {CanvasRenderingContext2D} context of a canvas that holds the picture
   * @param {Item[]} items
   * @param {(model: string) => Style} styleFor
   */
  draw(context, items, styleFor) {
    const { width, height } = context.canvas;
    context.save();
    // What has a mask is marked by it alone.
    const [masks, outlined] = [items.filter(({ mask }) => mask), items.filter(({ mask }) => !mask)];
    for (const { label, mask, model } of masks) {
      const { color, opacity } = styleFor(model);
      if (mask) this.mask(context, mask, masks.length > 1 ? `hsl(${hue(label)} 90% 50%)` : color, opacity);
    }
    const styled = outlined.map((item) => ({ item, style: styleFor(item.model) }));
    for (const { item, style } of styled) {
      context.strokeStyle = context.fillStyle = style.color;
      context.lineWidth = style.width * (Math.min(width, height) >= LARGE ? 2 : 1);
      const { box } = item;
      if (box && isWhole(box)) context.strokeRect(box[0] * width, box[1] * height, box[2] * width, box[3] * height);
      lines(context, item, style.lines, width, height);
      if (style.points) dots(context, item, width, height);
    }
    words(context, styled.filter(({ style }) => style.labels), width, height);
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

/** Whether a point was found. @param {Item} item @param {number} i */
const isFound = ({ points, point_scores }, i) => i < points.length && point_scores?.[i] !== 0 && isWhole(points[i]);

/**
 * Lines between the points that were found, as thick as the context says, or less where they would fill a small figure.
 * @param {CanvasRenderingContext2D} context
 * @param {Item} item
 * @param {number[][]} between
 * @param {number} width
 * @param {number} height
 */
function lines(context, item, between, width, height) {
  const found = between.filter((ends) => ends.every((end) => isFound(item, end)));
  if (found.length === 0) return;
  let length = 0;
  context.beginPath();
  for (const [from, to] of found.map((ends) => ends.map((end) => [item.points[end][0] * width, item.points[end][1] * height]))) {
    context.moveTo(from[0], from[1]);
    context.lineTo(to[0], to[1]);
    length += Math.hypot(to[0] - from[0], to[1] - from[1]);
  }
  const perPoint = Math.max(1, found.length / item.points.length);
  context.lineWidth = Math.min(context.lineWidth, (THICKNESS * length) / found.length / perPoint);
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {Item} item @param {number} width @param {number} height */
function dots(context, item, width, height) {
  const radius = Math.max(1.5, Math.min(width, height) / 240);
  item.points.forEach((point, i) => {
    if (!isFound(item, i)) return;
    context.beginPath();
    context.arc(point[0] * width, point[1] * height, radius, 0, 2 * Math.PI);
    context.fill();
  });
}

/** @param {CanvasRenderingContext2D} context @param {{ item: Item, style: Style }[]} styled @param {number} width @param {number} height */
function words(context, styled, width, height) {
  const size = Math.max(12, Math.round(Math.min(width, height) / 30));
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  let row = 0;
  for (const { item: { kind, label, score, box }, style } of styled) {
    if (kind !== "label" && !box) continue;
    const text = `${label} ${score.toFixed(2)}`;
    // Above its box, or inside where there is no room; what is said of the whole picture in the corner.
    const [x, above] = box && isWhole(box) ? [box[0] * width, box[1] * height - 1.3 * size] : [0, 1.3 * size * row++];
    const y = above < 0 ? above + 1.3 * size : above;
    context.fillStyle = style.color;
    context.fillRect(x, y, context.measureText(text).width + 8, 1.3 * size);
    context.fillStyle = "#000";
    context.fillText(text, x + 4, y + 0.15 * size);
  }
}

// @ts-check
// QR codes after ISO/IEC 18004: byte mode, error correction level M, versions 1 to 10, which is up to 213 bytes.

/**
 * Blocks of level M by version (table 9): correcting bytes of a block, then how many blocks there are of which number
 * of data bytes.
 * @type {[number, [number, number][]][]}
 */
const BLOCKS = [
  [10, [[1, 16]]], [16, [[1, 28]]], [26, [[1, 44]]], [18, [[2, 32]]], [24, [[2, 43]]],
  [16, [[4, 27]]], [18, [[4, 31]]], [22, [[2, 38], [2, 39]]], [22, [[3, 36], [2, 37]]], [26, [[4, 43], [1, 44]]],
];

/** Centres of the alignment patterns by version (annex E). */
const ALIGNED = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];

/** Masks (table 10): which data modules are inverted. */
const MASKS = /** @type {((x: number, y: number) => boolean)[]} */ ([
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
]);

/** Product in GF(256) modulo x^8 + x^4 + x^3 + x^2 + 1. @param {number} a @param {number} b */
function times(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) {
    product = (product << 1) ^ (product & 0x80 ? 0x11d : 0);
    if ((b >> bit) & 1) product ^= a;
  }
  return product & 0xff;
}

/**
 * Reed-Solomon bytes for data.
 * @param {number[]} data
 * @param {number} count
 */
export function correction(data, count) {
  let generator = [1];
  for (let i = 0, root = 1; i < count; i += 1, root = times(root, 2)) {
    const grown = [...generator, 0];
    generator.forEach((factor, at) => (grown[at + 1] ^= times(factor, root)));
    generator = grown;
  }
  const rest = new Array(count).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    for (let i = 0; i < count; i += 1) rest[i] ^= times(generator[i + 1], factor);
  }
  return rest;
}

/** Bits of a number, the highest first. @param {number} value @param {number} count */
const bitsOf = (value, count) => Array.from({ length: count }, (_, i) => (value >> (count - 1 - i)) & 1);

/** A number with the remainder of its division behind it (BCH). @param {number} value @param {number} generator @param {number} count */
function withRemainder(value, generator, count) {
  let rest = value;
  for (let i = 0; i < count; i += 1) rest = (rest << 1) ^ ((rest >> (count - 1)) & 1 ? generator : 0);
  return (value << count) | (rest & ((1 << count) - 1));
}

/** Data and correction in the order in which they are placed. @param {Uint8Array} text @param {number} version */
function codewords(text, version) {
  const [perBlock, groups] = BLOCKS[version - 1];
  const room = groups.reduce((sum, [count, size]) => sum + count * size, 0);
  const bits = [0, 1, 0, 0, ...bitsOf(text.length, version < 10 ? 8 : 16), ...[...text].flatMap((byte) => bitsOf(byte, 8))];
  bits.push(...new Array(Math.min(4, room * 8 - bits.length)).fill(0));
  while (bits.length % 8 !== 0) bits.push(0);
  /** @type {number[]} */
  const data = [];
  for (let i = 0; i < bits.length; i += 8) data.push(parseInt(bits.slice(i, i + 8).join(""), 2));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  const blocks = groups.flatMap(([count, size]) => Array.from({ length: count }, () => data.splice(0, size)));
  const corrections = blocks.map((block) => correction(block, perBlock));
  /** @type {(lists: number[][]) => number[]} */
  const interleave = (lists) =>
    Array.from({ length: Math.max(...lists.map((l) => l.length)) }, (_, i) => lists.flatMap((l) => l.slice(i, i + 1))).flat();
  return [...interleave(blocks), ...interleave(corrections)];
}

/** The modules of one symbol: null where data goes. */
class Symbol {
  /** @param {number} version */
  constructor(version) {
    this.version = version;
    this.size = 17 + 4 * version;
    /** @type {(number | null)[][]} */
    this.rows = Array.from({ length: this.size }, () => new Array(this.size).fill(null));
    const last = this.size - 1;
    for (const [x, y] of [[3, 3], [last - 3, 3], [3, last - 3]]) this.finder(x, y);
    const centres = ALIGNED[version - 1];
    for (const y of centres) for (const x of centres) if (this.rows[y][x] === null) this.square(x, y, [1, 0, 1]);
    for (let i = 8; i < this.size - 8; i += 1) {
      this.rows[6][i] = 1 - (i % 2);
      this.rows[i][6] = 1 - (i % 2);
    }
    this.rows[last - 7][8] = 1;
    this.format(0);
    if (version >= 7) {
      const bits = bitsOf(withRemainder(version, 0x1f25, 12), 18).reverse();
      bits.forEach((bit, i) => {
        const [a, b] = [Math.floor(i / 3), this.size - 11 + (i % 3)];
        this.rows[a][b] = bit;
        this.rows[b][a] = bit;
      });
    }
  }

  /** Rings around a centre. @param {number} x @param {number} y @param {number[]} rings from the middle */
  square(x, y, rings) {
    const reach = rings.length - 1;
    for (let dy = -reach; dy <= reach; dy += 1) {
      for (let dx = -reach; dx <= reach; dx += 1) {
        const inside = this.rows[y + dy]?.[x + dx] !== undefined;
        if (inside) this.rows[y + dy][x + dx] = rings[Math.max(Math.abs(dx), Math.abs(dy))];
      }
    }
  }

  /** @param {number} x @param {number} y */
  finder(x, y) {
    this.square(x, y, [1, 1, 0, 1, 0]);
  }

  /** Level and mask, twice. @param {number} mask */
  format(mask) {
    // Level M is 00; the pattern keeps the bits from being all 0.
    const bits = bitsOf(withRemainder(mask, 0x537, 10) ^ 0x5412, 15).reverse();
    const last = this.size - 1;
    bits.forEach((bit, i) => {
      this.rows[i < 6 ? i : i < 8 ? i + 1 : last - 14 + i][8] = bit;
      this.rows[8][i < 8 ? last - i : i < 9 ? 7 : 14 - i] = bit;
    });
  }

  /** Fills the data in, column pairs from the right, up and down in turn. @param {number[]} bytes @param {number} mask */
  place(bytes, mask) {
    const bits = bytes.flatMap((byte) => bitsOf(byte, 8));
    let at = 0;
    for (let right = this.size - 1, up = true; right > 0; right -= 2, up = !up) {
      if (right === 6) right = 5;
      for (let step = 0; step < this.size; step += 1) {
        const y = up ? this.size - 1 - step : step;
        for (const x of [right, right - 1]) {
          if (this.rows[y][x] !== null) continue;
          this.rows[y][x] = (bits[at] ?? 0) ^ Number(MASKS[mask](x, y));
          at += 1;
        }
      }
    }
    this.format(mask);
    return /** @type {number[][]} */ (this.rows);
  }
}

/** How hard modules are to read (section 7.8.3). @param {number[][]} rows */
function penalty(rows) {
  const size = rows.length;
  const columns = rows.map((_, x) => rows.map((row) => row[x]));
  let points = 0;
  for (const line of [...rows, ...columns]) {
    const text = line.join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) points += run.length - 2;
    for (const pattern of ["10111010000", "00001011101"]) {
      for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) points += 40;
    }
  }
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) {
      const sum = rows[y][x] + rows[y - 1][x] + rows[y][x - 1] + rows[y - 1][x - 1];
      if (sum % 4 === 0) points += 3;
    }
  }
  const dark = rows.flat().reduce((sum, bit) => sum + bit, 0) / (size * size);
  return points + 10 * Math.floor(Math.abs(dark - 0.5) * 20);
}

/**
 * The modules of a QR code, rows of 0 and 1 without the quiet zone, which has to be 4 modules wide.
 * @param {string} text
 * @param {number} [mask] the one that is easiest to read if not given
 */
export function encode(text, mask) {
  const bytes = new TextEncoder().encode(text);
  const fits = BLOCKS.findIndex(([, groups], i) => {
    const room = groups.reduce((sum, [count, size]) => sum + count * size, 0);
    return bytes.length + (i < 9 ? 2 : 3) <= room;
  });
  if (fits < 0) throw new RangeError(`a QR code of version 10 takes 213 bytes, not ${bytes.length}`);
  const version = fits + 1;
  const data = codewords(bytes, version);
  const masks = mask === undefined ? MASKS.map((_, i) => i) : [mask];
  const codes = masks.map((m) => new Symbol(version).place(data, m));
  const points = codes.map(penalty);
  return codes[points.indexOf(Math.min(...points))];
}

/**
 * A path for an SVG of `0 0 size size`, quiet zone included.
 * @param {number[][]} rows
 */
export function toPath(rows) {
  const squares = rows.flatMap((row, y) => row.flatMap((bit, x) => (bit ? [`M${x + 4} ${y + 4}h1v1h-1z`] : [])));
  return { size: rows.length + 8, path: squares.join("") };
}

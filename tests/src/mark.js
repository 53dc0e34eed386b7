// The counterpart of mark.rs: reads the mark of an image that the browser shows.
function pixelsOf(image) {
  const width = image.naturalWidth || image.videoWidth || image.width;
  const height = image.naturalHeight || image.videoHeight || image.height;
  if (!width || !height) return null;
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  try {
    context.drawImage(image, 0, 0);
  } catch {
    return null; // A broken image.
  }
  return context.getImageData(0, 0, width, height);
}

// How colourful the lower half is: the mean distance of the largest and the smallest channel of a pixel.
function colourOf(image) {
  const { width, height, data } = pixelsOf(image) ?? { width: 0 };
  if (!width) return null;
  let colour = 0, pixels = 0;
  for (let i = 4 * Math.floor(height / 2) * width; i < data.length; i += 4) {
    colour += Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]);
    pixels++;
  }
  return colour / pixels;
}

function readMark(image) {
  const { width, height, data } = pixelsOf(image) ?? { width: 0 };
  if (!width) return null;
  let bits = 0n;
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 16; column++) {
      const x0 = Math.floor((column * width) / 16), x1 = Math.floor(((column + 1) * width) / 16);
      const y0 = Math.floor((row * height) / 12), y1 = Math.floor(((row + 1) * height) / 12);
      const dx = Math.floor((x1 - x0) / 4), dy = Math.floor((y1 - y0) / 4);
      let sum = 0, count = 0;
      for (let y = y0 + dy; y < y1 - dy; y++) {
        for (let x = x0 + dx; x < x1 - dx; x++) {
          const i = 4 * (y * width + x);
          sum += 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
          count++;
        }
      }
      bits = (bits << 1n) | (sum >= 128 * count ? 1n : 0n);
    }
  }
  const byte = (n) => Number((bits >> BigInt(8 * (5 - n))) & 255n);
  const rotate = (value, by) => ((value << by) | (value >> (8 - by))) & 255;
  const [sync, id, high, middle, low, checked] = [0, 1, 2, 3, 4, 5].map(byte);
  const check = ((id * 3) & 255) ^ rotate(high, 1) ^ rotate(middle, 3) ^ rotate(low, 5) ^ 0x5a;
  if (sync !== 0b10110010 || checked !== check) return null;
  return { id, counter: (high << 16) | (middle << 8) | low, width, height };
}

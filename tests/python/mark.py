"""Draws and reads the marks of marked pictures: the counterpart of tests/src/mark.rs, which documents the coding."""

import numpy as np

SYNC = 0b1011_0010
COLOURS = [(200, 60, 40), (40, 160, 60), (50, 80, 200), (190, 170, 40), (160, 50, 170)]
BOX = (240, 240, 220)


def _rotate(value, by):
    return (value << by | value >> (8 - by)) & 255


def _check(publisher, high, middle, low):
    return publisher * 3 & 255 ^ _rotate(high, 1) ^ _rotate(middle, 3) ^ _rotate(low, 5) ^ 0x5A


def _yuv(colour):
    """Limited-range BT.601 as ITU-R BT.601 has it."""
    r, g, b = colour
    return (
        round(16 + 0.2568 * r + 0.5041 * g + 0.0979 * b),
        round(128 - 0.1482 * r - 0.2910 * g + 0.4392 * b),
        round(128 + 0.4392 * r - 0.3678 * g - 0.0714 * b),
    )


def draw(publisher, counter, width, height):
    """A marked picture as I420, limited range: an array of height * 3 // 2 rows of width samples, both even."""
    luma = np.empty((height, width), np.uint8)
    chroma = np.empty((2, height // 2, width // 2), np.uint8)
    luma[:], chroma[0], chroma[1] = _yuv(COLOURS[publisher % 5])
    high, middle, low = counter.to_bytes(3, "big")
    bits = int.from_bytes([SYNC, publisher, high, middle, low, _check(publisher, high, middle, low)], "big")
    for row in range(3):
        y0, y1 = row * height // 12, (row + 1) * height // 12
        for column in range(16):
            white = bits >> (47 - row * 16 - column) & 1
            luma[y0:y1, column * width // 16 : (column + 1) * width // 16] = 235 if white else 16
    chroma[:, : height // 8] = 128
    side = height // 6
    x, y = counter * 3 % (width - side), height * 5 // 8
    luma[y : y + side, x : x + side], u, v = _yuv(BOX)
    box = (slice(y // 2, (y + side) // 2), slice(x // 2, (x + side) // 2))
    chroma[0][box], chroma[1][box] = u, v
    return np.concatenate([luma.reshape(-1), chroma.reshape(-1)]).reshape(height * 3 // 2, width)


def read(luma):
    """(publisher, counter) of a full-range luma plane of shape HxW, or None without a whole mark."""
    height, width = luma.shape
    bits = 0
    for row in range(3):
        for column in range(16):
            x0, x1 = column * width // 16, (column + 1) * width // 16
            y0, y1 = row * height // 12, (row + 1) * height // 12
            dx, dy = (x1 - x0) // 4, (y1 - y0) // 4
            cell = luma[y0 + dy : y1 - dy, x0 + dx : x1 - dx]
            bits = bits << 1 | int(np.mean(cell) >= 128)
    sync, publisher, high, middle, low, checked = bits.to_bytes(6, "big")
    if sync != SYNC or checked != _check(publisher, high, middle, low):
        return None
    return publisher, high << 16 | middle << 8 | low

"""Reference effects in OpenCV, shared by the golden maker and the benchmark.

Every function takes an 8-bit BGR picture (height, width, 3) and returns one, or a luma plane
(height, width) where the effect has no colour. They are the formulas the Rust effects are held to.
"""

import cv2
import numpy as np

EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
SHARPEN = np.array([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]], np.float32)
# Rows and columns in BGR order, so that the red weight meets the red channel.
SEPIA = np.array(
    [[0.131, 0.534, 0.272], [0.168, 0.686, 0.349], [0.189, 0.769, 0.393]], np.float32
)
GRAIN_TABLE = 1 << 14
GRAIN_SIGMA = 25


def gray(bgr):
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)


def edge_detection(luma, low=100, high=200, dst=None):
    return cv2.Canny(luma, low, high, edges=dst)


def cartoon(bgr):
    luma = cv2.medianBlur(gray(bgr), 5)
    edges = cv2.adaptiveThreshold(
        luma, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 9
    )
    color = cv2.bilateralFilter(bgr, 9, 300, 300)
    return cv2.bitwise_and(color, color, mask=edges)


def grayscale(bgr, dst=None):
    return cv2.cvtColor(gray(bgr), cv2.COLOR_GRAY2BGR, dst=dst)


def sepia(bgr, dst=None):
    return cv2.transform(bgr, SEPIA, dst=dst)


def blur(bgr, size=21, dst=None):
    return cv2.GaussianBlur(bgr, (size, size), 0, dst=dst)


def pixelate(bgr, block=10):
    """Mean of each block (INTER_AREA); blocks cut by the border keep their own mean."""
    out = np.empty_like(bgr)
    height, width = bgr.shape[:2]
    for y in range(0, height, block):
        for x in range(0, width, block):
            tile = bgr[y : y + block, x : x + block]
            out[y : y + block, x : x + block] = cv2.resize(
                tile, (1, 1), interpolation=cv2.INTER_AREA
            )
    return out


def pixelate_fast(bgr, block=10):
    """What a user of OpenCV writes, for the benchmark: shrink, then enlarge."""
    height, width = bgr.shape[:2]
    small = cv2.resize(bgr, (width // block, height // block), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def invert(bgr, dst=None):
    return cv2.bitwise_not(bgr, dst=dst)


def mirror(bgr, dst=None):
    return cv2.flip(bgr, 1, dst=dst)


def emboss(bgr, dst=None):
    """The plan's kernel with the offset inside the filter, so that it saturates instead of wrapping."""
    return cv2.filter2D(bgr, -1, EMBOSS, delta=128, dst=dst)


def sharpen(bgr, dst=None):
    return cv2.filter2D(bgr, -1, SHARPEN, dst=dst)


def sketch(luma):
    blurred = cv2.GaussianBlur(255 - luma, (21, 21), 0)
    return cv2.divide(luma, 255 - blurred, scale=256)


def mix(value):
    """splitmix64's finaliser, the integer hash behind the film grain."""
    mask = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def grain_table(seed=0):
    """Near-normal noise of standard deviation 25: sums of eight uniform bytes of one hash each."""
    out = np.empty(GRAIN_TABLE, np.int64)
    # The sum of 8 bytes has variance 8 * (256**2 - 1) / 12.
    scale = GRAIN_SIGMA / np.sqrt(8 * (256**2 - 1) / 12)
    for i in range(GRAIN_TABLE):
        word = mix((seed << 32) + i)
        total = sum((word >> shift) & 255 for shift in range(0, 64, 8))
        out[i] = int(np.floor((total - 1020) * scale + 0.5))
    return np.clip(out, -127, 127)


def grain(height, width, seed=0, sequence=0):
    table = grain_table(seed)
    out = np.empty((height, width), np.int16)
    for y in range(height):
        start = mix((sequence << 20) ^ y ^ (seed << 44)) % GRAIN_TABLE
        out[y] = table[(start + np.arange(width)) % GRAIN_TABLE]
    return out


def vintage(bgr, noise=None):
    """Seeded grain added with saturation, Gaussian vignette, warm colour shift."""
    height, width = bgr.shape[:2]
    if noise is None:
        noise = grain(height, width)
    grainy = cv2.add(bgr, cv2.merge([noise] * 3), dtype=cv2.CV_8U)
    kernel_x = cv2.getGaussianKernel(width, width / 2)
    kernel_y = cv2.getGaussianKernel(height, height / 2)
    mask = (kernel_y / kernel_y.max()) * (kernel_x / kernel_x.max()).T
    shaded = grainy * mask[..., None] * np.array([0.7, 0.9, 1.1])
    return np.clip(np.rint(shaded), 0, 255).astype(np.uint8)


def denoise(bgr):
    return cv2.fastNlMeansDenoisingColored(bgr, None, 10, 10, 7, 21)

"""Draws images/icon.png: four lines of verse, the last one half written, its rest a ghost behind the cursor.

python editors/vscode/scripts/icon.py
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SIZE, FINE = 256, 4
Colour = tuple[float, float, float]
GROUND, FIRST, SECOND, GHOST, CARET = (27, 35, 51), (122, 162, 247), (158, 206, 106), (74, 92, 80), (240, 240, 245)
# left, top, right, bottom, corner radius, colour; in pixels of a 256 pixel square
SHAPES: tuple[tuple[float, float, float, float, float, Colour], ...] = (
    (0, 0, 256, 256, 52, GROUND),
    (48, 56, 208, 78, 11, FIRST),
    (48, 98, 176, 120, 11, SECOND),
    (48, 140, 208, 162, 11, FIRST),
    (48, 182, 104, 204, 11, SECOND),
    (128, 182, 192, 204, 11, GHOST),
    (112, 174, 118, 212, 3, CARET),
)


def inside(x: float, y: float, shape: tuple[float, float, float, float, float, Colour]) -> bool:
    """Whether a point lies in a rounded rectangle."""
    left, top, right, bottom, radius, _ = shape
    if not (left <= x <= right and top <= y <= bottom):
        return False
    dx = max(left + radius - x, x - right + radius, 0)
    dy = max(top + radius - y, y - bottom + radius, 0)
    return dx * dx + dy * dy <= radius * radius


def pixel(column: int, row: int) -> bytes:
    """One RGBA pixel, the mean of FINE x FINE points."""
    red = green = blue = hits = 0.0
    for point in range(FINE * FINE):
        x, y = column + (point % FINE + 0.5) / FINE, row + (point // FINE + 0.5) / FINE
        over = [shape[5] for shape in SHAPES if inside(x, y, shape)]
        if over:
            red, green, blue, hits = red + over[-1][0], green + over[-1][1], blue + over[-1][2], hits + 1
    if not hits:
        return bytes(4)
    return bytes(round(v) for v in (red / hits, green / hits, blue / hits, 255 * hits / FINE**2))


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def main() -> None:
    """Write the file."""
    rows = b"".join(b"\0" + b"".join(pixel(column, row) for column in range(SIZE)) for row in range(SIZE))
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    target = Path(__file__).resolve().parent.parent / "images" / "icon.png"
    target.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


if __name__ == "__main__":
    main()

"""Encoded pictures as they came from elsewhere: what they are, told from their first bytes, without decoding them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LARGEST", "MOST_PIXELS", "PictureFile", "picture_file"]

LARGEST = 16 << 20
"""Bytes of an encoded picture that is kept."""
MOST_PIXELS = 40_000_000
"""Pixels that a picture may claim: decoding it takes four bytes for each."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG file that begin a frame, which has the size."""


class PictureFile(NamedTuple):
    """Type and size of an encoded picture."""

    mime: str
    width: int
    height: int


def picture_file(data: bytes) -> PictureFile | None:
    """What ``data`` is, if a PNG, JPEG, GIF or WebP file of a size that can be shown; else None.

    SVG and everything else that can hold more than pixels is none.
    """
    if not 16 < len(data) <= LARGEST:
        return None
    found = _png(data) or _gif(data) or _webp(data) or _jpeg(data)
    if found is None or min(found.width, found.height) < 1 or found.width * found.height > MOST_PIXELS:
        return None
    return found


def _png(data: bytes) -> PictureFile | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return PictureFile("image/png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _gif(data: bytes) -> PictureFile | None:
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        return None
    return PictureFile("image/gif", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))


def _webp(data: bytes) -> PictureFile | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        size = (1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        size = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    elif kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        size = (int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF)
    else:
        return None
    return PictureFile("image/webp", *size)


def _jpeg(data: bytes) -> PictureFile | None:
    if data[:3] != b"\xff\xd8\xff":
        return None
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in FRAMES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return PictureFile("image/jpeg", width, height)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None

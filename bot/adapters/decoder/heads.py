"""What the first bytes of a file tell that FFmpeg would not."""

from __future__ import annotations

import struct

HEAD_BYTES = 1 << 16
PLACEHOLDER_BYTES = 0x7FFF0000
"""Sound that is written to a pipe has its size filled in at once, with the largest number of 31 or 32 bits."""

_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cJXL ")

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_ENCRYPTION = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),  # ASF_Content_Encryption_Object
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),  # ASF_Extended_Content_Encryption_Object
)

_MATROSKA = bytes.fromhex("1a45dfa3")
_MATROSKA_CLUSTER = bytes.fromhex("1f43b675")
_MATROSKA_ENCRYPTION = (bytes.fromhex("50338101"), bytes.fromhex("5035"))
"""ContentEncodingType is 1, encryption; and a ContentEncryption (RFC 9559, 5.1.4.1.31)."""

_MP3_FRAME_COUNTS = (b"Xing", b"Info", b"VBRI")
_MP3_TAG_HEADER_BYTES = 10


def is_picture(head: bytes) -> bool:
    """Whether a still picture begins like this."""
    return head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def is_protected_asf(head: bytes) -> bool:
    """Whether this is Windows Media with digital rights management.

    The GUIDs are those of sections 3.14 and 3.15 of Microsoft's "Advanced Systems Format (ASF) Specification",
    revision 01.20.03.
    """
    return head.startswith(_ASF_HEADER) and any(guid in head for guid in _ASF_ENCRYPTION)


def is_protected_matroska(head: bytes) -> bool:
    """Whether a track of a Matroska or WebM file is encrypted; what the tracks are stands before the first cluster."""
    description, _, _ = head.partition(_MATROSKA_CLUSTER)
    return head.startswith(_MATROSKA) and all(element in description for element in _MATROSKA_ENCRYPTION)


def mp3_frames_begin(head: bytes) -> int:
    """Offset of the first frame: behind the ID3v2 tag, if it has one (https://id3.org/id3v2.4.0-structure, 3.1)."""
    if head[:3] != b"ID3" or len(head) < _MP3_TAG_HEADER_BYTES:
        return 0
    size = 0
    for byte in head[6:10]:  # "synchsafe": seven bits of each
        size = size << 7 | byte & 0x7F
    return _MP3_TAG_HEADER_BYTES + size


def mp3_counts_its_frames(first_frame: bytes) -> bool:
    """Whether an MP3 file says how long it is, rather than leaving it to be guessed from its size."""
    return any(tag in first_frame for tag in _MP3_FRAME_COUNTS)


def wav_promise_s(head: bytes) -> float | None:
    """Seconds of uncompressed sound that a WAV file's own header claims; FFmpeg reduces them to what it finds.

    None for no such file, and where a program that wrote to a pipe could not know the size.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    bytes_per_s = 0
    position = 12
    while position + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"fmt " and position + 12 <= len(head):
            (bytes_per_s,) = struct.unpack_from("<I", head, position + 8)
        if name == b"data":
            return size / bytes_per_s if bytes_per_s and 0 < size < PLACEHOLDER_BYTES else None
        position += size + size % 2
    return None

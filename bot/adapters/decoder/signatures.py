"""What the first bytes of a file tell that FFmpeg would not."""

from __future__ import annotations

HEAD_BYTES = 1 << 16

_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cJXL ")

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_ENCRYPTION = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),  # ASF_Content_Encryption_Object
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),  # ASF_Extended_Content_Encryption_Object
)

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

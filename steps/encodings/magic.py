"""What files begin with, where several formats have to tell by it; light, as recognition imports it for every file.

What does not belong here: anything that reads further than a file's head.
"""

from typing import Final

#: A ZIP archive's first local header (APPNOTE 4.3.7).
ZIP: Final = b"PK\x03\x04"
#: PROTO, with which pickles of protocol 2 and later begin.
PICKLE: Final = b"\x80"
#: What ``torch.save`` wrote before 1.6: a pickle of ``MAGIC_NUMBER`` of ``torch/serialization.py``.
LEGACY_TORCH: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
#: zlib, gzip, bzip2, xz, LZMA, LZ4 and joblib's own of old: what joblib may compress with.
JOBLIB_COMPRESSED: Final = (b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x04\x22\x4d\x18", b"ZF0x")

#: Where an estimator's class stands at the latest: behind PROTO, FRAME and, in protocol 0, the reconstructor.
_FIRST_GLOBAL_BYTES: Final = 64


def begins_with_estimator(head: bytes) -> bool:
    """Tell from the beginning of a pickle whether its first global is a class of scikit-learn's."""
    # A dictionary or a module that merely contains an estimator names others before.
    return 0 <= head.find(b"sklearn") < _FIRST_GLOBAL_BYTES

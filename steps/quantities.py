"""Amounts as Kubernetes writes them (``k8s.io/apimachinery/pkg/api/resource``).

What does not belong here: how much anything takes.
"""

from typing import Final

_MIB: Final = 1 << 20


def mebibytes(size: int) -> str:
    """Return bytes as a quantity, in whole MiB rounded up.

    >>> mebibytes(1)
    '1Mi'
    """
    return f"{-(-size // _MIB)}Mi"

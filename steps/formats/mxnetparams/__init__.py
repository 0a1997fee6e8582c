"""MXNetParams: a symbol file (``PREFIX-symbol.json``) and a file of arrays (``PREFIX-0000.params``).

Recognition only; `reader` reads. Several epochs of one prefix compete, for a package holds exactly one ``.params``.
"""

import re
from typing import Final

from klever.steps.errors import MissingFilesError
from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.signature import Signature

#: ``kMXAPINDArrayListMagic`` of MXNet's ``src/ndarray/ndarray.cc`` with the eight reserved bytes after it.
_MAGIC: Final = (0x112).to_bytes(8, "little") + bytes(8)
#: MXNet 2 saved NumPy archives; the reader refuses them in words of its own.
_ARCHIVE: Final = b"PK\3\4"
#: nnvm writes nodes first; other writers of JSON may sort.
_SYMBOL: Final = re.compile(rb'\A\s*\{\s*"(nodes|arg_nodes|attrs|heads|node_row_ptr)"\s*:')
_PARAMS_NAME: Final = re.compile(r"(?P<prefix>.+?)(-\d{4,})?\.params")
_SYMBOL_SUFFIX: Final = "symbol.json"


class MXNetParams(Format):
    """MXNet's pair of symbol and arrays."""

    id = "MXNetParams"
    framework = "MXNet"
    needs = "one *symbol.json, one *.params"
    open_sizes = True

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim a symbol file and a file of arrays by content, the lack of one of them included."""
        symbols = [path for path in files.sizes if "/" not in path and path.endswith(_SYMBOL_SUFFIX)]
        params = [path for path in files.sizes if "/" not in path and path.endswith(".params")]
        graphs = [path for path in symbols if _SYMBOL.match(files.head(path))]
        lists = [path for path in params if files.head(path).startswith(_MAGIC)]
        archives = [path for path in params if files.head(path).startswith(_ARCHIVE)]
        # Bytes that are something else disprove the name; an empty or torn file does not.
        symbols = graphs or [path for path in symbols if files.head(path).lstrip()[:1] in (b"", b"{")]
        params = lists or [path for path in params if _MAGIC.startswith(files.head(path)[:16])]
        if graphs and not params:
            params = archives
        if not (symbols or params):
            return None
        missing = [] if symbols else ["one *symbol.json"]
        if not params:
            missing.append("one *.params")
        competing = tuple(symbols if len(symbols) > 1 else ()) + tuple(params if len(params) > 1 else ())
        return Claim(
            evidence=Evidence.CONTENT if graphs or lists else Evidence.NAME,
            files=(*symbols[:1], *params[:1]),
            missing=tuple(missing),
            competing=competing,
        )

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return the file of the same prefix that a bare one lacks."""
        if name.endswith(_SYMBOL_SUFFIX):
            prefix = name.removesuffix(_SYMBOL_SUFFIX).rstrip("-_")
            return tuple(
                sorted(
                    each for each in siblings if (match := _PARAMS_NAME.fullmatch(each)) and match["prefix"] == prefix
                )
            )
        if match := _PARAMS_NAME.fullmatch(name):
            names = (f"{match['prefix']}{separator}{_SYMBOL_SUFFIX}" for separator in ("-", "_", ""))
            return tuple(each for each in names if each in siblings)
        return ()

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the graph, and of the arrays their names, types and shapes."""
        from klever.steps.formats.mxnetparams.reader import read_model

        if len(claim.files) != 2:
            raise MissingFilesError("an MXNet model is two files", missing=claim.missing)
        symbol, params = claim.files
        return read_model(files, symbol, params, author)


FORMAT = MXNetParams()

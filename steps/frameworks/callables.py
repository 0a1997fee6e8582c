"""What the globals that a pickle names would do: a judgement by name, since nothing is imported.

A pickle is code: unpickling calls whatever it names. The names of containers, arrays, tensors and estimators are
known to build values only; some are known for running commands; of all others nothing can be said, and that is
said. What does not belong here: the reading of opcodes.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from klever.steps.errors import printable

if TYPE_CHECKING:
    from klever.steps.encodings.pickle import Global


class Risk(IntEnum):
    """What importing and calling a global means for whoever unpickles."""

    KNOWN = 0
    UNKNOWN = 1
    DANGEROUS = 2


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _names(table: dict[str, str]) -> frozenset[str]:
    """Return ``module.name`` for each module and name of a row."""
    return frozenset(
        f"{module}.{name}" for modules, names in table.items() for module in modules.split() for name in names.split()
    )


#: Modules of which functions that a pickle could call run commands, load code or reach files and the network.
_DANGEROUS_MODULES: Final = _words("""
    asyncio bdb code codeop commands ctypes distutils ensurepip fileinput ftplib http httplib idlelib imaplib imp
    importlib marshal multiprocessing nt ntpath os pdb pip pipes pkgutil platform popen2 posix posixpath profile
    pty pydoc requests runpy shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess sys
    tempfile threading timeit trace urllib urllib2 venv webbrowser winreg xmlrpc zipimport
""")
_DANGEROUS: Final = _names(
    {
        "builtins __builtin__ __builtins__": """
        __import__ apply breakpoint compile delattr dir eval exec execfile file getattr globals help input locals
        open print setattr vars""",
        "operator _operator": "attrgetter itemgetter methodcaller",
        "functools _functools": "partial reduce",
        "pickle _pickle cPickle dill cloudpickle joblib": "load loads Unpickler",
        "torch": "load compile",
        "torch.hub torch.serialization": "load",
        "numpy": "load fromfile",
        "numpy.testing._private.utils": "runstring",
        "types": "CodeType FunctionType",
        "cloudpickle.cloudpickle dill._dill": "_make_function _builtin_type _create_code _create_function",
    }
)
_KNOWN: Final = _names(
    {
        "builtins __builtin__": """
        bool bytearray bytes complex dict float frozenset int list object range set slice str tuple unicode
        xrange""",
        "collections": "Counter OrderedDict defaultdict deque",
        "_codecs": "encode",
        "copyreg copy_reg": "_reconstructor __newobj__ __newobj_ex__",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "uuid": "UUID",
        "numpy.core.multiarray numpy._core.multiarray": "_reconstruct scalar",
        "numpy.core.numeric numpy._core.numeric": "_frombuffer",
        "torch.jit._pickle": """
        restore_type_tag build_intlist build_tensorlist build_doublelist build_boollist
        build_tensor_from_id""",
    }
)
#: Packages whose classes (by their capital letter) and rebuilding functions (``_rebuild...``) make values.
_VALUE_PACKAGES: Final = _words("""
    catboost imblearn joblib lightgbm numpy pandas scipy sklearn statsmodels timm torch torchaudio torchvision
    transformers ultralytics xgboost
""")
_VALUE_FUNCTIONS: Final = _words("""
    __bit_generator_ctor __generator_ctor __randomstate_ctor __RandomState_ctor _mareconstruct _nat_unpickle
    _unpickle_block coo_matrix csc_array csc_matrix csr_array csr_matrix device dtype matrix ndarray new_block
    newCriterion recarray
""")
#: scikit-learn's modules whose functions estimators hold as settings: scores, kernels, losses.
_HARMLESS: Final = (
    "sklearn._loss",
    "sklearn.ensemble",
    "sklearn.feature_selection",
    "sklearn.gaussian_process",
    "sklearn.metrics",
    "sklearn.neighbors",
    "sklearn.tree",
)
_NUMERIC: Final = _words("""
    bfloat bool complex double float half int long object qint quint short str uint void
""")


def judge(found: "Global") -> Risk:
    """Say what a global means for whoever unpickles; `Risk.UNKNOWN` where its name does not tell."""
    package = found.module.partition(".")[0]
    full = f"{found.module}.{found.name}"
    # A dotted name reaches through attributes, as "Tensor.__init__.__globals__" would.
    if full in _DANGEROUS or package in _DANGEROUS_MODULES or ".__" in found.name:
        return Risk.DANGEROUS
    if full in _KNOWN:
        return Risk.KNOWN
    if found.module.startswith(_HARMLESS) and "." not in found.name:
        return Risk.KNOWN
    if package in _VALUE_PACKAGES and "." not in found.name:
        name = found.name
        makes_value = name[:1].isupper() or name.startswith(("_rebuild", "__pyx_unpickle")) or name in _VALUE_FUNCTIONS
        numeric = found.module in ("torch", "numpy") and name.rstrip("0123456789_") in _NUMERIC
        if makes_value or numeric:
            return Risk.KNOWN
    return Risk.UNKNOWN


def describe(found: Iterable["Global"], limit: int = 12) -> str:
    """Return up to ``limit`` names for a message, and how many more there are."""
    names = sorted({printable(str(one)) for one in found})
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest

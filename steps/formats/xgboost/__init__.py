"""XGBoost: recognition of its three encodings. What they say of a model is in `reader`.

A booster pickled by Python is a pickle, and LightGBM's text models are LightGBM's; neither is claimed.
"""

import re
from typing import Final

from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.signature import Signature

_SUFFIX: Final = ".xgboost"
#: Suffixes that XGBoost's documentation and its servers use for models alone.
_NAMES: Final = (_SUFFIX, ".bst", ".ubj")

#: Keys of a model's learner in the order that XGBoost writes; ``save_config`` writes ``generic_param`` first.
_KEYS: Final = rb"(?:attributes|feature_names|feature_types|gradient_booster|learner_model_param|objective)"
_JSON: Final = re.compile(
    rb'\s*\{\s*(?:"version"\s*:\s*\[[\d\s,]*\]\s*,\s*)?"learner"\s*:\s*\{\s*"' + _KEYS + rb'"\s*:'
)
#: Draft 12 of UBJSON: a key is a length with its marker, then the text; there is no marker before the text.
_UBJSON: Final = re.compile(rb"\{[iUIlL]\0{0,7}\x07learner\{[iUIlL]\0{0,7}." + _KEYS, re.DOTALL)
#: ``LearnerModelParam`` of 136 bytes, the objective's name and the booster's, each behind its 64-bit length.
_BINARY: Final = re.compile(
    rb"(?:binf)?.{136}[\x01-\x40]\0{7}[a-z][a-z0-9_:@.\-]{0,63}[\x04-\x08]\0{7}(?:gbtree|gblinear|dart)",
    re.DOTALL | re.IGNORECASE,
)
_BASE64: Final = b"bs64\t"


class XGBoost(Format):
    """One booster in JSON, in UBJSON or in the binary encoding that XGBoost dropped with 3.1."""

    id = "XGBoost"
    framework = "XGBoost"
    needs = "*.xgboost"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the models in the package's own folder.

        Another suffix is renamed: every version of XGBoost finds out the encoding of such a file by its content.
        """
        return Claim.of_judged(files, _evidence, _SUFFIX)

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the numbers of features and outputs; the trees are passed over."""
        from klever.steps.formats.xgboost.reader import read_booster

        del author
        return read_booster(files, claim.files[0])


def _evidence(files: ModelFiles, path: str) -> Evidence | None:
    head = files.head(path)
    if any(pattern.match(head) for pattern in (_JSON, _UBJSON, _BINARY)) or head.startswith(_BASE64):
        return Evidence.CONTENT
    if not path.lower().endswith(_NAMES):
        return None
    return Evidence.NAME if len(head) < 200 and _begins_one(head) else None


def _begins_one(head: bytes) -> bool:
    """Whether a file that ends early may have been meant to go on as a model."""
    compact = b"".join(head.split())
    beginnings = (b'{"learner":{', b"{L\0\0\0\0\0\0\0\x07learner{")
    if any(whole.startswith(compact) or compact.startswith(whole) for whole in beginnings):
        return len(compact) < 32  # before its first key could be told
    # The binary encoding has no magic, but its reserved words are zero.
    return len(head) > 64 and head[44:].count(0) > len(head[44:]) * 3 // 4


FORMAT = XGBoost()

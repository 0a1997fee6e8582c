"""SKLearn: estimators of scikit-learn in files of joblib's or pickles, of scikit-learn 0.17 to 1.x.

Only recognition stands here; `reader` does the reading.
"""

from typing import TYPE_CHECKING, Final

from klever.steps.encodings.magic import JOBLIB_COMPRESSED, begins_with_estimator
from klever.steps.files import HEAD_BYTES, ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Reading

if TYPE_CHECKING:
    from klever.steps.model.signature import Signature

_SUFFIXES: Final = (".pkl", ".pickle")


class SKLearn(Format):
    """Files of joblib's and pickles that name scikit-learn's classes."""

    id = "SKLearn"
    framework = "SKLearn"
    needs = "*.joblib"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim a pickle that begins with an estimator; a compressed one after inflating its beginning."""
        found = [path for path in files.sizes if _names_sklearn(files, path)]
        evidence = Evidence.CONTENT
        if not found:
            found = [path for path in files.sizes if path.endswith(".joblib")]
            evidence = Evidence.NAME
        if not found:
            return None
        first = found[0]
        stem = first.removesuffix(".pkl").removesuffix(".pickle")
        rename = {} if first.endswith(".joblib") else {first: f"{stem}.joblib"}
        return Claim.of_one(evidence, found, rename)

    def read(self, files: ModelFiles, claim: Claim, author: "Signature | None") -> Reading:
        """Read features, classes and kinds of estimators from the pickle's structure."""
        del author
        from klever.steps.formats.sklearn.reader import read_estimator

        with opened(files, claim.files[0]) as source:
            return read_estimator(source)


def _names_sklearn(files: ModelFiles, path: str) -> bool:
    head = files.head(path)
    if head.startswith(JOBLIB_COMPRESSED):
        # Other formats are compressed as well: only a name of joblib's or a pickle's is worth inflating.
        return path.endswith((".joblib", *_SUFFIXES, ".z", ".gz", ".bz2", ".xz")) and _inflates_to_sklearn(files, path)
    return _is_estimator(head, path)


def _is_estimator(head: bytes, path: str) -> bool:
    is_pickle = head[:1] == b"\x80" or path.endswith((".joblib", *_SUFFIXES))
    return is_pickle and begins_with_estimator(head)


def _inflates_to_sklearn(files: ModelFiles, path: str) -> bool:
    from klever.steps.encodings.inflated import inflate
    from klever.steps.errors import KleverError

    try:
        with opened(files, path) as source:
            return _is_estimator(inflate(source).read_at(0, HEAD_BYTES), path)
    except KleverError:
        return False


FORMAT = SKLearn()

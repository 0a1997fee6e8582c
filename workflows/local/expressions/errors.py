"""The error of expressions, which shows where in the source it lies (expr-lang's ``file.Error``)."""

from klever.steps.errors import PermanentError


class ExpressionError(PermanentError):
    """An expression cannot be read or evaluated; ``cause`` has the place under it as expr-lang shows it."""

    usual_step = "correct the expression"

    def __init__(self, message: str, *, source: str = "", position: int = 0) -> None:
        self.message = message
        #: Whether it is known where in the source it happened.
        self.has_place = bool(source)
        super().__init__(f"{message}{_snippet(source, position)}" if source else message)


def _snippet(source: str, position: int) -> str:
    line = source.count("\n", 0, position) + 1
    start = source.rfind("\n", 0, position) + 1
    end = source.find("\n", start)
    text = source[start : len(source) if end < 0 else end].replace("\t", " ")
    column = position - start
    return f" ({line}:{column + 1})\n | {text}\n | {'.' * column}^" if text else ""

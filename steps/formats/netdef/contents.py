"""The elements of small integer blobs, worked out where they follow from those of others: nets compute shapes.

What a net converted from ONNX does with sizes: take them, pick, join and change some. What does not belong here: the
shapes of the blobs themselves (see ``shapes``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.values import Value

#: Lists that state shapes are short.
_MAX_CONTENT: Final = 64
_LIMIT: Final = 2**63

_List = Sequence[int]


def evaluate(operator: Operator, inputs: Sequence[Value]) -> tuple[int, ...] | None:
    """Return the elements of the first output, None where they do not follow or are not those of a list."""
    rule = _RULES.get(operator.type)
    contents = [value.content for value in inputs]
    known = [content for content in contents if content is not None]
    if rule is None or len(known) < len(contents) or any(len(value.shape or ()) > 1 for value in inputs):
        return None
    found = rule(operator, known)
    if found is None or len(found) > _MAX_CONTENT or any(abs(element) >= _LIMIT for element in found):
        return None
    return tuple(found)


def _same(operator: Operator, lists: Sequence[_List]) -> _List | None:
    del operator
    return lists[0] if lists else None


def _joined(operator: Operator, lists: Sequence[_List]) -> _List | None:
    if operator.integer("add_axis"):
        return None
    return [element for each in lists for element in each]


def _picked(operator: Operator, lists: Sequence[_List]) -> _List | None:
    if len(lists) != 2 or operator.integer("match_outer"):
        return None
    data, places = lists
    return [data[place] for place in places] if all(-len(data) <= place < len(data) for place in places) else None


def _cut(operator: Operator, lists: Sequence[_List]) -> _List | None:
    starts, ends = lists[1:3] if len(lists) > 2 else (operator.integers("starts"), operator.integers("ends"))
    if not lists or len(starts) != 1 or len(ends) != 1:
        return None
    # A negative place counts from behind the last element.
    start, end = (place + len(lists[0]) + 1 if place < 0 else place for place in (starts[0], ends[0]))
    return lists[0][max(start, 0) : max(end, 0)]


def _assigned(operator: Operator, lists: Sequence[_List]) -> _List | None:
    del operator
    if len(lists) != 3 or len(lists[1]) != len(lists[2]):
        return None
    data = list(lists[0])
    for place, element in zip(lists[1], lists[2], strict=True):
        if not 0 <= place < len(data):
            return None
        data[place] = element
    return data


def _filled(operator: Operator, lists: Sequence[_List]) -> _List | None:
    value = operator.arguments.get("value")
    if value is None or value.i is None:
        return None
    if not lists:
        shape = operator.integers("shape")
    elif operator.integer("input_as_shape"):
        shape = tuple(lists[0])
    else:
        return None
    return [value.i] * shape[0] if len(shape) == 1 and 0 <= shape[0] <= _MAX_CONTENT else None


def _arithmetic(compute: Callable[[int, int], int]) -> "_Rule":
    def rule(operator: Operator, lists: Sequence[_List]) -> _List | None:
        del operator
        if len(lists) != 2 or (len(lists[0]) != len(lists[1]) and 1 not in map(len, lists)):
            return None
        size = max(map(len, lists))
        left, right = (list(each) * size if len(each) == 1 else each for each in lists)
        return [compute(a, b) for a, b in zip(left, right, strict=True)]

    return rule


_Rule = Callable[[Operator, Sequence[_List]], _List | None]

#: Operator type to the rule for the elements of its output.
_RULES: Final[Mapping[str, _Rule]] = {
    **dict.fromkeys(("Alias", "Copy", "ExpandDims", "Flatten", "FlattenToVec", "Reshape", "Squeeze"), _same),
    "Add": _arithmetic(lambda a, b: a + b),
    "Cast": _same,
    "Concat": _joined,
    "ConstantFill": _filled,
    "Gather": _picked,
    "Mul": _arithmetic(lambda a, b: a * b),
    "ScatterAssign": _assigned,
    "Slice": _cut,
    "Sub": _arithmetic(lambda a, b: a - b),
}

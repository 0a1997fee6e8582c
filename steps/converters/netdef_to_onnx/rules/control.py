"""Branches and loops, whose bodies are nets in the operators' arguments.

The bodies share the workspace of the net around them: what a branch writes is what it leaves. Source: ``if_op.h`` and
``while_op.h`` in ``caffe2/operators``.
"""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Bound, Call, RefusedError, Result, Rules
from klever.steps.formats.netdef.graph import Net, read_body
from klever.steps.formats.netdef.values import UNKNOWN_VALUE, Value
from klever.steps.model.shapes import UNKNOWN


def _condition(call: Call, name: str) -> str:
    return call.reshape(name, [])


def _branch(call: Call) -> Result:
    then, otherwise = (read_body(call.argument(name)) for name in ("then_net", "else_net"))
    if then is None:
        raise RefusedError("it has no then_net")
    bodies = []
    values: list[list[Value]] = []
    for label, net in (("then", then), ("else", otherwise)):
        body = call.translation.body(label)
        body.run(net.operators if net is not None else (), None)
        left = [body.bound.get(name) for name in call.operator.outputs]
        if any(bound is None for bound in left):
            raise RefusedError("a branch leaves an output that was never computed")
        for bound in left:
            if bound is not None:
                body.graph.output(str(body.graph.add("Identity", [bound.name], outputs=[f"{bound.name}_{label}"])))
        values.append([bound.value for bound in left if bound is not None])
        bodies.append(body)
    for at, (one, other) in enumerate(zip(*values, strict=True)):
        call.known[at] = _common(one, other)
    for name in _written(then, otherwise):
        # What a branch leaves beside its outputs depends on which one ran; who reads it is refused.
        call.translation.bound.pop(name, None)
    if not call.operator.outputs:
        return None
    return call.give_all("If", _condition(call, call.input()), then_branch=bodies[0].graph, else_branch=bodies[1].graph)


def _common(one: Value, other: Value) -> Value:
    """Return what holds for both."""
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return Value(None, one.dtype)
    sizes = (x if x == y else UNKNOWN for x, y in zip(one.shape, other.shape, strict=True))
    return Value(tuple(sizes), one.dtype)


def _written(*nets: Net | None) -> list[str]:
    return list(dict.fromkeys(name for net in nets if net for operator in net.operators for name in operator.outputs))


def _loop(call: Call) -> Result:
    """Run the condition's net, and while the first input holds, the loop's net and it again."""
    net, asked = read_body(call.argument("loop_net")), read_body(call.argument("cond_net"))
    if net is None:
        raise RefusedError("it has no loop_net")
    outer, condition = call.translation, call.operator.inputs[0]
    if asked is not None:
        outer.run(asked.operators, None)
    start = outer.bound.get(condition)
    if start is None:
        raise RefusedError("nothing computes its condition")
    carried = [name for name in _written(net, asked) if name in outer.bound and name != condition]
    body = outer.body("loop")
    body.graph.input("step", "int64", ())
    body.bound[condition] = Bound(body.graph.input("goes_on", "bool", ()), Value((), "bool"))
    initial = []
    for name in carried:
        bound = outer.bound[name]
        initial.append(bound.name)
        rank = None if bound.value.shape is None else len(bound.value.shape)
        # A size may change from one round to the next; what is carried keeps its rank and type alone.
        value = UNKNOWN_VALUE if rank is None else Value((UNKNOWN,) * rank, bound.value.dtype)
        body.bound[name] = Bound(body.graph.input(name, bound.value.dtype or "float32", None), value)
    for part in (net, asked):
        if part is not None:
            body.run(part.operators, None)
    ending = body.bound.get(condition)
    if ending is None:
        raise RefusedError("its nets do not leave a condition")
    shape = call.graph.constant([], dtype="int64")
    body.graph.output(str(body.graph.add("Reshape", [ending.name, shape], outputs=["goes_on_then"])))
    for name in carried:
        body.graph.output(str(body.graph.add("Identity", [body.bound[name].name], outputs=[f"{name}_then"])))
    if not carried:
        raise RefusedError("its rounds leave nothing")
    results = call.add("Loop", "", _condition(call, start.name), *initial, outputs=len(carried), body=body.graph)
    # It went on until the condition failed.
    outer.bound[condition] = start._replace(name=str(call.add("And", start.name, call.constant(False))))
    left = dict(zip(carried, [results] if isinstance(results, str) else results, strict=True))
    for name in carried:
        outer.bound[name] = Bound(left[name], body.bound[name].value)
    missing = [name for name in call.operator.outputs if name not in outer.bound]
    if missing:
        raise RefusedError(f"it leaves {missing[0]!r}, which was not there before")
    for at, name in enumerate(call.operator.outputs):
        call.known[at] = outer.bound[name].value
    return [call.give("Identity", outer.bound[name].name, at=at) for at, name in enumerate(call.operator.outputs)]


RULES: Final[Rules] = {"If": _branch, "While": _loop}

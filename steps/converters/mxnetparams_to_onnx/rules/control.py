"""Loops and branches: ``_foreach``, ``_while_loop`` and ``_cond``, whose bodies are graphs of their own.

Attributes say which of the operator's inputs a body's variables are (``src/operator/control_flow.cc``). What no step
changes is seen by a body from outside. What does not belong here: what stands in the bodies.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Operand, Results, Rule, Value
from klever.steps.errors import MalformedModelError
from klever.steps.formats.mxnetparams.graph import Graph
from klever.steps.model.shapes import UNKNOWN, Shape

if TYPE_CHECKING:
    from klever.steps.writers.onnx import GraphBuilder


def _variables(graph: Graph) -> list[str]:
    """Return the names of a body's variables, which positions in attributes count."""
    return [node.name for node in graph.nodes if node.is_variable]


def _places(call: Call, key: str) -> tuple[int, ...]:
    return call.integers(key) or ()


def _bodies(call: Call, count: int) -> Sequence[Graph]:
    if len(call.subgraphs) != count:
        raise MalformedModelError(f"node {call.name!r} ({call.operator}) has {len(call.subgraphs)} bodies, not {count}")
    return call.subgraphs


def _seen(call: Call, names: Sequence[str], places: Sequence[int]) -> dict[str, Operand]:
    """Return the operands that a body's variables are; all are values of the graph from now on."""
    found = {name: call.operand(place) for name, place in zip(names, places, strict=True)}
    for operand in found.values():
        call.place(operand)
    return found


def _loop_over(call: Call) -> Results:
    """``_foreach``: one step for each row of the data; states go from step to step."""
    (graph,) = _bodies(call, 1)
    names = _variables(graph)
    data, states = _places(call, "in_data_locs"), _places(call, "in_state_locs")
    rest = _places(call, "remain_locs")
    outside = _seen(
        call, [names[place] for place in rest], range(len(data) + len(states), len(data) + len(states) + len(rest))
    )
    body = call.graph.child(f"{call.name}_body")
    inside: dict[str, Operand] = {}
    for number, place in enumerate(states):
        inside[names[place]] = _declared(call, body, names[place], call.operand(len(data) + number).value)
    for number, place in enumerate(data):
        value = call.operand(number).value
        row = None if value.shape is None else value.shape[1:]
        inside[names[place]] = _declared(call, body, names[place], value._replace(shape=row))
    results = call.translate(graph, body, {**outside, **inside})
    count = call.integer("num_out_data", 0)
    if len(results) != count + len(states):
        raise MalformedModelError(f"node {call.name!r} has a body of {len(results)} results")
    for value in (*results[count:], *results[:count]):
        _declare_result(call, body, value)
    begin = [_stretched(call, len(data) + number) for number in range(len(states))]
    rows = [call.input(number) for number in range(len(data))]
    steps = call.emit_several("Scan", [*begin, *rows], len(results), body=body, num_scan_inputs=len(data))
    return _finished(call, (*steps[len(states) :], *steps[: len(states)]), results, count)


def _stretched(call: Call, index: int) -> str:
    """Return a state as it begins: one that was made for a batch that was not known is as large as a step's."""
    shape, rows = call.shape(index), call.shape(0)
    state = call.input(index)
    if not shape or shape[0] != UNKNOWN or rows is None or len(rows) < 2:
        return state
    batch = call.size_of(call.input(0), 1)
    return call.emit("Expand", [state, call.dynamic_shape([batch, *[1] * (len(shape) - 1)])])


def _declared(call: Call, body: "GraphBuilder", name: str, value: Value) -> Operand:
    found = body.input(f"{call.name}_{name}", value.dtype, value.shape)
    return Operand(Value(found, value.dtype, value.shape))


def _declare_result(call: Call, body: "GraphBuilder", value: Value) -> None:
    """Make a value a result of a body, under a name of its own: it may come from outside."""
    body.output(body.identity(value.name, f"{call.name}_next"), value.dtype, _ranked(value.shape))


def _ranked(shape: Shape) -> Shape:
    """Leave the sizes to inference where a loop may change them."""
    return None if shape is None else tuple(-1 for _ in shape)


def _finished(call: Call, names: Sequence[str], values: Sequence[Value], stacked: int = 0) -> Results:
    """Give the operator's results their names, types and shapes; the first ``stacked`` have a row for each step."""
    results = []
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        call.typed(value.dtype, place)
        shape = _ranked(value.shape)
        call.shaped((-1, *shape) if place < stacked and shape is not None else shape, place)
        wanted = place in call.wanted
        results.append(str(call.graph.add("Identity", [name], **call.last_of([place]))) if wanted else "")
    return results


def _loop_while(call: Call) -> Results:
    """``_while_loop``: until a condition fails; the rows that were not made of ``max_iterations`` are zeros."""
    condition, graph = _bodies(call, 2)
    most, count = call.integer("max_iterations", 0), call.integer("num_out_data", 0)
    sources, tests = _places(call, "func_input_locs"), _places(call, "cond_input_locs")
    places = _places(call, "func_var_locs")
    names = _variables(graph)
    outside = _seen(call, names, sources)
    tested = _seen(call, _variables(condition), tests)
    first = _truth(call, call.graph, call.translate(condition, call.graph, tested))
    body = call.graph.child(f"{call.name}_body")
    body.input(f"{call.name}_step", "int64", ())
    body.input(f"{call.name}_before", "bool", ())
    inside = {names[place]: _declared(call, body, names[place], outside[names[place]].value) for place in places}
    results = call.translate(graph, body, {**outside, **inside})
    if len(results) != count + len(places):
        raise MalformedModelError(f"node {call.name!r} has a body of {len(results)} results")
    # What the condition reads of the variables is what the step has made of them.
    changed = {sources[place]: Operand(value) for place, value in zip(places, results[count:], strict=True)}
    after = {name: changed.get(source, tested[name]) for name, source in zip(_variables(condition), tests, strict=True)}
    body.output(_truth(call, body, call.translate(condition, body, after)), "bool", ())
    for value in (*results[count:], *results[:count]):
        _declare_result(call, body, value)
    begin = [call.place(outside[names[place]]) for place in places]
    ends = call.emit_several("Loop", [call.integers_constant(most), first, *begin], len(results), body=body)
    stacked = [
        _filled(call, name, value, most) for name, value in zip(ends[len(places) :], results[:count], strict=True)
    ]
    return _finished(call, (*stacked, *ends[: len(places)]), results, count)


def _filled(call: Call, rows: str, value: Value, most: int) -> str:
    """Add rows of zeros up to ``most``."""
    graph = call.graph
    missing = call.emit("Sub", [call.integers_constant([most]), graph.gather(graph.shape(rows), [0])])
    shape = graph.concat([missing, graph.slice(graph.shape(rows), [1], [1 << 62], [0])], 0)
    return graph.concat([rows, call.emit("Expand", [call.constant(0, value.dtype), shape])], 0)


def _truth(call: Call, builder: "GraphBuilder", values: Sequence[Value]) -> str:
    """Return the one value of a condition as a truth value without dimensions."""
    (value,) = values
    found = value.name if value.dtype == "bool" else builder.cast(value.name, "bool")
    return builder.reshape(found, [], outputs=[f"{call.name}_goes_on"])


def _branch(call: Call) -> Results:
    """``_cond``: one of two bodies, chosen by a third."""
    condition, then, otherwise = _bodies(call, 3)
    tested = _seen(call, _variables(condition), _places(call, "cond_input_locs"))
    chosen = _truth(call, call.graph, call.translate(condition, call.graph, tested))
    branches: dict[str, Any] = {}
    results: tuple[Value, ...] = ()
    for key, graph, locations in (
        ("then_branch", then, "then_input_locs"),
        ("else_branch", otherwise, "else_input_locs"),
    ):
        body = call.graph.child(f"{call.name}_{key}")
        seen: Mapping[str, Operand] = _seen(call, _variables(graph), _places(call, locations))
        results = call.translate(graph, body, seen)
        for value in results:
            _declare_result(call, body, value)
        branches[key] = body
    names = call.emit_several("If", [chosen], len(results), **branches)
    return _finished(call, names, results)


RULES: Final[dict[str, Rule]] = {
    "foreach": _loop_over,
    "whileloop": _loop_while,
    "cond": _branch,
}

"""TensorFlow's protobufs: constants in every spelling, attributes, shapes and their limits."""

import struct

import pytest
from wire import field, varint

from klever.steps.encodings.protobuf import Message, decode, fields
from klever.steps.encodings.wire import decode_head
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import BytesSource
from klever.steps.frameworks.tensorflow import Function, Node, dtype_name, read_constant, read_shape


def shape(*sizes: int) -> bytes:
    return b"".join(field(2, field(1, size) if size else b"") for size in sizes)


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "float32"), (7, "object"), (14, "bfloat16"), (19, "float16"), (101, "float32"), (20, None), (999, None)],
)
def test_types_have_numpys_names_and_references_are_of_their_type(number: int, name: str | None) -> None:
    assert dtype_name(number) == name


def test_shapes_tell_unknown_sizes_and_ranks_apart() -> None:
    assert read_shape(shape(-1, 3, 0)) == (-1, 3, 0)
    assert read_shape(b"") == ()
    assert read_shape(field(3, 1)) is None
    with pytest.raises(LimitExceededError):
        read_shape(shape(*range(300)))


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (field(4, struct.pack("<2i", 5, -1)), (5, -1)),
        (field(7, varint(5) + varint(-1)), (5, -1)),
        (field(7, 5) + field(7, -1), (5, -1)),
        (field(7, varint(4)), (4, 4)),
        (b"", (0, 0)),
        (field(4, b"abc"), None),
    ],
    ids=["content", "packed", "unpacked", "one for all", "left out", "of a wrong length"],
)
def test_small_constants_are_read_in_every_spelling(content: bytes, values: tuple[int, ...] | None) -> None:
    constant = read_constant(field(1, 3) + field(2, shape(2)) + content)
    assert (constant.dtype, constant.shape, constant.values) == (3, (2,), values)


@pytest.mark.parametrize("content", [field(5, b"abc"), field(5, 2**40)], ids=["packed", "unpacked"])
def test_values_of_another_type_than_the_constant_are_malformed(content: bytes) -> None:
    with pytest.raises(MalformedModelError, match="another type"):
        read_constant(field(1, 1) + field(2, shape(1)) + content)


def test_large_constants_keep_type_and_shape_only() -> None:
    constant = read_constant(field(1, 1) + field(2, shape(1000, 1000)) + field(4, bytes(5000)))
    assert (constant.dtype, constant.shape, constant.values) == (1, (1000, 1000), None)


def test_a_nodes_large_constant_is_not_kept() -> None:
    tensor = field(1, 1) + field(2, shape(25_000)) + field(4, bytes(100_000))
    data = field(1, b"w") + field(2, b"Const") + field(5, field(1, b"value") + field(2, field(8, tensor)))
    node = Node.read(Message.of(BytesSource(data)))
    constant = node.constant()
    assert constant is not None
    assert (constant.shape, constant.values) == ((25_000,), None)


def test_attributes_are_decoded_by_kind() -> None:
    def attribute(name: bytes, value: bytes) -> bytes:
        return field(5, field(1, name) + field(2, value))

    node = Node.read(
        field(1, b"n")
        + field(2, b"Op")
        + attribute(b"i", field(3, -2))
        + attribute(b"b", field(5, 1))
        + attribute(b"s", field(2, b"SAME"))
        + attribute(b"t", field(6, 1))
        + attribute(b"l", field(1, field(3, varint(1) + varint(-1))))
        + attribute(b"f", field(10, field(1, b"body")))
        + attribute(b"g", field(1, field(9, field(1, b"a")) + field(9, field(1, b"b"))))
    )
    assert (node.integer("i"), node.boolean("b"), node.string("s"), node.dtype("t")) == (-2, True, "SAME", 1)
    assert node.integers("l") == (1, -1)
    assert (node.function("f"), sorted(node.functions())) == ("body", ["a", "b", "body"])
    assert (node.integer("x"), node.boolean("x"), node.string("x"), node.shape("x")) == (None,) * 4


def test_functions_tell_arguments_results_and_body() -> None:
    signature = field(1, b"f") + field(2, field(1, b"x")) + field(3, field(1, b"y"))
    body = field(3, field(1, b"n") + field(2, b"Relu") + field(3, b"x"))
    function = Function.read(field(1, signature) + body + field(4, field(1, b"y") + field(2, b"n:activations:0")))
    assert (function.name, function.arguments, function.results) == ("f", ("x",), ("y",))
    assert function.returns == {"y": "n:activations:0"}
    assert [node.op for node in function.nodes] == ["Relu"]


def test_a_node_needs_a_name_and_an_operator() -> None:
    assert Node.read(field(1, b"n") + field(2, b"Relu")).op == "Relu"
    with pytest.raises(MalformedModelError):
        Node.read(field(1, b"n"))


def test_decoding_in_memory_agrees_with_messages() -> None:
    data = field(1, 300) + field(2, b"text") + b"\x1d\x01\x02\x03\x04" + b"\x21" + bytes(8) + field(1000, -1)
    by_message = [
        (number, value if isinstance(value, int) else value.bytes()) for number, value in Message.of(BytesSource(data))
    ]
    assert list(decode(data)) == by_message == list(fields(Message.of(BytesSource(data))))
    assert [(number, value) for number, _, value in decode_head(data)] == by_message


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x08\x80", b"\x0d\x00"])
def test_decoding_reports_truncation_where_a_head_ends_in_silence(data: bytes) -> None:
    with pytest.raises(TruncatedModelError):
        list(decode(data))
    list(decode_head(data))


@pytest.mark.parametrize("data", [b"\x0b", b"\x02\x00", b"\x08" + b"\xff" * 11])
def test_decoding_refuses_what_no_protobuf_holds(data: bytes) -> None:
    with pytest.raises(MalformedModelError):
        list(decode(data))
    assert list(decode_head(data)) == []

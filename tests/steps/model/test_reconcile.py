"""The author fills, the file decides."""

from klever.steps.model.reconcile import correct, reconcile
from klever.steps.model.signature import Signature, Tensor


def signature(**sides: list[Tensor]) -> Signature:
    return Signature(**{side: tuple(tensors) for side, tensors in sides.items()})


def test_without_an_author_the_file_speaks_alone() -> None:
    read = signature(inputs=[Tensor(name="x")])
    assert reconcile(read, None, open_sizes=True).signature is read


def test_the_author_fills_what_the_file_does_not_tell() -> None:
    read = signature(inputs=[Tensor(name="x", shape=(-1, 3, -1))], outputs=[Tensor(name="y")])
    author = signature(
        inputs=[Tensor(name="x", dtype="float32", shape=(1, 3, 224), description="an image")],
        outputs=[Tensor(name="y", dtype="float32", shape=(1, 10))],
    )
    joined = reconcile(read, author, open_sizes=True)
    assert joined.signature == author
    assert joined.differences == ()


def test_a_dynamic_size_of_the_file_is_not_narrowed_by_the_author() -> None:
    read = signature(inputs=[Tensor(name="x", dtype="float32", shape=(-1, 3))])
    author = signature(inputs=[Tensor(name="x", shape=(1, 3))])
    joined = reconcile(read, author, open_sizes=False)
    assert joined.signature.inputs == (Tensor(name="x", dtype="float32", shape=(-1, 3)),)
    assert len(joined.differences) == 1


def test_where_both_contradict_the_file_wins_and_the_difference_is_told() -> None:
    read = signature(inputs=[Tensor(name="x", dtype="float32", shape=(4, 3))], outputs=[])
    author = signature(inputs=[Tensor(name="x", dtype="int64", shape=(4, 7)), Tensor(name="ghost")], outputs=[])
    joined = reconcile(read, author, open_sizes=True)
    assert joined.signature.inputs == read.inputs
    told = " ".join(joined.differences)
    assert len(joined.differences) == 3
    assert "int64" in told
    assert "[4, 7]" in told
    assert "'ghost'" in told


def test_tensors_of_other_names_are_joined_by_place() -> None:
    read = signature(inputs=[Tensor(name="input__0"), Tensor(name="input__1")])
    author = signature(inputs=[Tensor(name="a", dtype="float32", shape=(1,)), Tensor(name="b", dtype="int64")])
    joined = reconcile(read, author, open_sizes=True)
    assert joined.signature.inputs == (
        Tensor(name="input__0", dtype="float32", shape=(1,)),
        Tensor(name="input__1", dtype="int64"),
    )
    assert len(joined.differences) == 2


def test_what_the_file_cannot_tell_at_all_is_the_authors() -> None:
    author = signature(inputs=[Tensor(name="x", dtype="float32")], outputs=[Tensor(name="y")])
    assert reconcile(Signature(), author, open_sizes=False).signature == author


def test_what_is_told_stands_in_the_place_of_what_was_written_and_leaves_the_rest() -> None:
    written = signature(
        inputs=[Tensor(name="x", dtype="float32", shape=(1, 3), description="an image"), Tensor(name="gone")],
        outputs=[Tensor(name="y")],
    )
    told = Signature(inputs=(Tensor(name="x", shape=(-1, 3)), Tensor(name="z")))
    assert correct(written, told) == signature(
        inputs=[Tensor(name="x", dtype="float32", shape=(-1, 3), description="an image"), Tensor(name="z")],
        outputs=[Tensor(name="y")],
    )
    assert correct(None, told).inputs == told.inputs


def test_a_difference_names_where_it_was_said() -> None:
    read = signature(inputs=[Tensor(name="x", dtype="float32")], outputs=[Tensor(name="y", dtype="float32")])
    author = signature(inputs=[Tensor(name="x", dtype="int8")], outputs=[Tensor(name="y", dtype="int8")])
    told = Signature(inputs=author.inputs)
    assert reconcile(read, author, open_sizes=True, told=told).differences == (
        "input 'x' is float32 in the file, int8 in what was told",
        "output 'y' is float32 in the file, int8 in ormbfile.yaml",
    )

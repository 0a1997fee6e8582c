"""Shards by the names of their files."""

from klever.steps.model.shards import Shards, group_shards, sibling_shards


def test_shards_of_one_prefix_and_count_belong_together() -> None:
    assert group_shards(["a-00002-of-00002.gguf", "a-00001-of-00002.gguf", "b.gguf"]) == [
        Shards(("b.gguf",)),
        Shards(("a-00001-of-00002.gguf", "a-00002-of-00002.gguf")),
    ]


def test_an_impossible_number_is_no_shard() -> None:
    assert group_shards(["a-00003-of-00002.gguf"]) == [Shards(("a-00003-of-00002.gguf",))]
    assert group_shards(["a-00001-of-99999.gguf"]) == [Shards(("a-00001-of-99999.gguf",))]


def test_siblings_are_the_other_shards() -> None:
    siblings = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "n-00002-of-00002.gguf")
    assert sibling_shards("m-00001-of-00002.gguf", siblings) == ("m-00002-of-00002.gguf",)
    assert sibling_shards("m.gguf", siblings) == ()

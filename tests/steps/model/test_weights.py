"""Shards by name and modules by the names of tensors."""

from klever.steps.model.weights import Shards, count_modules, group_shards, sibling_shards


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


def test_modules_are_counted_by_the_last_word_of_their_path() -> None:
    names = ["h.0.fc.weight", "h.0.fc.bias", "h.1.fc.weight", "net.0.weight", "scale"]
    assert count_modules(names) == {"fc": 2, "net": 1, "scale": 1}


def test_names_without_structure_are_not_listed() -> None:
    assert count_modules(f"t{number}" for number in range(2000)) == {}

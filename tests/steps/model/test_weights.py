"""Modules by the names of tensors."""

from klever.steps.model.weights import count_modules


def test_modules_are_counted_by_the_last_word_of_their_path() -> None:
    names = ["h.0.fc.weight", "h.0.fc.bias", "h.1.fc.weight", "net.0.weight", "scale"]
    assert count_modules(names) == {"fc": 2, "net": 1, "scale": 1}


def test_names_without_structure_are_not_listed() -> None:
    assert count_modules(f"t{number}" for number in range(2000)) == {}

"""What a container asks for follows from the model, and never falls below what the weights need."""

import pytest

from klever.steps.serving.platforms.resources import estimate_resources

_MIB = 1 << 20


@pytest.mark.parametrize("server", ["mlserver", "triton", "openscoring", "another"])
@pytest.mark.parametrize("size", [0, 1, 100 * _MIB, 5000 * _MIB])
def test_memory_covers_the_weights_twice_beside_the_server(server: str, size: int) -> None:
    assert estimate_resources(server, size).memory >= 2 * size + estimate_resources(server, 0).memory
    assert estimate_resources(server, size).memory >= 512 * _MIB


def test_more_layers_take_more_memory_up_to_what_a_plan_shares() -> None:
    few, many, most = (estimate_resources("triton", _MIB, {"Conv": count}).memory for count in (10, 100, 100_000))
    assert few < many < most
    assert most == estimate_resources("triton", _MIB, {"Conv": 512}).memory


def test_each_copy_in_a_process_has_its_own_weights() -> None:
    one, three = (estimate_resources("mlserver", 100 * _MIB, instances=count) for count in (1, 3))
    assert three.memory - one.memory >= 200 * _MIB
    assert three.cpu == 3 * one.cpu


def test_the_models_room_holds_the_model_and_what_comes_with_it() -> None:
    assert estimate_resources("triton", 1000 * _MIB).storage > 1000 * _MIB


def test_quantities_are_written_as_kubernetes_writes_them() -> None:
    resources = estimate_resources("mlserver", 3)
    assert resources.quantities == {"cpu": "100m", "memory": "513Mi"}
    assert resources.storage_quantity == "65Mi"

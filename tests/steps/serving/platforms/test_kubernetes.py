"""Plain Kubernetes: what a Deployment, its pods and its Service are told."""

from typing import Any

import pytest
from servings import OTHER_DIGEST, SCORING, builtin_faults, canary, of_kind, predictor, serving, variables

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Autoscaling, Header, Serving, Settings
from klever.steps.serving.platforms.kubernetes import PLATFORM, service_url, shares, split
from klever.steps.serving.servers.interface import Tuning
from klever.steps.serving.servers.table import all_servers

FULL = Settings(
    image_pull_secret="pull",
    registry_secret="registry",
    environment_secret="variables",
    plain_http=True,
    ca_config_map="authorities",
    service_account="server",
)
MODELS = {
    "Deployment": "V1Deployment",
    "Service": "V1Service",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
}


def _pod(asked: Serving, index: int = 0) -> dict[str, Any]:
    pod: dict[str, Any] = of_kind(PLATFORM.build(asked), "Deployment")[index]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    "asked",
    [
        serving(),
        serving(predictor(replicas=3, gpus=2), settings=FULL, scheduler="volcano"),
        serving(predictor(process=SCORING), autoscaling=Autoscaling(2, 5)),
        canary(10, replicas=3, settings=FULL),
    ],
)
def test_every_field_is_one_that_kubernetes_has(asked: Serving) -> None:
    for each in PLATFORM.build(asked):
        assert list(builtin_faults(MODELS[each["kind"]], each)) == []


def test_the_check_of_fields_finds_one_that_kubernetes_does_not_have() -> None:
    deployment = of_kind(PLATFORM.build(serving()), "Deployment")[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    assert list(builtin_faults("V1Deployment", deployment)) == [
        ".spec.template.spec.containers[0].imagePullPolice: V1Container has no such field"
    ]


def test_the_same_serving_gives_the_same_objects_in_the_same_order() -> None:
    assert repr(PLATFORM.build(canary(10, settings=FULL))) == repr(PLATFORM.build(canary(10, settings=FULL)))


def test_the_initializer_fills_what_the_server_reads() -> None:
    pod = _pod(serving())
    (initializer,), (server,) = pod["initContainers"], pod["containers"]
    assert initializer["command"] == ["klever-initializer"]
    uri, directory = initializer["args"]
    assert uri.startswith("oci+model://harbor.example/vision/resnet:v1@sha256:")
    assert uri.endswith("?server=mlserver&name=resnet")
    assert directory == "/mnt/models"
    mounted = {each["name"]: each for each in server["volumeMounts"]}["models"]
    assert mounted == {"name": "models", "mountPath": "/mnt/models", "readOnly": True}
    assert server["command"][2:] == ["/mnt/models/resnet", "--port=8080"]


def test_every_mount_has_its_volume_and_every_volume_is_mounted() -> None:
    pod = _pod(serving(settings=FULL))
    mounted = {mount["name"] for each in (*pod["containers"], *pod["initContainers"]) for mount in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]} == {"models", "tmp", "registry", "certificates"}


def test_the_initializer_is_told_how_to_speak_to_the_registry() -> None:
    told = variables(_pod(serving(settings=FULL))["initContainers"][0])
    assert told["KLEVER_PLAIN_HTTP"] == "true"
    assert told["KLEVER_CA_FILE"].endswith("/ca.crt")
    assert told["DOCKER_CONFIG"]
    assert "DOCKER_CONFIG" not in variables(_pod(serving())["initContainers"][0])


def test_no_container_gets_a_secret_that_is_the_initializers() -> None:
    server = _pod(serving(settings=FULL))["containers"][0]
    assert "envFrom" not in server
    assert not {"registry", "certificates"} & {mount["name"] for mount in server["volumeMounts"]}


def test_containers_are_such_as_the_restricted_standard_admits() -> None:
    pod = _pod(serving(predictor(gpus=1)))
    for each in (*pod["containers"], *pod["initContainers"]):
        context = each["securityContext"]
        assert context["runAsNonRoot"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert variables(each)["HOME"] == "/tmp"
    assert pod["automountServiceAccountToken"] is False


def test_cards_are_hidden_unless_they_are_asked_for() -> None:
    without, with_two = (_pod(serving(predictor(gpus=count)))["containers"][0] for count in (0, 2))
    assert variables(without)["NVIDIA_VISIBLE_DEVICES"] == ""
    assert "NVIDIA_VISIBLE_DEVICES" not in variables(with_two)
    assert with_two["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in without["resources"]["limits"]


def test_a_failed_rollout_leaves_the_old_pods() -> None:
    spec = of_kind(PLATFORM.build(serving()), "Deployment")[0]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["progressDeadlineSeconds"] == 1200


def test_a_pod_that_ends_goes_on_until_nobody_is_sent_to_it() -> None:
    pod = _pod(serving())
    waits = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < waits < pod["terminationGracePeriodSeconds"]


def test_the_servers_own_probes_are_asked_at_its_port() -> None:
    server = _pod(serving(predictor(process=SCORING)))["containers"][0]
    assert server["image"].startswith("registry.example/openscoring@sha256:")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"] == {"path": "/openscoring/model/resnet", "port": "http", "scheme": "HTTP"}


def test_a_pod_fills_every_place_in_the_command_of_each_server() -> None:
    for each in all_servers():
        pod = _pod(serving(predictor(process=each.process("resnet", Tuning()))))
        assert "{" not in " ".join([*pod["containers"][0]["command"], *variables(pod["containers"][0]).values()])


def test_a_place_that_a_pod_does_not_know_is_refused() -> None:
    from dataclasses import replace

    odd = replace(predictor().process, command=("serve", "{gpu_memory}"))
    with pytest.raises(ServingError, match="gpu_memory"):
        PLATFORM.build(serving(predictor(process=odd)))


def test_the_address_stays_when_a_version_has_another_server() -> None:
    services = of_kind(PLATFORM.build(serving()), "Service")
    other = of_kind(PLATFORM.build(serving(predictor(process=SCORING))), "Service")
    assert services[0]["metadata"]["name"] == other[0]["metadata"]["name"] == "resnet"
    assert services[0]["spec"]["ports"][0] == other[0]["spec"]["ports"][0]
    assert service_url(serving()) == "http://resnet.models.svc:8000"
    assert [port["name"] for port in other[0]["spec"]["ports"]] == ["http"]


def test_the_service_selects_the_pods_of_every_version_with_traffic() -> None:
    objects = PLATFORM.build(canary(20))
    selector = of_kind(objects, "Service")[0]["spec"]["selector"]
    for each in of_kind(objects, "Deployment"):
        assert selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()


def test_a_version_without_traffic_answers_at_its_own_service_alone() -> None:
    objects = PLATFORM.build(canary(0))
    shared, _, own = (each["spec"]["selector"] for each in of_kind(objects, "Service"))
    old, new = (each["spec"]["template"]["metadata"]["labels"] for each in of_kind(objects, "Deployment"))
    assert shared.items() <= old.items()
    assert not shared.items() <= new.items()
    assert own.items() <= new.items()
    assert not own.items() <= old.items()
    assert of_kind(objects, "Deployment")[1]["metadata"]["annotations"]["kleveross.io/url"] == (
        "http://resnet-v2.models.svc:8000"
    )


def test_versions_select_no_pods_of_each_other() -> None:
    old, new = of_kind(PLATFORM.build(canary(50)), "Deployment")
    assert not old["spec"]["selector"]["matchLabels"].items() <= new["spec"]["template"]["metadata"]["labels"].items()


def test_a_promotion_changes_neither_pods_nor_selectors() -> None:
    before, after = (of_kind(PLATFORM.build(canary(traffic)), "Deployment") for traffic in (10, 90))
    for old, new in zip(before, after, strict=True):
        assert old["spec"]["template"] == new["spec"]["template"]
        assert old["spec"]["selector"] == new["spec"]["selector"]


@pytest.mark.parametrize(
    ("traffic", "replicas", "pods"),
    [(10, 1, (1, 1)), (10, 9, (9, 1)), (25, 3, (3, 1)), (50, 3, (3, 3)), (0, 4, (4, 1)), (20, 10, (10, 2))],
)
def test_a_canary_gets_pods_in_proportion_and_takes_none_away(
    traffic: int, replicas: int, pods: tuple[int, int]
) -> None:
    asked = canary(traffic, replicas=replicas)
    assert tuple(split(asked).values()) == pods
    assert tuple(each["spec"]["replicas"] for each in of_kind(PLATFORM.build(asked), "Deployment")) == pods


def test_what_a_share_comes_to_is_told() -> None:
    assert shares(canary(10, replicas=9)) == {"v1": 90.0, "v2": 10.0}
    assert shares(canary(10, replicas=3)) == {"v1": 75.0, "v2": 25.0}
    assert shares(canary(0)) == {"v1": 100.0, "v2": 0.0}


def test_an_autoscaler_alone_decides_how_many_pods_there_are() -> None:
    objects = PLATFORM.build(serving(autoscaling=Autoscaling(2, 5, cpu=70)))
    (autoscaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert "replicas" not in of_kind(objects, "Deployment")[0]["spec"]
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == "resnet-v1"
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (2, 5)


def test_nothing_scales_while_pods_make_the_shares() -> None:
    asked = canary(50, autoscaling=Autoscaling(2, 5))
    assert not of_kind(PLATFORM.build(asked), "HorizontalPodAutoscaler")
    assert split(asked) == {"v1": 2, "v2": 2}


def test_an_eviction_leaves_a_pod_where_there_are_several() -> None:
    assert not of_kind(PLATFORM.build(serving()), "PodDisruptionBudget")
    (budget,) = of_kind(PLATFORM.build(serving(predictor(replicas=2))), "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1


def test_a_header_is_refused_with_what_to_do_instead() -> None:
    by_header = predictor("v2", OTHER_DIGEST, header=Header("x-canary", "yes"))
    with pytest.raises(ServingError, match="by a header") as failure:
        PLATFORM.build(serving(predictor(), by_header))
    assert "Seldon" in failure.value.next_step

"""What a ModelJob asks for, and which jobs are told that they cannot be run."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modeljobs import HISTORIC, MODEL, NEW, REFUSED, TAKEN, conversion, manifest
from nasty import NASTY_REFERENCES

from klever.api.modeljob.model import InvalidJobError, parse_job
from klever.api.modeljob.request import Request, request_of, work_of
from klever.steps.converters.table import PAIRS
from klever.steps.formats.table import MODULES
from klever.workflows.arguments import check_arguments, declared_parameters
from klever.workflows.templates import golden

INPUTS = '[{"name": "data", "size": [-1, 3, 224, 224], "dType": "float32"}]'


def ask(**spec: Any) -> Request:
    return request_of(parse_job(manifest(**spec)))


def refused(**spec: Any) -> InvalidJobError:
    with pytest.raises(InvalidJobError) as told:
        ask(**spec)
    error = told.value
    assert error.stage == "job"
    assert error.next_step
    assert "\n" not in f"{error} {error.next_step}"
    return error


def asked(document: dict[str, Any]) -> Request | None:
    try:
        return request_of(parse_job(document))
    except InvalidJobError:
        return None


def variable(name: str, value: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value}]


def test_an_extraction_takes_the_model_alone() -> None:
    request = ask(model=MODEL, extraction={})
    assert (request.template, request.arguments) == ("klever-extract", {"model": MODEL})
    assert request.work == "extraction"
    assert request.notes == ()


def test_an_extraction_may_name_format_and_place() -> None:
    request = ask(model=MODEL, desiredTag="harbor.example/a/b:c", extraction={"format": "onnx"})
    assert request.arguments == {"model": MODEL, "format": "ONNX", "as": "harbor.example/a/b:c"}


TEMPLATES = golden.load()
#: The requests for templates of ours.
RUNNABLE = {
    name: request
    for name, document in TAKEN.items()
    if (request := asked(document)) is not None and request.template in TEMPLATES
}


def test_most_manifests_can_be_run() -> None:
    assert {"extraction", "conversion", "env", "pipeline", "pipeline-of-another-model"} <= set(RUNNABLE)


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_template_takes_the_arguments(name: str) -> None:
    request = RUNNABLE[name]
    declared = declared_parameters(TEMPLATES[request.template]["spec"])
    arguments = request.arguments_for(declared)
    check_arguments(arguments, declared, of=request.template)


@pytest.mark.parametrize("name", MODULES)
def test_a_format_is_known_in_any_case(name: str) -> None:
    for spelled in (name, name.lower(), name.upper()):
        assert ask(model=MODEL, extraction={"format": spelled}).arguments["format"] == name


def test_a_job_about_a_digest_is_about_every_tag_of_it() -> None:
    pinned = f"{MODEL}@sha256:{'0' * 64}"
    assert ask(model=pinned, extraction={}).arguments == {"model": pinned, "all_tags": "true"}
    elsewhere = ask(model=pinned, desiredTag="harbor.example/a/b:c", extraction={})
    assert "all_tags" not in elsewhere.arguments
    pipeline = ask(model=pinned, pipeline={"template": "klever-release", "arguments": {"formats": "ONNX"}})
    assert pipeline.arguments_for(["model", "formats", "all_tags"])["all_tags"] == "true"
    chosen = ask(model=pinned, pipeline={"template": "klever-release", "arguments": {"all_tags": "false"}})
    assert chosen.arguments_for(["model", "all_tags"])["all_tags"] == "false"


def test_a_conversion_names_both_formats() -> None:
    request = ask(model=MODEL, desiredTag="harbor.example/a/b", conversion=conversion("MXNETParams", "onnx"))
    assert request.template == "klever-convert"
    assert request.arguments == {"model": MODEL, "from": "MXNetParams", "to": "ONNX", "as": "harbor.example/a/b:latest"}
    assert request.work == "conversion to ONNX"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_every_conversion_that_there_is_can_be_asked_for(pair: Any) -> None:
    assert ask(model=MODEL, conversion=conversion(pair.source, pair.target)).arguments["to"] == pair.target


def test_a_chain_of_conversions_can_be_asked_for() -> None:
    assert ask(model=MODEL, conversion=conversion("CaffeModel", "ONNX")).arguments["from"] == "CaffeModel"


def test_a_deployment_is_given_what_was_chosen() -> None:
    request = request_of(parse_job(NEW["deployment"]))
    chosen = {"name": "net", "platform": "kubernetes", "server": "mlserver", "replicas": "2"}
    assert (request.template, request.arguments) == ("klever-deploy", {"model": MODEL, **chosen})
    assert request_of(parse_job(NEW["deployment-by-default"])).arguments == {"model": MODEL}
    assert ask(model=MODEL, deployment={"replicas": 0}).arguments["replicas"] == "0"


def test_a_pipeline_gets_its_arguments_and_the_model_where_it_takes_one() -> None:
    request = request_of(parse_job(NEW["pipeline"]))
    own = {"formats": '["ONNX"]', "require": "compared"}
    assert (request.template, request.work) == ("klever-release", "pipeline klever-release")
    assert request.arguments_for({"model", "as", "formats", "require"}) == {
        **own,
        "model": MODEL,
        "as": "harbor.example/release/mxnet:v2",
    }


def test_a_pipeline_that_takes_no_model_gets_none() -> None:
    request = ask(model=MODEL, pipeline={"template": "nightly", "arguments": {"day": "monday"}})
    assert request.arguments_for(["day"]) == {"day": "monday"}


def test_a_pipeline_that_cannot_take_the_place_of_the_result_says_so() -> None:
    request = ask(model=MODEL, desiredTag="harbor.example/a/b:c", pipeline={"template": "nightly"})
    with pytest.raises(InvalidJobError, match="WorkflowTemplate nightly has no parameter as"):
        request.arguments_for(["model"])


def test_a_pipeline_may_say_the_same_twice_and_not_two_things() -> None:
    same = {"template": "t", "arguments": {"model": MODEL}}
    assert ask(model=MODEL, pipeline=same).arguments_for(["model"]) == {"model": MODEL}
    other = {"template": "t", "arguments": {"model": "harbor.example/a/b:v2"}}
    assert "name different artifacts" in refused(model=MODEL, pipeline=other).cause


def test_inputs_and_outputs_reach_the_extraction_in_one_form() -> None:
    outputs = '[{"name":"prob","size":[1,1000],"dtype":"float32","opType":"continuous"},{"name":"b"}]'
    request = ask(
        model=MODEL,
        extraction={},
        env=[{"name": "INPUTS", "value": INPUTS}, {"name": "OUTPUTS", "value": outputs}],
    )
    assert json.loads(request.arguments["inputs"]) == json.loads(INPUTS)
    assert json.loads(request.arguments["outputs"]) == [
        {"name": "prob", "size": [1, 1000], "dType": "float32"},
        {"name": "b"},
    ]


def test_inputs_give_a_conversion_its_shapes() -> None:
    value = '[{"name": "data", "size": [-1, 3, 8, 8]}, {"name": "scalar", "size": []}, {"name": "open"}]'
    request = ask(model=MODEL, conversion=conversion("MXNetParams", "ONNX"), env=variable("INPUTS", value))
    assert json.loads(request.arguments["shapes"]) == {"data": [-1, 3, 8, 8], "scalar": []}
    assert request.notes == ()


def test_a_tensors_name_may_have_letters_of_any_language() -> None:
    request = ask(model=MODEL, extraction={}, env=variable("INPUTS", '[{"name": "größe:0"}]'))
    assert json.loads(request.arguments["inputs"]) == [{"name": "größe:0"}]


@pytest.mark.parametrize("value", ["", "  ", "[]"])
def test_an_empty_list_is_none(value: str) -> None:
    assert ask(model=MODEL, extraction={}, env=variable("INPUTS", value)).arguments == {"model": MODEL}


def test_the_last_of_two_variables_counts_as_in_a_container() -> None:
    both = variable("INPUTS", "no list") + variable("INPUTS", INPUTS)
    assert "inputs" in ask(model=MODEL, extraction={}, env=both).arguments


def test_variables_without_a_meaning_are_noted_and_do_no_harm() -> None:
    request = request_of(parse_job(HISTORIC["env"]))
    assert request.notes == ("COMMAND of spec.env is not used: this work has no meaning for it",)
    both = ask(model=MODEL, extraction={}, env=variable("B", "{{x}}") + variable("A", "1"))
    assert both.notes == ("B, A of spec.env are not used: this work has no meaning for them",)


def test_outputs_have_no_meaning_for_a_conversion() -> None:
    request = ask(model=MODEL, conversion=conversion("H5", "ONNX"), env=variable("OUTPUTS", INPUTS))
    assert request.notes == ("OUTPUTS of spec.env is not used: this work has no meaning for it",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("data=1", "INPUTS of spec.env: the value is not JSON"),
        ('{"name": "data"}', "INPUTS of spec.env: got no list"),
        ('["data"]', "INPUTS of spec.env: field 0"),
        ('[{"size": [1]}]', "INPUTS of spec.env: field 0.name"),
        ('[{"name": ""}]', "'' in INPUTS of spec.env is a name that no model has"),
        ('[{"name": "{{workflow.name}}"}]', "is a name that no model has"),
        ('[{"name": "a\\nb"}]', "'a?b' in INPUTS of spec.env is a name that no model has"),
        ('[{"name": "a", "size": [-2]}]', "INPUTS of spec.env: field 0.size.0"),
        ('[{"name": "a", "size": "1,2"}]', "INPUTS of spec.env: field 0.size"),
        ('[{"name": "a", "size": [99999999999]}]', "'a' in INPUTS of spec.env has a size that no tensor has"),
        ('[{"name": "a", "dType": "float 32"}]', "'a' in INPUTS of spec.env has the type 'float 32'"),
        ('[{"name": "a"}, {"name": "a"}]', "INPUTS of spec.env: 'a' is there twice"),
        ('[{"name": "a", "name": "b"}]', "INPUTS of spec.env: the value repeats the key 'name'"),
        ("[" * 100 + "]" * 100, "INPUTS of spec.env: the value is nested deeper"),
        ('[{"name": "a", "size": [NaN]}]', "INPUTS of spec.env: the value holds NaN"),
        (json.dumps([{"name": f"a{n}"} for n in range(1001)]), "INPUTS of spec.env lists 1001 tensors"),
    ],
)
def test_inputs_that_are_no_list_of_tensors_are_refused(value: str, words: str) -> None:
    assert words in refused(model=MODEL, extraction={}, env=variable("INPUTS", value)).cause


def test_a_value_from_elsewhere_is_refused() -> None:
    with pytest.raises(InvalidJobError, match="takes its value from elsewhere"):
        request_of(parse_job(HISTORIC["env-from-elsewhere"]))


@pytest.mark.parametrize("name", ["init-container", "init-containers"])
def test_initial_containers_are_refused_with_what_to_do_instead(name: str) -> None:
    with pytest.raises(InvalidJobError, match=r"spec\.initContainer is not run") as told:
        request_of(parse_job(HISTORIC[name]))
    assert "spec.pipeline" in told.value.next_step


def test_empty_fields_of_an_old_client_are_absent_ones() -> None:
    assert request_of(parse_job(HISTORIC["empty-fields-of-an-old-client"])).arguments == {"model": MODEL}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("release/mnist:v1", "names no registry"),
        ("mnist", "names no registry"),
        ("oci:/etc:mnist:v1", "names no registry"),
        ("", "spec.model is missing"),
        ("harbor.example/a/b:" + "v" * 200, "spec.model is no reference"),
        ("harbor.example:99999/a/b", "spec.model is no reference"),
    ],
)
def test_a_model_without_a_place_is_refused(model: str, words: str) -> None:
    assert words in refused(model=model, extraction={}).cause


@pytest.mark.parametrize("text", NASTY_REFERENCES)
def test_nasty_references_go_nowhere(text: str) -> None:
    job = parse_job(manifest(model=MODEL, extraction={}))
    for field in ("model", "desired_tag"):
        spoiled = job.model_copy(update={"spec": job.spec.model_copy(update={field: text})})
        try:
            arguments = request_of(spoiled).arguments
        except InvalidJobError:
            continue
        # What is a reference all the same has nothing in it that any reader could take for more.
        assert not set("{}$ \n\t\r\0'\"\\`;&|<>()*?!") & set("".join(arguments.values()))


#: What no schema keeps from being stored, as an API server is not asked to check a value that was there before.
WITHOUT_SCHEMA = [name for name in REFUSED if not name.startswith(("deployment-o", "pipeline-with-a-number", "pipeline-without", "too-many", "a-reference", "time-"))]  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_SCHEMA)
def test_what_the_api_server_refuses_is_refused_here_too(name: str) -> None:
    document, _ = REFUSED[name]
    with pytest.raises(InvalidJobError):
        request_of(parse_job(document))


@pytest.mark.parametrize(
    ("source", "target", "next_step"),
    [
        ("ONNX", "TensorRT", "convert from another format"),
        ("CaffeModel", "SavedModel", "CaffeModel can become NetDef or ONNX"),
        ("H5", "H5", "H5 can become"),
    ],
)
def test_a_conversion_that_nothing_makes_says_what_can_be_made(source: str, target: str, next_step: str) -> None:
    error = refused(model=MODEL, conversion=conversion(source, target))
    assert error.cause == f"nothing converts {source} to {target}"
    assert error.next_step.startswith(next_step)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "{{x}}", "a" * 129, "a=b", "a\n"])
def test_an_arguments_name_is_that_of_a_parameter(name: str) -> None:
    assert "spec.pipeline.arguments" in refused(pipeline={"template": "t", "arguments": {name: "1"}}).cause


@pytest.mark.parametrize("value", ["{{x}}", "a{{=b", "{{{", "a\0b", "\x1b[2J", "\x7f", "\x85"])
def test_a_value_is_no_placeholder_and_no_terminals_command(value: str) -> None:
    assert "spec.pipeline.arguments.a" in refused(pipeline={"template": "t", "arguments": {"a": value}}).cause


@pytest.mark.parametrize(
    "value", ["", '{"a": {"b": 1}}', "first\nsecond\tthird", "$(id)", "'; rm -rf /", "größe", "}}{"]
)
def test_any_other_value_is_a_value(value: str) -> None:
    assert ask(pipeline={"template": "t", "arguments": {"a": value}}).arguments == {"a": value}


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a..b", "-a", "a" * 254, "{{x}}"])
def test_a_template_is_named_as_objects_are(name: str) -> None:
    job = parse_job(manifest(pipeline={"template": "t"}))
    assert job.spec.pipeline is not None
    pipeline = job.spec.pipeline.model_copy(update={"template": name})
    with pytest.raises(InvalidJobError, match=r"spec\.pipeline\.template"):
        request_of(job.model_copy(update={"spec": job.spec.model_copy(update={"pipeline": pipeline})}))


TEXT = st.text(max_size=60)
_FORMATS = st.one_of(TEXT, st.sampled_from(list(MODULES)))
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.one_of(TEXT, st.just(MODEL)),
        "desiredTag": TEXT,
        "extraction": st.fixed_dictionaries({}, optional={"format": _FORMATS}),
        "conversion": st.fixed_dictionaries({}, optional={"mmdnn": st.fixed_dictionaries({}, optional={"from": _FORMATS, "to": _FORMATS})}),
        "pipeline": st.fixed_dictionaries({"template": TEXT}, optional={"arguments": st.dictionaries(TEXT, TEXT, max_size=3)}),
        "env": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["INPUTS", "OUTPUTS", "A"])}, optional={"value": TEXT}), max_size=3),
        "initContainer": st.none() | st.dictionaries(TEXT, TEXT, max_size=1),
    },
)  # fmt: skip


@given(SPECS)
def test_any_spec_is_a_request_without_placeholders_or_an_error_in_one_line(spec: dict[str, Any]) -> None:
    try:
        job = parse_job(manifest(**spec))
        request = request_of(job)
    except InvalidJobError as error:
        assert f"{error}; next: {error.next_step}".isprintable()
    else:
        assert not any("{{" in value for value in {**request.arguments, **request.offered}.values())
        assert work_of(job.spec) == request.work

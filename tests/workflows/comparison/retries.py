"""``retryStrategy``: how often, after which failures, and what a try knows of those before it."""

from hera.workflows import DAG, Parameter, RetryStrategy, Step, Steps, Task, models

from .cases import case
from .parts import fail, output, say, shell


@case()
def retry_limit() -> None:
    fail(code=3, retry_strategy=RetryStrategy(limit=2))
    say()
    with DAG(name="main"):
        Task(name="a", template="fail")
        Task(name="never", template="say", depends="a")


@case()
def retry_entrypoint() -> None:
    fail("main", retry_strategy=RetryStrategy(limit=1))


@case()
def retry_second_succeeds() -> None:
    shell(
        "twice",
        'echo "try $1" > /tmp/value; [ "$1" -ge 1 ] || exit 9; echo "done at $1"',
        inputs={"try": "{{retries}}"},
        outputs=[output("value", path="/tmp/value")],
        retry_strategy=RetryStrategy(limit="3"),
    )
    say()
    with DAG(name="main", outputs=[output("value", parameter="{{tasks.a.outputs.parameters.value}}")]):
        Task(name="a", template="twice")
        Task(
            name="b",
            template="say",
            depends="a",
            arguments={"text": "{{tasks.a.outputs.parameters.value}}, {{tasks.a.outputs.result}}"},
        )


@case()
def retry_not_needed() -> None:
    say(retry_strategy=RetryStrategy(limit=2))
    with Steps(name="main"):
        Step(name="a", template="say", arguments={"text": "at once"})
        Step(name="b", template="say", arguments={"text": "{{steps.a.outputs.result}}"})


@case()
def retry_expression() -> None:
    temporary = RetryStrategy(limit=2, expression="asInt(lastRetry.exitCode) == 75")
    fail("temporary", code=75, retry_strategy=temporary)
    fail("permanent", code=1, retry_strategy=temporary)
    with DAG(name="main", fail_fast=False):
        Task(name="temporary", template="temporary")
        Task(name="permanent", template="permanent")


@case()
def retry_policies() -> None:
    policies = ("Always", "OnFailure", "OnError", "OnTransientError")
    for policy in policies:
        fail(policy.lower(), code=4, retry_strategy=RetryStrategy(limit=1, retry_policy=policy))
    with DAG(name="main", fail_fast=False):
        for policy in policies:
            Task(name=policy.lower(), template=policy.lower())


@case()
def retry_last_retry() -> None:
    shell(
        "learn",
        'echo "$1 $2 $3 $4"; [ "$1" = 2 ] || exit $((20 + $1))',
        inputs={
            "try": "{{retries}}",
            "code": "{{lastRetry.exitCode}}",
            "status": "{{lastRetry.status}}",
            "message": "{{lastRetry.message}}",
        },
        retry_strategy=RetryStrategy(limit=3),
    )
    say()
    with Steps(name="main"):
        Step(name="a", template="learn")
        Step(name="b", template="say", arguments={"text": "{{steps.a.outputs.result}}"})


@case()
def retry_expression_of_status() -> None:
    fail(
        code=2,
        retry_strategy=RetryStrategy(limit=5, expression="lastRetry.status == 'Failed' && asInt(retries) < 1"),
    )
    with DAG(name="main"):
        Task(name="a", template="fail")


@case()
def retry_backoff() -> None:
    fail(retry_strategy=RetryStrategy(limit=2, backoff=models.Backoff(duration="0.2s", factor=2)))
    with DAG(name="main"):
        Task(name="a", template="fail")


@case()
def retry_backoff_ends() -> None:
    fail(retry_strategy=RetryStrategy(limit=5, backoff=models.Backoff(duration="2h", factor=2, max_duration="1h")))
    with DAG(name="main"):
        Task(name="a", template="fail")


@case(defaults={"limit": "1"})
def retry_limit_of_parameter() -> None:
    fail(retry_strategy=RetryStrategy(limit="{{workflow.parameters.limit}}"))
    with DAG(name="main"):
        Task(name="a", template="fail")


@case()
def retry_dag() -> None:
    say()
    shell("until", '[ "$1" = 1 ]', inputs=["try"])
    with DAG(name="inner", inputs=[Parameter(name="try", value="{{retries}}")], retry_strategy=RetryStrategy(limit=2)):
        Task(name="a", template="say")
        Task(name="b", template="until", depends="a", arguments={"try": "{{inputs.parameters.try}}"})
    with DAG(name="main"):
        Task(name="whole", template="inner")
        Task(name="after", template="say", depends="whole")


@case()
def retry_steps_fail() -> None:
    fail()
    with Steps(name="inner", retry_strategy=RetryStrategy(limit=1)):
        Step(name="a", template="fail")
    with Steps(name="main"):
        Step(name="whole", template="inner")


@case()
def retry_in_loop() -> None:
    shell(
        "uneven",
        '[ "$2" = 1 ] || [ "$1" = 2 ] && echo "[$1, $2]"',
        inputs={"number": "", "try": "{{retries}}"},
        retry_strategy=RetryStrategy(limit=1),
    )
    say()
    with DAG(name="main"):
        Task(name="each", template="uneven", with_items=[1, 2], arguments={"number": "{{item}}"})
        Task(name="after", template="say", depends="each", arguments={"text": "{{tasks.each.outputs.result}}"})


@case(
    template_defaults=models.Template(
        retry_strategy=models.RetryStrategy(limit=models.IntOrString(root=1), expression="lastRetry.exitCode == '75'")
    )
)
def retry_by_template_defaults() -> None:
    fail("temporary", code=75)
    fail("permanent", code=1)
    with DAG(name="main", fail_fast=False):
        Task(name="temporary", template="temporary")
        Task(name="permanent", template="permanent")


@case()
def retry_zero() -> None:
    fail("none", retry_strategy=RetryStrategy(limit=0))
    shell(
        "unlimited",
        '[ "$1" -ge 2 ]',
        inputs={"try": "{{retries}}"},
        retry_strategy=RetryStrategy(),
    )
    with DAG(name="main", fail_fast=False):
        Task(name="none", template="none")
        Task(name="unlimited", template="unlimited")

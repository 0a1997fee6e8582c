"""What no event told of is found through Harbor's listings, and nothing else."""

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest
from intake import ADMIN, Jobs, Site

from klever.api.harbor.client import Document, Harbor
from klever.api.harbor.errors import HarborUnavailableError
from klever.api.harbor.events import Push
from klever.api.intake.decide import decide
from klever.api.intake.policy import Policy, parse_policy
from klever.api.intake.relist import Relisted, relist
from klever.api.intake.submit import at_registry, start
from klever.steps.artifact import load_artifact
from klever.steps.attachments import CERTIFICATE, attach
from klever.steps.enrich import enrich
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Retry
from klever.steps.stores import Stores
from klever.workflows.argo.client import Cluster
from klever.workflows.argo.errors import ClusterUnreachableError

pytestmark = pytest.mark.registry

EXTRACTION = parse_policy("projects: [{match: release, namespace: models}]")
PIPELINE = parse_policy("projects: [{match: release, namespace: models, pipeline: {template: own}}]")


def look(site: Site, cluster: Cluster, policy: Policy = EXTRACTION) -> Relisted:
    return relist(site.harbor, policy, cluster, host=site.host)


def extract(site: Site, *pushes: Push) -> None:
    stores = Stores(plain_http=True)
    stores._open[site.host, None] = site.registry
    for push in pushes:
        enrich(site.reference(f"{push.repository}:{push.tag}"), stores)


def test_what_lacks_its_signature_gets_the_job_that_its_event_would_have_made(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    push = site.publish_unread(package, "release/team/mnist:v1")
    done = look(site, cluster)
    assert (done.projects, done.artifacts, done.lacking, done.created, done.found) == (1, 1, 1, 1, 0)
    assert done.problems == []
    (made,) = jobs.documents
    of_event = decide(push, EXTRACTION, site.registry).job
    assert of_event is not None
    assert made["metadata"]["labels"].pop("kleveross.io/origin") == "harbor-relist"
    assert of_event["metadata"]["labels"].pop("kleveross.io/origin") == "harbor-event"
    assert made == of_event


def test_a_relist_that_is_repeated_makes_nothing_more(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    site.publish_unread(package, "release/mnist:v1")
    look(site, cluster)
    for phase in ("Pending", "Running", "Failed"):
        jobs.finish(phase)
        done = look(site, cluster)
        assert (done.created, done.found) == (0, 1), phase
    assert len(jobs.names) == 1


def test_what_an_event_has_started_is_found(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    wanted = decide(site.publish_unread(package, "release/mnist:v1"), EXTRACTION, site.registry).wanted
    assert wanted is not None
    start(cluster, wanted, at_registry(site.registry))
    done = look(site, cluster)
    assert (done.created, done.found) == (0, 1)
    # Nothing was asked for twice.
    assert sum(request.startswith("POST") for request in jobs.requests) == 1


def test_what_has_its_signature_is_left(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    site.publish(package, "release/mnist:v1")
    artifact = load_artifact(site.registry, site.reference("release/mnist:v1"))
    attach(site.registry, artifact.reference, artifact.descriptor, CERTIFICATE, b"{}")
    done = look(site, cluster)
    assert (done.artifacts, done.lacking) == (1, 0)
    assert jobs.requests == []


def test_what_an_extraction_has_left_behind_is_done(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    """The digest as it was pushed has no tag any more, and its job is gone one day."""
    extract(site, site.publish_unread(package, "release/mnist:v1"))
    done = look(site, cluster)
    assert (done.artifacts, done.lacking) == (2, 0)
    assert jobs.requests == []


def test_a_push_without_a_tag_is_found(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    del site.stand_in.inventory.repository("release/mnist").tags["v1"]
    assert look(site, cluster).created == 1
    assert jobs.documents[0]["spec"]["model"] == f"{site.host}/release/mnist@{push.digest}"


def test_what_is_left_of_a_deleted_version_is_not_brought_back(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    """An extraction leaves the digest that was pushed without a tag; then its result is deleted, or expires."""
    push = site.publish_unread(package, "release/mnist:v1")
    extract(site, push)
    inventory = site.stand_in.inventory
    inventory.delete_artifact(inventory.artifact(push.repository, "v1"))
    inventory.artifact(push.repository, push.digest).pushed -= 25 * 3600
    done = look(site, cluster)
    assert (done.artifacts, done.lacking, done.created) == (1, 0, 0)


def test_several_tags_of_a_digest_make_one_job(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    site.tag(push, "v2")
    assert look(site, cluster).created == 1
    assert jobs.documents[0]["spec"]["model"] == f"{site.host}/release/mnist:v1@{push.digest}"


def test_a_tag_that_came_when_the_digest_was_done_gets_its_own_job(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    """Harbor tells nobody of a tag that is put in its web page."""
    push = site.publish_unread(package, "release/mnist:v1")
    look(site, cluster)
    extract(site, push)
    jobs.finish()
    assert look(site, cluster).lacking == 0
    inventory = site.stand_in.inventory
    inventory.set_tag(inventory.artifact(push.repository, push.digest), "stable")
    assert look(site, cluster).created == 1
    assert jobs.documents[1]["spec"]["model"] == f"{site.host}/release/mnist:stable@{push.digest}"
    assert look(site, cluster).created == 0


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_a_tag_that_comes_while_the_digest_s_job_is_at_work_or_failed_waits(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path, phase: str
) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    look(site, cluster)
    extract(site, push)
    site.tag(push, "v2")
    jobs.finish(phase)
    assert look(site, cluster).created == 0


def test_a_tag_that_was_moved_since_the_listing_is_left(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    """The job that moved it ended between the listing and the look at the job."""
    push = site.publish_unread(package, "release/mnist:v1")
    look(site, cluster)
    extract(site, push)
    late = site.tag(push, "v2")
    jobs.finish()
    listed = list(site.harbor.artifacts_of("release"))
    extract(site, late)

    class Stale(Harbor):
        def artifacts_of(self, project: str, workers: Executor | None = None) -> Iterator[Document]:
            return iter(listed)

    with Stale(site.stand_in.url, ADMIN) as stale:
        assert relist(stale, EXTRACTION, cluster, host=site.host).created == 0


def test_a_late_tag_of_a_digest_whose_job_is_gone_gets_the_digest_s_own_job(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    look(site, cluster)
    extract(site, push)
    (name,) = jobs.names
    jobs.kept.clear()
    site.tag(push, "v2")
    assert look(site, cluster).created == 1
    assert jobs.names == [name]


def test_other_artifacts_are_left(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    stored = site.registry.get_manifest(push.repository, push.digest)
    index = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [%s]}'
    descriptor = b'{"mediaType": "%s", "digest": "%s", "size": %d}' % (
        stored.descriptor.media_type.encode(),
        push.digest.encode(),
        stored.descriptor.size,
    )
    site.put_manifest("release/mnist:all", index % descriptor, media.INDEX)
    # Harbor takes an index for what this annotation says.
    named = b'"annotations": {"org.opencontainers.artifactType": "%s"}, "manifests"' % media.CONFIG.encode()
    site.put_manifest("release/mnist:named", (index % descriptor).replace(b'"manifests"', named), media.INDEX)
    assert site.harbor.artifact("release", "mnist", "named")["media_type"] == media.CONFIG
    done = look(site, cluster)
    assert (done.artifacts, done.created) == (3, 1)


def test_patterns_cover_projects_that_harbor_lists(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    for project in ("release", "vision-a", "vision-b", "other"):
        if project not in site.stand_in.inventory.projects:
            site.stand_in.make_project(project)
        site.publish_unread(package, f"{project}/mnist:v1")
    policy = parse_policy("projects: [{match: 'vision-*', namespace: vision}, {match: release, namespace: models}]")
    done = look(site, cluster, policy)
    assert (done.projects, done.created) == (3, 3)
    assert {job["metadata"]["namespace"] for job in jobs.documents} == {"vision", "models"}


def test_repositories_and_tags_that_no_rule_covers_are_left(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    for name in ("mnist:v1", "mnist-draft:v1", "resnet:draft"):
        site.publish_unread(package, f"release/{name}")
    policy = parse_policy("projects: [{match: release, namespace: models, repositories: '*t', tags: 'v*'}]")
    assert look(site, cluster, policy).created == 2
    assert {job["metadata"]["labels"]["kleveross.io/model"] for job in jobs.documents} == {"mnist", "mnist-draft"}


def test_tags_of_one_digest_may_be_under_several_rules(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    for tag in ("v2", "nightly"):
        site.tag(push, tag)
    policy = parse_policy(
        "projects:\n"
        "- {match: release, namespace: models, tags: 'v*', pipeline: {template: own}}\n"
        "- {match: release, namespace: models}\n"
    )
    assert look(site, cluster, policy).created == 2
    assert sorted(kind for job in jobs.documents for kind in job["spec"] if kind != "model") == [
        "extraction",
        "pipeline",
    ]


def test_a_pipeline_is_started_for_what_lacks_its_signature_alone(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path, models: Path
) -> None:
    site.publish(package, "release/read:v1")
    site.publish_unread(package, "release/unread:v1")
    extract(site, site.publish_unread(models / "PMML" / "kmeans" / "model", "release/done:v1"))
    done = look(site, cluster, PIPELINE)
    assert (done.artifacts, done.created) == (4, 1)
    assert jobs.documents[0]["metadata"]["labels"]["kleveross.io/model"] == "unread"


def test_a_pipeline_is_not_started_again_when_its_job_is_gone(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    """It need not leave anything in the registry that tells that it ran."""
    push = site.publish_unread(package, "release/mnist:v1")
    assert look(site, cluster, PIPELINE).created == 1
    jobs.kept.clear()
    site.stand_in.inventory.artifact(push.repository, push.digest).pushed -= 25 * 3600
    assert look(site, cluster, PIPELINE).created == 0


def test_a_project_that_is_missing_is_a_problem_and_no_reason_to_leave_the_others(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    site.publish_unread(package, "release/mnist:v1")
    done = look(site, cluster, parse_policy("projects: [{match: [nope, release], namespace: models}]"))
    assert (done.projects, done.created) == (1, 1)
    assert ["project nope not found" in str(problem) for problem in done.problems] == [True]


def test_a_namespace_without_rights_is_a_problem_told_once(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path, models: Path
) -> None:
    site.publish_unread(package, "release/mnist:v1")
    site.publish_unread(models / "PMML" / "kmeans" / "model", "release/kmeans:v1")
    site.publish_unread(package, "vision-a/mnist:v1")
    jobs.forbidden.add("models")
    policy = parse_policy("projects: [{match: release, namespace: models}, {match: vision-a, namespace: vision}]")
    done = look(site, cluster, policy)
    assert done.created == 1
    assert ["forbid" in str(problem) for problem in done.problems] == [True]


def test_a_robot_that_may_not_list_a_project_is_a_problem(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    site.publish_unread(package, "vision-a/mnist:v1")
    robot = site.stand_in.make_robot("vision-a", f"lister-{len(site.stand_in.inventory.robots)}")
    policy = parse_policy("projects: [{match: [release, vision-a], namespace: vision}]")
    with Harbor(site.stand_in.url, Credentials(robot.name, robot.secret)) as harbor:
        done = relist(harbor, policy, cluster, host=site.host)
    assert (done.projects, done.created, len(done.problems)) == (1, 1, 1)
    assert "403" in str(done.problems[0])


def test_a_harbor_or_a_cluster_that_is_away_ends_it_for_now(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    site.publish_unread(package, "release/mnist:v1")
    once = Retry(tries=1)
    with Harbor("http://127.0.0.1:9", ADMIN, retry=once) as away, pytest.raises(HarborUnavailableError):
        relist(away, EXTRACTION, cluster, host=site.host)
    for method in ("GET", "POST"):
        jobs.away = {method}
        with pytest.raises(ClusterUnreachableError):
            look(site, cluster)
    jobs.away.clear()
    assert look(site, cluster).created == 1


def test_hundreds_of_artifacts_are_gone_through(site: Site, cluster: Cluster, jobs: Jobs) -> None:
    site.stand_in.seed("release", 250, repositories=7)
    site.stand_in.seed("vision-a", 130, repositories=3, extracted=False)
    policy = parse_policy("projects: [{match: '*', namespace: models}]")
    done = look(site, cluster, policy)
    assert (done.artifacts, done.lacking, done.created) == (380, 130, 130)
    again = look(site, cluster, policy)
    assert (again.lacking, again.created, again.found) == (130, 0, 130)

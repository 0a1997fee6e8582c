"""Fixtures of the tests that need a cluster."""

from clusters import cluster, cluster_registry, klever, namespace  # noqa: F401

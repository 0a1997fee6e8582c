"""Fixtures of the test that needs a cluster."""

from clusters import cluster, namespace  # noqa: F401

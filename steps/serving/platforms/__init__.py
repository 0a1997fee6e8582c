"""Platforms: what each is told to run a model behind a server, as manifests.

What does not belong here: servers, and a cluster; manifests are made and read, never sent.
"""

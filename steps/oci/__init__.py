"""Artifacts and the stores that hold them: references, manifests, archives, a layout directory, a registry.

Nothing here knows models or formats: an artifact is a config, a layer and their descriptors.
"""

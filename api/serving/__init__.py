"""Models that are served: on this machine (`local`).

What does not belong here: which server takes a model and what its directory holds (`klever.steps.serving`).
"""

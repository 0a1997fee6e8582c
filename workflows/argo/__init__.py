"""Run workflows on Argo, through the Kubernetes API.

    from klever.workflows.argo.client import connect
    from klever.workflows.argo.runner import run

    with connect(namespace="models") as cluster:
        finished = run("klever-extract", {"model": "harbor.example/vision/net:v1"}, cluster=cluster)
        print(finished.phase, finished.outputs["digest"])

What does not belong here: what a workflow does, and how runs are shown.
"""

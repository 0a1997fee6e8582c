"""The WorkflowTemplates of Klever, authored with Hera, and their rendered form beside them.

    from klever.workflows.templates.table import build
    from klever.workflows.templates.settings import Settings
    for template in build(Settings(image_tag="1.2.0")):
        print(template.to_yaml())

The YAML files here are what `build` gives with default settings. Runners and whoever has no Hera read them through
`klever.workflows.templates.golden`. What does not belong here: how a workflow is run, and what a step does.
"""

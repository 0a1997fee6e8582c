"""One module or package a pair of formats, ``<source>_to_<target>``; `table` lists them, `paths` chains them.

A converter knows two formats and nothing of stores or the network. Where it needs a framework, a program of
`klever.steps.programs` does the work in an environment of its own.
"""

"""What writes the files of a format: the counterpart of `klever.steps.formats`, which reads them.

A writer knows one format's definition and no other's. What does not belong here: which operator of one framework is
which of another; that is a converter's.
"""

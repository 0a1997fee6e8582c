"""HDF5 by its file format: groups and attributes of files from a hostile world, without libhdf5.

    >>> from klever.steps.encodings.hdf5.file import File
    >>> root = File(source).root                     # doctest: +SKIP
    >>> root.attribute("keras_version")              # doctest: +SKIP
    '2.15.0'

`signature` recognises a file, `file` opens it. Datasets are listed and never read, soft and external links are never
followed, and everything that a file claims about its own size is held against limits. Compressed metadata, committed
datatypes and shared message tables, which only large scientific archives use, are not understood.

The format: https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html (version 4.0; the sections of earlier
versions bear the same numbers).
"""

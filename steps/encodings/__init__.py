"""Encodings that formats are written in, read by structure: protobuf, ZIP, pickle, HDF5, protobuf text.

Nothing here knows a model format; nothing here executes, imports or allocates what a file asks for.
"""

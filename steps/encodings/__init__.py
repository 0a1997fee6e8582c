"""Encodings that files are written in, read by structure: protobuf and its text form, JSON, ZIP, pickle, HDF5.

Nothing here executes, imports or allocates what a file asks for. What does not belong here: what a framework or a
format makes of an encoding.
"""

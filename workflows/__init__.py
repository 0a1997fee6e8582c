"""Pipelines authored with Hera and the runners that execute them."""

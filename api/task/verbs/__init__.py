"""One module a verb, each with a function ``run`` that takes inputs, stores and progress, and gives the outputs."""

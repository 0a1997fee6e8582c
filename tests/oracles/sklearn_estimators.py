"""Print the classes that skl2onnx converts, a module a line, for `klever.steps.converters.sklearn_to_onnx.estimators`.

    python tests/oracles/sklearn_estimators.py     # once in each of the environments convert-sklearn*

What the table holds is what any of them prints.
"""

import textwrap
import warnings

from skl2onnx._supported_operators import build_sklearn_operator_name_map


def main() -> None:
    warnings.simplefilter("ignore")
    modules: dict[str, list[str]] = {}
    for found in build_sklearn_operator_name_map():
        if found.__module__.startswith("sklearn."):
            modules.setdefault(found.__module__, []).append(found.__qualname__)
    for module, names in sorted(modules.items()):
        print(f'    "{module}": """')
        print(textwrap.indent("\n".join(textwrap.wrap(" ".join(sorted(names)), 108)), " " * 8) + '""",')


if __name__ == "__main__":
    main()

"""The program ``klever-server``: the ways in over HTTP. A group of routes is a module with ``build_router``.

    KLEVER_HARBOR_URL=https://harbor.example KLEVER_HOOK_SECRET_FILE=/etc/klever/hook/secret klever-server --port=8080

What does not belong here: deciding and doing. A route parses, asks and answers.
"""

import os


def main() -> None:
    """Run ``klever-server`` with the process's arguments until it is told to end."""
    # Klever has no pydantic plugins; looking for some reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from klever.api.http.main import serve

    serve()

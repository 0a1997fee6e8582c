"""Which tasks a DAG's task waits for, and on which of their results (Argo's ``workflow/common/ancestry.go``).

``dependencies: [a, b]`` is short for ``depends: (a.Succeeded || a.Skipped || a.Daemoned) && (b....)``. What does not
belong here: running anything.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from klever.workflows.local.expressions import ExpressionError, parse
from klever.workflows.status import Phase

_NAME: Final = re.compile(r"([a-zA-Z0-9][-a-zA-Z0-9]*?\.[A-Z][a-zA-Z]+)|([a-zA-Z0-9][-a-zA-Z0-9]*)")
#: The results that only a task with items has.
OF_ITEMS: Final = ("AnySucceeded", "AllFailed")
RESULTS: Final = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", *OF_ITEMS)


@dataclass(frozen=True)
class Outcome:
    """How a task ended, and its items if it has any."""

    phase: Phase
    items: tuple[Phase, ...] | None = None

    def results(self) -> dict[str, bool]:
        """Return what ``depends`` can ask about it."""
        items = self.items or ()
        return {
            "Succeeded": self.phase is Phase.SUCCEEDED,
            "Failed": self.phase is Phase.FAILED,
            "Errored": self.phase is Phase.ERROR,
            "Skipped": self.phase is Phase.SKIPPED,
            "Omitted": self.phase is Phase.OMITTED,
            # Nothing that runs here is a daemon.
            "Daemoned": False,
            "AnySucceeded": any(item is Phase.SUCCEEDED for item in items),
            "AllFailed": bool(items) and all(item is Phase.FAILED for item in items),
        }


@dataclass
class Graph:
    """The tasks of one DAG, as the template has them."""

    tasks: Mapping[str, Mapping[str, Any]]
    _resolved: dict[str, tuple[dict[str, bool], str]] = field(default_factory=dict)

    def dependencies(self, name: str) -> dict[str, bool]:
        """Return the tasks that ``name`` waits for, each with whether it is asked about its items."""
        return self._resolve(name)[0]

    def logic(self, name: str) -> str:
        """Return the condition in full; empty where the task waits for nothing."""
        return self._resolve(name)[1]

    def ancestry(self, name: str, finished: Callable[[str], datetime | None]) -> list[str]:
        """Return all that come before ``name``, the first to finish first."""
        found: dict[str, None] = {}

        def visit(task: str) -> None:
            if task in found:
                return
            for dependency in self.dependencies(task):
                visit(dependency)
            if task != name:
                found[task] = None

        visit(name)
        return sorted(found, key=lambda task: _sortable(finished(task)))

    @cached_property
    def leaves(self) -> list[str]:
        """Return the tasks that none waits for, in the order of their names."""
        waited_for = {dependency for name in self.tasks for dependency in self.dependencies(name)}
        return sorted(name for name in self.tasks if name not in waited_for)

    @cached_property
    def sorted(self) -> list[str]:
        """Return all tasks, each behind those that it waits for."""
        order: dict[str, None] = {}

        def visit(task: str) -> None:
            if task not in order:
                for dependency in self.dependencies(task):
                    visit(dependency)
                order[task] = None

        for name in self.tasks:
            visit(name)
        return list(order)

    def cycle(self) -> list[str] | None:
        """Return tasks that wait for each other, or None."""
        done: set[str] = set()

        def visit(task: str, path: list[str]) -> list[str] | None:
            if task in done or task not in self.tasks:
                return None
            for dependency in self.dependencies(task):
                if dependency in path:
                    return [*path[path.index(dependency) :], dependency]
                if (found := visit(dependency, [*path, dependency])) is not None:
                    return found
            done.add(task)
            return None

        return next((found for name in self.tasks if (found := visit(name, [name])) is not None), None)

    def should_run(self, name: str, outcome: Callable[[str], Outcome]) -> bool:
        """Say whether ``name`` runs, now that all that it waits for has ended; raises `ExpressionError`."""
        # Task names may have hyphens, which expressions take for a minus.
        logic = self.logic(name).replace("-", "_")
        scope = {task.replace("-", "_"): outcome(task).results() for task in self.dependencies(name)}
        try:
            return parse(logic).evaluate_bool(scope)
        except ExpressionError as error:
            raise ExpressionError(f"unable to evaluate expression '{logic}': {error.cause}") from error

    def _resolve(self, name: str) -> tuple[dict[str, bool], str]:
        if name not in self._resolved:
            self._resolved[name] = self._resolve_now(name)
        return self._resolved[name]

    def _resolve_now(self, name: str) -> tuple[dict[str, bool], str]:
        task = self.tasks[name]
        depends = task.get("depends") or " && ".join(self._expand(other) for other in task.get("dependencies") or ())
        dependencies: dict[str, bool] = {}

        def expand(match: re.Match[str]) -> str:
            if match[1]:
                other, result = match[1].split(".")
                dependencies[other] = dependencies.get(other, False) or result in OF_ITEMS
                return match[1]
            dependencies[match[2]] = False
            return self._expand(match[2])

        return dependencies, _NAME.sub(expand, depends)

    def _expand(self, name: str) -> str:
        on = self.tasks.get(name, {}).get("continueOn") or {}
        results = ["Succeeded", "Skipped", "Daemoned"]
        results += ["Errored"] if on.get("error") else []
        results += ["Failed"] if on.get("failed") else []
        return "(" + " || ".join(f"{name}.{result}" for result in results) + ")"


def invalid_result(depends: str) -> tuple[str, str] | None:
    """Return the first ``task.Result`` of ``depends`` whose result there is not, as its two parts."""
    for match in _NAME.finditer(depends):
        if match[1]:
            task, result = match[1].split(".")
            if result not in RESULTS:
                return task, result
    return None


def _sortable(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0

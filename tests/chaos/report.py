"""What came of it all, in figures that were counted: a table, and a file of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.scene import Result

_COLUMNS: tuple[tuple[str, Callable[[list[Result]], int]], ...] = (
    ("faults", lambda all_: len({result.case for result in all_ if result.met})),
    ("not reached", lambda all_: sum(not result.met for result in all_)),
    ("faulted rotations", lambda all_: sum(result.met for result in all_)),
    ("runs", lambda all_: sum(result.runs for result in all_)),
    ("converged", lambda all_: sum(result.met and result.converged for result in all_)),
    ("after a sweep", lambda all_: sum(result.swept for result in all_)),
    ("orphans", lambda all_: sum(len(result.left.orphans) for result in all_)),
    ("outages", lambda all_: sum(len(result.left.outages) for result in all_)),
    ("lost fields", lambda all_: sum(len(result.left.lost) for result in all_)),
    ("double rolls", lambda all_: sum(len(result.left.double_rolls) for result in all_)),
    ("for a person", lambda all_: sum(len(result.left.for_a_person) for result in all_)),
    ("unexpected errors", lambda all_: sum(len(result.unexpected) for result in all_)),
)
_NEVER = ("orphans", "outages", "lost_fields", "double_rolls", "leaked_bytes", "unexpected_errors")


@dataclass
class Report:
    """`leaks`: place -> bytes of key text that were found there. `model_examples`: None where none were played to the end;
    `model_fault`: what one of them found wrong. `points`: world -> the points at which its runs can be killed."""

    seed: int
    size: str
    results: list[Result] = field(default_factory=list)
    leaks: dict[str, int] = field(default_factory=dict)
    points: dict[str, list[str]] = field(default_factory=dict)
    model_examples: int | None = None
    model_fault: str = ""
    seconds: int = 0

    def add(self, result: Result) -> None:
        self.results.append(result)

    @property
    def figures(self) -> dict[str, int]:
        counted = {name.replace(" ", "_"): count(self.results) for name, count in _COLUMNS}
        counted["leaked_bytes"] = sum(self.leaks.values())
        if self.model_examples is not None:
            counted["model_examples"] = self.model_examples
        return {**counted, "seed": self.seed, "seconds": self.seconds}

    @property
    def is_well(self) -> bool:
        """Every faulted rotation has converged, and what must never happen has not; a case that was not reached too."""
        figures = self.figures
        bad = (
            bool(self.model_fault)
            or any(figures[name] for name in _NEVER)
            or any(not result.converged for result in self.results)
        )
        return not bad and figures["faulted_rotations"] > 0

    @property
    def cells(self) -> dict[str, dict[str, int]]:
        """World -> point -> in how many cases a run was killed there or put to sleep; 0 too."""
        counted = {world: dict.fromkeys(points, 0) for world, points in self.points.items()}
        for each in self.results:
            if each.met and each.point in counted.get(each.world, {}):
                counted[each.world][each.point] += 1
        return counted

    def write(self, folder: Path) -> Path:
        path = folder / "report.json"
        path.write_text(json.dumps(self._whole(), indent=2) + "\n")
        return path

    def _whole(self) -> dict[str, Any]:
        return {
            **self.figures,
            "size": self.size,
            "families": {name: {column: count(all_) for column, count in _COLUMNS} for name, all_ in self._families()},
            "violations": [self._violation(each) for each in self.results if each.left.facts or each.unexpected],
            "for_a_person": [
                f"{each.case} @ {each.world}: {fact}" for each in self.results for fact in each.left.for_a_person
            ],
            "cells": self.cells,
            "leaks": self.leaks,
            "model_fault": self.model_fault,
            "not_reached_cases": [f"{each.case} @ {each.world}" for each in self.results if not each.met],
        }

    def _violation(self, result: Result) -> dict[str, Any]:
        only = f"{result.family}: {result.case} @ {result.world}"
        return {
            "case": only,
            "facts": [*result.left.facts, *result.unexpected],
            "runs": result.told,
            "replay": f"python -m tests.chaos --size {self.size} --seed {self.seed} --only '{only}'",
        }

    def _families(self) -> Iterable[tuple[str, list[Result]]]:
        for name in dict.fromkeys(result.family for result in self.results):
            yield name, [result for result in self.results if result.family == name]

    def show(self, console: Console) -> None:
        table = Table("family", *(name for name, _ in _COLUMNS), title=f"Chaos, seed {self.seed}")
        for name, all_ in (*self._families(), ("all", self.results)):
            table.add_row(name, *(str(count(all_)) for _, count in _COLUMNS), end_section=name != "all")
        console.print(table)
        for world, cells in self.cells.items():
            missed = sum(not count for count in cells.values())
            console.print(f"{world}: {len(cells)} points, {sum(cells.values())} cells, {missed} points without one")
        for each in map(self._violation, (each for each in self.results if each.left.facts or each.unexpected)):
            console.print(f"{each['case']}\n  " + "\n  ".join(each["facts"]) + f"\n  {each['replay']}", markup=False)
        for place, count in self.leaks.items():
            console.print(f"leaked: {count} bytes in {place}", markup=False)
        if self.model_fault:
            console.print(f"the model: {self.model_fault}", markup=False)
        examples = "" if self.model_examples is None else f", {self.model_examples} examples of the model"
        console.print(f"leaked bytes: {sum(self.leaks.values())}{examples}, {self.seconds} s, seed {self.seed}")

"""What a case has left behind."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Left:
    """What is wrong, in sentences. `unfinished`: why it has not converged.

    `for_a_person` is not wrong: what the shape of provider leaves to people by its nature, and FACTS.risks tell of.
    """

    orphans: list[str] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    double_rolls: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    for_a_person: list[str] = field(default_factory=list)

    @property
    def facts(self) -> list[str]:
        return [*self.unfinished, *self.orphans, *self.outages, *self.lost, *self.double_rolls]

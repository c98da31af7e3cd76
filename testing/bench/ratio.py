"""One measured ratio: ours over a peer or an unavoidable part, both taken in the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """`ours` over `peer` in `unit`; `limit` is what the project promises, None where it is only told."""

    name: str
    ours: float
    peer: float
    limit: float | None
    unit: str
    note: str = ""

    @property
    def value(self) -> float:
        return self.ours / self.peer

    @property
    def holds(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def as_line(self) -> str:
        limit = "told" if self.limit is None else f"<= {self.limit:g}"
        verdict = "" if self.limit is None else ("  ok" if self.holds else "  MISSED")
        figures = f"({self.ours:.6g} / {self.peer:.6g} {self.unit})"
        return f"{self.value:7.2f}  {limit:8}{verdict:8}  {self.name}  {figures}  {self.note}".rstrip()

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "ratio": round(self.value, 4),
            "limit": self.limit,
            "holds": self.holds,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "note": self.note,
        }

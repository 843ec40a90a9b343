"""One line now and then: where the run is, how fast it goes and when it will be done."""

from __future__ import annotations

import time


class Progress:
    deadline: float | None = None  # time.monotonic() after which every stage stops early; set by --limit

    def __init__(self, stage: str, steps: int, log: list[dict]):
        self.stage, self.steps, self.log, self.start = stage, steps, log, time.monotonic()
        self.stage_deadline: float | None = None

    def report(self, step: int, **values: float) -> None:
        spent = time.monotonic() - self.start
        done = self.fraction(step + 1)
        eta = spent * (1 / max(done, 1e-6) - 1)
        self.log.append({"stage": self.stage, "step": step, "seconds": round(spent, 2), **values})
        text = "  ".join(f"{k} {v:.4g}" for k, v in values.items())
        print(f"{self.stage:8s} {step + 1:6d} ({done:4.0%})  {text}  {spent:.0f} s, {eta:.0f} s to go", flush=True)

    def fraction(self, step: int) -> float:
        """How much of the stage is done: by steps, or by time where a time limit will come first."""
        now = time.monotonic()
        limits = [limit for limit in (Progress.deadline, self.stage_deadline) if limit is not None]
        timed = max(((now - self.start) / max(limit - self.start, 1e-3) for limit in limits), default=0.0)
        return min(1.0, max(step / self.steps, timed))

    def expired(self) -> bool:
        now = time.monotonic()
        return any(limit is not None and now > limit for limit in (Progress.deadline, self.stage_deadline))

    def restart(self) -> float:
        """Begins the count of steps and of time anew, without moving the deadline; returns the seconds spent."""
        spent = time.monotonic() - self.start
        self.start += spent
        return spent

"""A ceiling that finds its place: up by steps while requests are served, down by a factor when one is refused."""

from __future__ import annotations

DECREASE = 0.7
_LONGEST_PATIENCE = 16_000  # served requests before the next try
_IMPATIENCE = 4.0  # by what the patience grows with each try in vain


class AIMD:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989), with a memory of where it was refused.

    One round is `value` served requests: a round trip when the value is requests in flight, a second when it is
    requests per second. Plain AIMD is refused once per cycle, for good; here the value returns to just under what
    was refused, stays, and tries more only after a patience that grows with every try in vain. A value that served
    `proven_rounds` before a refusal stays trusted: the refusal is then taken for a disturbance. Not thread-safe.
    """

    def __init__(self, ceiling: float, floor: float, step: float, step_share: float, proven_rounds: float) -> None:
        self.ceiling = ceiling
        self.floor = min(floor, ceiling)
        self.value = max(self.floor, ceiling / 2)
        self._trusted = ceiling
        self._step, self._step_share = step, step_share
        self._proven_rounds = proven_rounds
        self._served = 0
        self._patience = 0.0
        self._never_refused = True
        self._trying = False

    def served(self) -> None:
        """One request was served at the present value."""
        self._served += 1
        if self.value < self._trusted:
            rise = 1.0 if self._never_refused else self._stride() / max(self.value, 1.0)
            self._set(min(self._trusted, self.value + rise))
        elif self.value < self.ceiling and self._served >= self._wait():
            if self._trying:
                self._patience = 0.0
            self._trying = True
            self._trusted = min(self.ceiling, self.value + self._stride())
            self._set(self._trusted)

    def refused(self, at: float) -> None:
        """A request was refused while the load was `at`, in the units of the value."""
        proven = self.value >= self._trusted and self._served >= self._proven()
        if not proven:
            self._trusted = max(self.floor, min(self._trusted, at - self._stride()))
            waited = max(self._patience, self._proven())
            self._patience = min(_LONGEST_PATIENCE, _IMPATIENCE * waited) if self._trying else 0.0
        self._trying = False
        self._never_refused = False
        self._set(max(self.floor, min(self.value, at) * DECREASE))

    def fall_to(self, value: float) -> None:
        """Go down at once; the way up is by steps."""
        self._never_refused = False
        self._set(max(self.floor, min(self.value, value)))

    def _stride(self) -> float:
        return max(self._step, self._step_share * self.value)

    def _wait(self) -> float:
        """Served requests before the next try: few while tries succeed, ever more after tries in vain."""
        return self._proven() if self._trying else max(self._patience, self._proven())

    def _proven(self) -> float:
        return self._proven_rounds * self.value

    def _set(self, value: float) -> None:
        if value != self.value:
            self._served = 0
        self.value = value

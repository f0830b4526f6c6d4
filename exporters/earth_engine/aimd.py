"""An adaptive limit: it rises by steps while requests are served, and falls by a factor when one is refused."""

from __future__ import annotations

DECREASE = 0.7
_LONGEST_PATIENCE = 16_000  # served requests before the next try
_PATIENCE_FACTOR = 4.0  # the patience grows by this factor with each failed try


class AIMD:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989), with a memory of the refused value.

    One round is `value` served requests: a round trip when the value is requests in flight, a second when it is
    requests per second. Plain AIMD is refused once per cycle, without end. Here the value returns to just under the
    refused one and stays there; it tries a higher one only after a patience that grows with every failed try. A value
    that served `proven_rounds` before a refusal stays trusted: such a refusal counts as a disturbance. Not thread-safe.
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
        """Count a request that was served at the present value."""
        self._served += 1
        if self.value < self._trusted:
            rise = 1.0 if self._never_refused else self._stride() / max(self.value, 1.0)
            self._set(min(self._trusted, self.value + rise))
        elif self.value < self.ceiling and self._served >= self._served_before_try():
            if self._trying:
                self._patience = 0.0
            self._trying = True
            self._trusted = min(self.ceiling, self.value + self._stride())
            self._set(self._trusted)

    def refused(self, at: float) -> None:
        """Count a refusal at the load `at`, in the units of the value, and decrease the value."""
        proven = self.value >= self._trusted and self._served >= self._served_when_proven()
        if not proven:
            self._trusted = max(self.floor, min(self._trusted, at - self._stride()))
            waited = max(self._patience, self._served_when_proven())
            self._patience = min(_LONGEST_PATIENCE, _PATIENCE_FACTOR * waited) if self._trying else 0.0
        self._trying = False
        self._never_refused = False
        self._set(max(self.floor, min(self.value, at) * DECREASE))

    def fall_to(self, value: float) -> None:
        """Decrease to `value` at once; the value then rises by steps."""
        self._never_refused = False
        self._set(max(self.floor, min(self.value, value)))

    def _stride(self) -> float:
        return max(self._step, self._step_share * self.value)

    def _served_before_try(self) -> float:
        """Served requests before the next try: few while tries succeed, more after each failed one."""
        return self._served_when_proven() if self._trying else max(self._patience, self._served_when_proven())

    def _served_when_proven(self) -> float:
        return self._proven_rounds * self.value

    def _set(self, value: float) -> None:
        if value != self.value:
            self._served = 0
        self.value = value

"""Stages as Prefect flow runs; the only room that imports Prefect, which is told here how to work alone."""

from flows import offline

# Prefect reads its settings when it is first imported, and it is imported by no module outside of this room.
offline.set_up_prefect()

"""The public names of the project, for those who import it."""

from geocorpus.hidden import refuse_hidden as _refuse_hidden

_refuse_hidden()  # before any of the other packages is imported

"""The explorer: a page of this machine alone on which a corpus is looked at, place by place and layer by layer."""

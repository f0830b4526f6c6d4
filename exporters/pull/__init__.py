"""From a manifest to shards: one pixel request per chip; the estimate before it, and the preview of a layer."""

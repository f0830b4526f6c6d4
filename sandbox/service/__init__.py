"""The HTTP side of the local Earth Engine: protocol, quotas, faults."""

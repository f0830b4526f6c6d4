"""Access to Earth Engine: client, transport, limits, retries and the cost of requests."""

"""Speaking with the service: client, transport, limits, retries and the cost of requests."""

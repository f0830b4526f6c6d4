"""A local Earth Engine on 127.0.0.1 that the unmodified client talks to over HTTP."""

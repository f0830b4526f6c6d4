"""What the local Earth Engine serves: the planet's assets and folders of real rasters."""

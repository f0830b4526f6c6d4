"""What Earth Engine computes for a chip, against the pixels that it stores: interpolated here, compared, and drawn"""

"""How images are distorted: the sets of the spatial transformer paper, of any grey dataset."""

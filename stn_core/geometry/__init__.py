"""Where to look and what is read there: sampling grids, warps with inverses, samplers."""

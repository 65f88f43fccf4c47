"""One clock per clip: decode, place by timestamps, resample onto the grid, judge the quality."""

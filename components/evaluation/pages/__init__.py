"""An evaluation as files: `write.py` has all of them; `report.py`, `plots.py` and `timeline_plot.py` are for people."""

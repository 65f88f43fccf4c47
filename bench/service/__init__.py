"""Benchmarks of the running service.

live_streams.py  live streams side by side
promotions.py    from the moved alias to every replica
shadow.py        what a challenger on trial costs
"""

"""Benchmarks of the running service.

fuzz.py          bent requests: answers, memory, files
live_streams.py  live streams side by side
many_clips.py    memory of a long `mer predict`
promotions.py    from the moved alias to every replica
shadow.py        what a challenger on trial costs
throughput.py    beside a plain FastAPI (`plain_service.py`) and MLflow's server
"""

"""Many clips, each answered once: what `mer predict --out` and a job of the service share, and that job.

answered.py    a clip judged into a file, the journal of what is done, the tables of many answers
schemas.py     what a client sends and gets about a job
jobs.py        jobs on disk, which outlive the process that works on them
worker.py      works on jobs in a replica, where requests leave it a place
"""

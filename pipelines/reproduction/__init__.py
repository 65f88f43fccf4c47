"""`mer reproduce`: a registered version trained again from what its training recorded, and compared with it.

checkout.py  its commit and data in a folder of their own
compare.py   weights, circumstances and figures side by side; pure functions
run.py       the command
"""

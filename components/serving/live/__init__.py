"""Live streams: a client sends sound, pictures, words and body signals as they arise, and gets each step back as soon
as it is judged.

protocol.py   the messages, as docs/stream.md describes them
session.py    one stream: what arrived, what is due, what came out; no socket, no thread
wire.py       what a stream asks of a replica, and what comes back
judge.py      a part of a stream → its steps, by a predictor; the whole of it → the answer
streams.py    the WebSockets of a proxy
capture.py    a file or a device as the pieces of a stream, for `mer predict --live`
"""

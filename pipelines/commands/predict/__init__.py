"""`mer predict`.

command.py  some clips
folder.py   very many, as tables and subtitles; on_ray.py: by the actors of a Ray
live.py     as a stream
"""

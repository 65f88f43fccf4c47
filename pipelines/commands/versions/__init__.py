"""Commands on registered versions.

gates.py     a version against the champion
promote.py   the alias moved
sign.py      vouched for by a person
verified.py  how commands find and load a version
"""

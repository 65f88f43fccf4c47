"""What pages and pictures have in common.

drawing.py    the colours and the style of pictures
fonts.py      fonts for names in any script
templates.py  Jinja2 templates as text
"""

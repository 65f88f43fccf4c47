"""`mer datasets …`.

cli.py       arguments and help; settings.py: the configuration that they make
check.py     a corpus before it is used; describe.py: an adapter in words
preview.py   some of its clips; sample.py: which; preview_page.py: their page
add.py       files for a new adapter; download.py: an openly licensed corpus
"""

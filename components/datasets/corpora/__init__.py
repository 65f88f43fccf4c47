"""One adapter per corpus: its layout, its labels, its licence.

recorded  affwild2, cremad, emodb, iemocap, meld, mosei, ravdess, wesad (wesad_media.py, wesad_pickle.py)
rendered  synthetic
any       folder.py: sorted by emotion; manifest.py: listed in a table (manifest_rows.py);
          feature_table.py: features in place of media (feature_rows.py)
"""

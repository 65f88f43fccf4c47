"""`mer withdraw`: a person takes their consent back."""

"""`mer withdraw`: a person withdraws their consent."""

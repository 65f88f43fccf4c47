"""The temporal model with bi-directional cross-attention; plain torch."""

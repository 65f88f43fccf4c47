"""The temporal model with bi-directional cross-attention; plain torch.

model.py       projection → temporal.py → attention.py → fusion.py → heads.py
statistics.py  a clip by the mean and spread of its features, a step by its features alone
ways.py        clips and steps read in several ways beside each other
objective.py   the table of losses; losses.py and contrastive.py hold them
streaming.py   the causal model step by step
upper_layers.py  the last layers of an encoder that learn with the model
published/     the published model; build.py chooses by preset
base.py        what every model takes and gives; spec.py: enough to build one again; files.py: safetensors and JSON
carried.py     the weights of an earlier model
sparse.py      a modality that few clips have is computed for those alone
scores.py      F1, UAR, accuracy; agreement.py: concordance
"""

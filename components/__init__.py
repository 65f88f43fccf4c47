"""The pipeline's components. Each imports only from those before it, which `make check` holds.

contracts   what all share: settings, records, labels, errors      training    the loop, Ray Train around it
runtime     processes, Ray, checkpoints, progress                  evaluation  measurement on held-out people
media       reading one file                                       ablation    variants side by side
datasets    a layout on disk → a clip table                        tuning      a search for settings
alignment   every clip on one clock                                registry    a model as a registered version
features    encoders, run once per clip                            monitoring  whether answers have moved
validation  Great Expectations, quarantine                         serving     from a clip to an answer, over HTTP
catalog     the list that a model is trained on                    rollout     the service follows the alias
model       bi-directional cross-attention over time
inference   from model outputs to answers
tracking    MLflow
"""

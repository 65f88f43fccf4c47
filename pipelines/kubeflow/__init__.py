"""The DAG on Kubernetes: `retrain.py` generates the pipeline from `dvc.yaml`, the others what surrounds it."""

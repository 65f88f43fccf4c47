"""The pipeline on Kubernetes: `retrain.py` generates it from `dvc.yaml`; also schedules and manifests."""

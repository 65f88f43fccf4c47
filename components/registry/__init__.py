"""The model bundle (safetensors + JSON) and its registration in MLflow."""

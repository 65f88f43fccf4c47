"""`mer serve` and `mer keys`: `serve.py` starts the parts, `supervise.py` watches them, `mlflow_server.py` is one."""

"""`mer serve` and `mer keys`.

serve.py          starts the parts; supervise.py watches them; janitor.py removes what they leave
mlflow_server.py  one of the parts
woken.py          what wakes the reconciler
keys.py           API keys
"""

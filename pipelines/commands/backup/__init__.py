"""`mer backup`: copies of MLflow's database and of the stores."""

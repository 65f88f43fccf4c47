"""What `mer` offers beside the stages, one module per command or one room per noun."""

"""One thin module a DVC stage, and the commands around them."""

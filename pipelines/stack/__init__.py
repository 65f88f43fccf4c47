"""`make stack`: the parts of a production installation as processes of this machine, and the main job against them."""

"""From a clip to an answer: the predictor, and the Ray Serve application around it."""

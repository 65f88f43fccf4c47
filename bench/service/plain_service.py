"""The service that one writes first: FastAPI and uvicorn around a predictor per process, without limits, a queue,
versions or figures. What `bench/service/throughput.py` compares with.

    python -m uvicorn bench.service.plain_service:make --factory --workers 2
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Request, Response, UploadFile
from safetensors.numpy import load

from components.features.base import Encoded
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE
from components.runtime.threads import limit_threads
from components.serving.clips import clip_of_file
from components.serving.predictor import Predictor


def make() -> FastAPI:
    """The application of one process."""
    limit_threads()
    predictor = Predictor(load_bundle(BUNDLE))
    app = FastAPI()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    def predict(clip: UploadFile) -> Response:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            path.write_bytes(clip.file.read())
            answer = predictor.predict(clip_of_file(path, predictor.guard))
        return Response(answer.to_json(), media_type="application/json")

    @app.post("/features")
    async def features(request: Request) -> Response:
        arrays = load(await request.body())
        encoded = {name: Encoded(np.nan_to_num(rows), np.isfinite(rows).all(axis=1)) for name, rows in arrays.items()}
        return Response(predictor.predict_features(encoded, name="features").to_json(), media_type="application/json")

    return app

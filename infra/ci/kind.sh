#!/usr/bin/env bash
# For those who have Docker: a cluster of kind, every overlay through the API server, one RayJob, one run of Kubeflow.
# NOT RUN where the project is tested, which has no Docker: `tests/infra/test_kind.py` checks its syntax and that the files
# and commands it names are there. Needs docker, kind, kubectl, helm, 16 GiB of memory, and about an hour.
set -euo pipefail
cd "$(dirname "$0")/../.."
KUBERAY=1.7.0 KFP=2.17.0 IMAGE=registry.example.org/mer
MER=.venv/bin/mer

make env
docker build -f infra/images/Dockerfile -t $IMAGE-python:dev --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
docker tag $IMAGE-python:dev $IMAGE-serving:dev
docker build -f infra/images/Dockerfile.tracking -t $IMAGE-tracking:dev .
kind create cluster --name mer --wait 5m
trap 'kind export logs --name mer .mer/kind-logs; kind delete cluster --name mer' EXIT
kind load docker-image --name mer $IMAGE-python:dev $IMAGE-serving:dev $IMAGE-tracking:dev
helm install kuberay-operator kuberay-operator --repo https://ray-project.github.io/kuberay-helm \
  --version $KUBERAY --namespace kuberay-system --create-namespace --wait

kubectl apply -f infra/base/namespace.yaml
kubectl -n mer create secret generic mer-service-token --from-literal=auth_token="$(openssl rand -hex 32)"
for overlay in dev kind prod prod-postgres prod-oidc; do
  kubectl apply --dry-run=server -k infra/overlays/$overlay
done
kubectl apply -k infra/overlays/kind
kubectl -n mer wait --for=condition=Available deployment/mer-mlflow --timeout=10m

# The workspace: this checkout with a tiny corpus.
kubectl apply -f infra/ci/workspace-pod.yaml
kubectl -n mer wait --for=condition=Ready pod/workspace --timeout=5m
git archive HEAD | kubectl -n mer exec -i workspace -- tar -C /workspace -x
kubectl -n mer exec workspace -- sh -c 'cd /workspace && git init --quiet && cp pipelines/stack/params.yaml params.yaml'

$MER rayjob --overlay kind | kubectl create -f -
kubectl -n mer wait --for=jsonpath='{.status.jobStatus}'=SUCCEEDED rayjob --all --timeout=40m
kubectl -n mer wait --for=jsonpath='{.status.serviceStatus}'=Running rayservice/mer --timeout=20m

kubectl apply -k "github.com/kubeflow/pipelines/manifests/kustomize/cluster-scoped-resources?ref=$KFP"
kubectl wait --for=condition=established crd/applications.app.k8s.io --timeout=2m
kubectl apply -k "github.com/kubeflow/pipelines/manifests/kustomize/env/dev?ref=$KFP"
kubectl -n kubeflow wait --for=condition=Available deployment/ml-pipeline --timeout=20m
kubectl -n kubeflow port-forward svc/ml-pipeline 8888:8888 &
sleep 5
$MER kfp run --host http://127.0.0.1:8888

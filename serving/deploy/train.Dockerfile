# Training, evaluation, export and the pipeline, from the root of the checkout:
#   docker build -f serving/deploy/train.Dockerfile -t lts-train:0.1.0 .
#   docker build -f serving/deploy/train.Dockerfile -t lts-train:0.1.0-gpu --build-arg ACCELERATOR=gpu .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD/runs:/runs" -v "$PWD/data:/data:ro" \
#       lts-train:0.1.0-gpu train --config configs/refcoco.yaml --workdir /runs/refcoco
# `python -m pipelines compile --image lts-train:0.1.0 ...` names this image for every step on a cluster.
ARG ACCELERATOR=cpu
FROM python:3.11-slim-bookworm AS base

FROM base AS build-cpu
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt setup.cfg pyproject.toml README.md LICENSE ./
COPY lts_keras/ lts_keras/
COPY serving/ serving/
RUN pip install --constraint constraints.txt ".[onnx,pipelines]" "./serving[server]"

# CUDA's libraries as wheels; the driver comes from the machine (nvidia-container-toolkit).
FROM build-cpu AS build-gpu
RUN pip install --constraint constraints.txt "tensorflow[and-cuda]==2.21.0"

FROM build-${ACCELERATOR} AS build

FROM base
COPY --from=build /opt/venv /opt/venv
# `python -m pipelines` and the configurations run from here.
COPY pipelines/ /opt/lts/pipelines/
COPY configs/ /opt/lts/configs/
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/lts HOME=/tmp PYTHONUNBUFFERED=1 MPLBACKEND=Agg \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/lts
USER 65532:65532
ENTRYPOINT ["lts"]
CMD ["--help"]

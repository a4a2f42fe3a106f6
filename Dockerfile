# ONE image: the base image of every pipeline step, the Beam worker image and the training image.
# Nothing is fetched when it runs: everything is installed here, from locked and hashed requirements.
# `make image` builds it for linux/amd64; EXTRA=cuda or tpu builds one for training on GPUs or TPUs.
# The two base images are named by tags, which can move: docs/operations.md shows how to find their
# digests, and to build from those.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm
ARG BEAM=docker.io/apache/beam_python3.11_sdk:2.77.0
# cuda adds 3 GB of CUDA; tpu has another TensorFlow, so its requirements are a lock of their own.
ARG EXTRA=cpu

FROM ${BEAM} AS beam

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
RUN python -m venv /opt/quatrain
ENV PATH=/opt/quatrain/bin:$PATH
WORKDIR /src
COPY requirements requirements
ARG EXTRA
RUN case "$EXTRA" in \
      cpu) set -- -r requirements/runtime.txt ;; \
      cuda) set -- -r requirements/runtime.txt -r requirements/cuda.txt ;; \
      tpu) set -- -r requirements/tpu.txt ;; \
      *) echo "EXTRA is '$EXTRA'; write cpu, cuda or tpu" >&2; exit 64 ;; \
    esac \
 && python -m pip install --require-hashes --only-binary :all: -r requirements/bootstrap.txt \
 && uv pip install --require-hashes --no-build-isolation --compile-bytecode "$@" \
 && python -m pip uninstall --yes uv
COPY pyproject.toml README.md LICENSE ./
COPY quatrain quatrain
COPY pipelines pipelines
COPY components components
COPY trainer trainer
RUN python -m pip install --no-deps --no-build-isolation --no-index .

FROM ${PYTHON}
LABEL org.opencontainers.image.title="quatrain" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      quatrain.beam="2.77.0"
# boot starts Beam's worker harness; a pipeline step or a training job gives its own command.
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=build /opt/quatrain /opt/quatrain
# The threads of LightGBM, 0.3 MB; Debian's slim images lack them. No version: Debian's mirrors drop
# one when the next is out.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
# A package index is out of reach here on purpose: what runs is what was built.
# The driver of the machine's GPUs is mounted at /usr/local/nvidia.
ENV PATH=/opt/quatrain/bin:/usr/local/nvidia/bin:$PATH \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    PIP_NO_INDEX=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    ARROW_DEFAULT_MEMORY_POOL=system \
    PYTHONDONTWRITEBYTECODE=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
# No USER: Vertex AI's mount of a bucket, its metric file for tuning and Beam's staging folder belong
# to root (docs/security.md).
ENTRYPOINT ["/opt/apache/beam/boot"]
# What the image is built for; doctor and submit compare it with the tier.
ARG EXTRA
LABEL quatrain.accelerator=$EXTRA

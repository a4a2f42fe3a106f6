# ONE image: the base image of every pipeline step, the Beam worker image and the training image.
# Nothing is fetched when it runs: everything is installed here, from locked and hashed requirements.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm
ARG BEAM=docker.io/apache/beam_python3.11_sdk:2.77.0

FROM ${BEAM} AS beam

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
RUN python -m venv /opt/quatrain
ENV PATH=/opt/quatrain/bin:$PATH
WORKDIR /src
COPY requirements requirements
# EXTRA=cuda adds CUDA for the tiers with GPUs: 3 GB more.
ARG EXTRA=runtime
RUN python -m pip install --require-hashes --only-binary :all: -r requirements/bootstrap.txt \
 && uv pip install --require-hashes --no-build-isolation --compile-bytecode -r requirements/runtime.txt -r "requirements/$EXTRA.txt" \
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
# The threads of LightGBM, 0.3 MB; Debian's slim images lack them.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin quatrain
# A package index is out of reach here on purpose: what runs is what was built.
ENV PATH=/opt/quatrain/bin:$PATH \
    PIP_NO_INDEX=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    ARROW_DEFAULT_MEMORY_POOL=system \
    PYTHONDONTWRITEBYTECODE=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
WORKDIR /home/quatrain
USER 10001
ENTRYPOINT ["/opt/apache/beam/boot"]

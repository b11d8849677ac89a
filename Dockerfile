# paperharness on CPUs: docker build --tag paperharness .
#   docker run --rm --init --volume "$PWD:/work" paperharness harness demo
#   docker run --rm --init --volume "$PWD:/work" paperharness lm_eval --model hf-steered …
# The folder that is mounted must be writable by user 1000, or say --user "$(id -u)".
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
# CPU builds of PyTorch are a tenth of those with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=gguf,astral,inspect
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/paperharness
WORKDIR /source
COPY . .
RUN /opt/paperharness/bin/pip install --constraint constraints.txt \
      --extra-index-url "${TORCH_INDEX}" ".[${EXTRAS}]"

FROM python:${PYTHON}-slim-bookworm
RUN useradd --create-home --uid 1000 harness && install --directory --owner harness /work
COPY --from=build /opt/paperharness /opt/paperharness
ENV PATH=/opt/paperharness/bin:$PATH
# Any user may write here, so that --user works: models, data sets, answers.
ENV HF_HOME=/tmp/huggingface PAPERHARNESS_CACHE=/tmp/paperharness MPLCONFIGDIR=/tmp/matplotlib
USER 1000
WORKDIR /work
CMD ["harness", "--help"]

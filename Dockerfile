# compilespan with its demo: CPU build of torch, a C++ compiler for inductor, no root.
#
#   docker build -t compilespan .
#   docker run -p 127.0.0.1:8000:8000 compilespan serve --host 0.0.0.0 --allow-unauthenticated
#
# For a server of your own, COPY its module into the image and run `serve mymodels:targets`.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
# PyTorch's CPU wheels; the default index has the CUDA build (several gigabytes).
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/compilespan
ENV PATH=/opt/compilespan/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt .
# torch has its own layer, because it is large and rarely changes.
RUN pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch
COPY pyproject.toml README.md LICENSE ./
COPY instrumentation instrumentation
COPY service service
RUN pip install --constraint constraints.txt ".[cache,demo]" s3fs

FROM python:${PYTHON}
# inductor compiles C++ at run time. The compiler's version is pinned with the base image.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home compilespan \
 && mkdir -p /var/cache/compilespan /var/lib/compilespan \
 && chown compilespan: /var/cache/compilespan /var/lib/compilespan
COPY --from=build /opt/compilespan /opt/compilespan
ENV PATH=/opt/compilespan/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TORCHINDUCTOR_CACHE_DIR=/var/cache/compilespan/inductor \
    COMPILESPAN_STATE_DIR=/var/lib/compilespan/state
# The compile cache makes the next start warm; the journals are its history.
VOLUME ["/var/cache/compilespan", "/var/lib/compilespan"]
USER 10001
WORKDIR /home/compilespan
EXPOSE 8000
# Checks that it is alive, not ready: a cold start may take minutes, and killing it makes the next one
# cold as well.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["compilespan"]
CMD ["serve", "--host", "0.0.0.0"]

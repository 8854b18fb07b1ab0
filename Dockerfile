# The suite in a container. Stage run trains and judges; stage lab adds Jupyter and the notebook.
#
#   STN_COMMIT=$(git describe --always --dirty --abbrev=40 --match='') docker compose build
#
# BASE is any image with Python 3.11 to 3.14 as python3 and its module venv.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS run
WORKDIR /stn
COPY requirements.lock ./
RUN python3 -m venv /opt/stn \
    && /opt/stn/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE pytest.ini conftest.py baselines.json ./
COPY stn_core stn_core
COPY benchmarks benchmarks
RUN /opt/stn/bin/pip install --no-cache-dir --no-deps --editable . \
    && mkdir results data models

# compose.yaml names the calling user instead, so that what is written belongs to the caller.
USER 1000:1000
ARG STN_COMMIT=
ENV STN_COMMIT=${STN_COMMIT} \
    STN_DATA=/stn/data \
    STN_CACHE=/stn/data/.cache \
    PYTHONPATH=/stn/models \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTEST_ADDOPTS="-p no:cacheprovider" \
    PATH=/opt/stn/bin:$PATH \
    HOME=/tmp
ENTRYPOINT ["pytest", "benchmarks"]

FROM run AS lab
USER 0:0
ARG JUPYTERLAB=4.6.6
RUN /opt/stn/bin/pip install --no-cache-dir jupyterlab==${JUPYTERLAB}
COPY notebooks notebooks
USER 1000:1000
EXPOSE 8888
# Without JUPYTER_TOKEN the server makes a token and shows it in its log.
ENTRYPOINT ["jupyter", "lab", "--no-browser"]
CMD ["--ip=0.0.0.0", "--port=8888", "--ServerApp.root_dir=/stn"]

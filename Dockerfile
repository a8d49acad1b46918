# The dashboard and all commands, without the sample: docker build -t qviz . && docker run --rm -p 8501:8501 qviz
# compose.yml has a read-only file system, volumes and a Dask cluster; docs/deployment.md explains both.
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --quiet --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
ARG EXTRAS=cluster,onnx
COPY --from=build /wheels /wheels
RUN pip install --quiet --no-cache-dir "$(ls /wheels/*.whl)[$EXTRAS]" && rm -r /wheels
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin qviz && install -d -o qviz -g qviz /data /cache
USER 10001
WORKDIR /data
ENV HOME=/tmp QVIZ_DATA=/data QVIZ_CACHE=/cache PYTHONDONTWRITEBYTECODE=1 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_HEADLESS=true
VOLUME ["/data", "/cache"]
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["qviz"]
CMD ["app"]

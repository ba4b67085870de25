# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/pixied
COPY client_sdk/python client_sdk/python
COPY pyproject.toml README.md LICENSE ./
COPY server server
RUN /opt/pixied/bin/pip install --no-cache-dir ./client_sdk/python .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home pixied
COPY --from=build /opt/pixied /opt/pixied
USER 10001
ENV PATH=/opt/pixied/bin:$PATH \
    PIXIED_LISTEN=0.0.0.0:50051 \
    PIXIED_INSECURE=true
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import grpc; from grpc_health.v1 import health_pb2, health_pb2_grpc; \
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel('127.0.0.1:50051')); \
assert stub.Check(health_pb2.HealthCheckRequest(), timeout=2).status == health_pb2.HealthCheckResponse.SERVING"]
ENTRYPOINT ["pixied"]
CMD ["serve"]

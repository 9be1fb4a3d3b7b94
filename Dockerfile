# Leveret in a container of its own: `docker build -t leveret .`, then
#
#   docker run -d --name leveret -p 5672:5672 -v leveret:/var/lib/leveret \
#       -e LEVERET_AUTH_DEFAULT_USER=alice -e LEVERET_AUTH_DEFAULT_PASS=... leveret
#
# Every setting can be given as a variable, see docs/configuration.md. From within a container nobody is on the same
# machine, so that the user `guest` is refused: name another.

FROM rust:1.95-slim-trixie AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake gcc g++ make && rm -rf /var/lib/apt/lists/*
WORKDIR /leveret
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY .cargo .cargo
COPY benches benches
# The commit, for `leveret --version`: docker build --build-arg BUILD_COMMIT=$(git rev-parse --short HEAD) .
ARG BUILD_COMMIT=unknown
RUN cargo build --release --locked --bin leveret

FROM debian:trixie-slim
# The authorities that sign the certificates of identity providers.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 5672 --home-dir /var/lib/leveret --shell /usr/sbin/nologin leveret \
    && install -d -m 0700 -o leveret -g leveret /var/lib/leveret
COPY --from=build /leveret/target/release/leveret /usr/local/bin/leveret
COPY config/leveret.toml /etc/leveret/leveret.example.toml
# Health checks and scripts that call RabbitMQ's tools by their names.
COPY config/bin/rabbitmqctl config/bin/rabbitmq-diagnostics config/bin/rabbitmq-queues \
    config/bin/rabbitmq-plugins /usr/local/bin/

ENV LEVERET_LISTEN_AMQP=0.0.0.0:5672 \
    LEVERET_HTTP_LISTEN=0.0.0.0:15672 \
    LEVERET_PROMETHEUS_LISTEN=0.0.0.0:15692 \
    LEVERET_STORAGE_DATA_DIR=/var/lib/leveret
USER leveret
VOLUME /var/lib/leveret
EXPOSE 5672 5671 15670 15671 15672 15692
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD leveret ctl ping || exit 1
ENTRYPOINT ["leveret"]

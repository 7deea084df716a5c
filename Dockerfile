# The operator's image: `docker build .`, or on another base
#
#   docker build --build-arg BASE=<registry>/<python image>@sha256:<digest> .
#
# BASE is any Linux image with python3 (3.11 or newer), pinned by digest. If it has no venv module or
# no pip, BUILDER names an image with both and the same python3. Dependencies are wheels whose hashes
# are in requirements.txt; nothing is compiled except bytecode.

ARG BASE=python:3.14-slim@sha256:b877e50bd90de10af8d82c57a022fc2e0dc731c5320d762a27986facfc3355c1
ARG BUILDER=${BASE}

# /opt/operator will hold the operator and what it needs; pip and setuptools stay behind in /tools.
FROM ${BUILDER} AS dependencies
ARG BASE
ARG BUILDER
# A tag can be moved; a digest or the id of a local image cannot.
RUN for image in "${BASE}" "${BUILDER}"; do case "${image}" in \
      *sha256:*) ;; \
      *) echo "${image} is not pinned: give BASE and BUILDER as <image>@sha256:<digest>" >&2; exit 1 ;; \
    esac; done
# The same files make the same bytes: no order of a set and no time gets into them. The times of
# the files themselves are the builder's: buildah --timestamp, buildx rewrite-timestamp=true.
ENV PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=315532800 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/operator \
 && echo 'setuptools==84.2.1 --hash=sha256:ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2' \
      > /tools/requirements.txt \
 && /tools/bin/pip install --require-hashes --only-binary=:all: -r /tools/requirements.txt
COPY requirements.txt ./
# Bytecode is never checked against its source: nothing is written at run time. The Kubernetes
# client's typed calls and models, most of all code, get none: the operator loads but a few.
RUN /tools/bin/pip --python /opt/operator/bin/python install \
      --require-hashes --only-binary=:all: --no-deps --no-compile -r requirements.txt \
 && /opt/operator/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/kubernetes/(aio/)?client/(api|models)/[^_]' /opt/operator/lib

# The operator itself, beside them: a layer of its own, the only one that a new version brings.
FROM dependencies AS build
COPY pyproject.toml README.md ./
COPY operator ./operator
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /tools/bin/pip --python /opt/operator/bin/python install --root /staged \
      --no-deps --no-index --no-compile --find-links /wheels immutable-operator \
 && /opt/operator/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      -s /staged -p / /staged

FROM ${BASE}
COPY --from=dependencies /opt/operator /opt/operator
COPY --from=build /staged/opt/operator /opt/operator
# HOME, because user 65532 has no entry in /etc/passwd, and the Kubernetes client asks for it.
ENV PATH=/opt/operator/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/ \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["immutable-operator"]
CMD ["run"]
# Last, because some builders keep a step although the value of an argument in it has changed.
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="immutable-operator" \
      org.opencontainers.image.description="Replaces instances instead of patching them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"

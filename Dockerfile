# The operator's image. The base is given by the builder, pinned by digest, because the project
# depends on no particular registry:
#
#   docker build --build-arg BASE=<registry>/<python image>@sha256:<digest> .
#
# BASE is any Linux image with python3 (3.11 or newer) and its venv module. Dependencies are wheels
# whose hashes are in requirements.txt; nothing is compiled.

# A name that can be pulled from nowhere: without BASE the build ends at once, and the error names it.
ARG BASE=the-build-argument-base-is-missing.invalid/give-it:as-image-at-sha256-digest

FROM ${BASE} AS build
ARG BASE
# A tag can be moved; a digest or the id of a local image cannot.
RUN case "${BASE}" in \
      *sha256:*) ;; \
      *) echo "BASE=${BASE} is not pinned: give it as <image>@sha256:<digest>" >&2; exit 1 ;; \
    esac
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# pip and setuptools stay behind in /tools; /opt/operator holds the operator and what it needs.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/operator \
 && echo 'setuptools==84.2.1 --hash=sha256:ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2' \
      > /tools/requirements.txt \
 && /tools/bin/pip install --require-hashes --only-binary=:all: -r /tools/requirements.txt

COPY requirements.txt ./
RUN /tools/bin/pip --python /opt/operator/bin/python install \
      --require-hashes --only-binary=:all: --no-deps --no-compile -r requirements.txt

COPY pyproject.toml README.md ./
COPY operator ./operator
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /tools/bin/pip --python /opt/operator/bin/python install \
      --no-deps --no-index --no-compile /wheels/*.whl \
# Bytecode that is never checked against its source: nothing is written at run time.
 && /opt/operator/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/operator/lib \
 && /opt/operator/bin/immutable-operator --help > /dev/null

FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="immutable-operator" \
      org.opencontainers.image.description="Replaces instances instead of patching them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /opt/operator /opt/operator
ENV PATH=/opt/operator/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["immutable-operator"]
CMD ["run"]

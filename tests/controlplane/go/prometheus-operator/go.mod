// Pins the CRDs of the Prometheus Operator; nothing is built from it.
module immutable.dev/tests/controlplane/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0

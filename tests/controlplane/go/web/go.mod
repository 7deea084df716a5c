// The program inside the test images; it depends on nothing but Go.
module immutable.dev/tests/controlplane/web

go 1.26.0

"""Tests of the operator, and the test bed that they run on (`tests.controlplane`)."""

"""Real nodes for the test bed: kubelet and containerd in namespaces, registries, small images.

``nodes.RealNodes.start(plane)`` adds nodes to a running control plane; ``requirements.missing()``
returns the missing requirements of a machine (root, Linux, the packages that ``packages.sh``
installs). This module imports nothing, because run directories import ``remains``.
"""

"""Real nodes for the test bed: kubelet and containerd in namespaces, registries, tiny images.

``nodes.RealNodes.start(plane)`` on a running control plane is the way in;
``requirements.missing()`` says what a machine lacks (root, Linux, the packages that
``packages.sh`` installs). Nothing is imported here: run directories know ``remains`` too.
"""

"""Joining a Kubernetes cluster by TLS bootstrap, as kubeadm's nodes do.

    settings    what the config says
    api         one request to an API server, over TLS
    authority   from the hash of a cluster's authority to its certificate
    identity    the machine's key, certificate request and certificate on its disk
    joining     token -> certificate -> Node object -> Ready, each with a deadline
    kubelet     the files and the unit with which the kubelet goes on
    provider    all of it behind the interface of `node.providers.base`

The machine asks for its certificate itself, before the kubelet: so each reason of a refusal is
known by name, and the token is in no file beside the config.
"""

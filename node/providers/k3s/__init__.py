"""k3s, as a server of its own or as an agent of another one.

settings    what the config says, and the files that k3s reads. Pure
token       a join token: its parts, and the hash of an authority. Pure
supervisor  the questions that a k3s server answers before anything is started here
provider    check -> start -> the Node of this machine -> Ready
"""

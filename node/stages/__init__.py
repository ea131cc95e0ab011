"""What a config asks for on the installed system, applied at every boot (`node.stages.apply`)."""

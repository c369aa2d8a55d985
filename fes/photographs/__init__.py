"""One face in, seven expressions out: a photograph's (`fes synthesize`), and those that runs are watched by."""

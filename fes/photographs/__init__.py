"""One face in, seven expressions out: of a photograph (`fes synthesize`), and for runs and evaluations."""

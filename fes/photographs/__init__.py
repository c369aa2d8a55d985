"""One face in, seven expressions out: of a photograph (`fes synthesize`), and as runs and evaluations draw."""

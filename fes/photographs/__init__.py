"""`fes synthesize` and `fes export`: one face of a photograph in, seven expressions out."""

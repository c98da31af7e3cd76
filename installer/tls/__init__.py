"""The host's certificate: a local authority at once, a public one where a name allows it."""

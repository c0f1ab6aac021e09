"""How requests arrive: gRPC, REST, TLS, health, metrics and the request log."""

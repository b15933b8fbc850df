# What people run. A fresh machine needs Rust, make and Python 3 with pip, nothing else.
#
#   make demo         the order pipeline on a real server, with a worker and the orchestrator killed on the way
#   make test         every test
#   make verify       what CI checks beside the tests: format, lints, crate boundaries, docs, dependencies
#   make bench        the load test's main scenarios, as a table
#   make nats-server  fetches nats-server if there is none, and prints its path

.PHONY: demo test verify lint bench nats-server
.DEFAULT_GOAL := test

demo:
	@EVERSTEP_NATS_SERVER="$$(scripts/nats-server)" && export EVERSTEP_NATS_SERVER && cargo run -q -p everstep-examples --bin demo

test:
	@scripts/test

verify lint:
	@scripts/verify

bench:
	@scripts/bench

nats-server:
	@scripts/nats-server

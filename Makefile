# Thin aliases; everything is in `cargo xtask --help`.
.PHONY: run install test lint

run:
	cargo xtask run

install:
	cargo fetch
	cargo xtask fetch

test:
	cargo xtask test

lint:
	cargo xtask lint

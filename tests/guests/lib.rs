//! Guests live in `examples/`: one file, one module.

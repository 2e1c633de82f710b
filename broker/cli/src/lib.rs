//! The command line: one file per noun, on ordinary threads.

//! Cores, files, sockets, time and messages: one runtime over several engines.

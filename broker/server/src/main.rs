//! The one binary, `klamm`.

fn main() {}

//! The program `leveret`: the allocator, and a call into the command line.

use std::process::ExitCode;

/// Many small blocks of the same sizes, freed on another thread than the one they were made on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    leveret::cli::run()
}

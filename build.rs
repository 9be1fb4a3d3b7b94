//! Tells the program which commit and which compiler made it, for `leveret --version` and the log, and the linker in
//! which order functions are to lie in it.
//!
//! All are best effort: a source tree without git builds just as well and says "unknown", and a linker that cannot order
//! functions is not asked to. A packager who builds without the `.git` directory may give the commit in the variable
//! `BUILD_COMMIT`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A linker script with what a start calls, by `benches/start-order.sh`.
const ORDER: &str = "benches/start-order.ld";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BUILD_COMMIT");
    let commit = env::var("BUILD_COMMIT").ok().filter(|given| is_plain(given)).or_else(commit);
    println!("cargo:rustc-env=BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));

    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = output_of(&compiler, &["--version"]);
    // "rustc 1.95.0 (59807616e 2026-04-14)": the second word is the version.
    let version = version.as_deref().and_then(|line| line.split_whitespace().nth(1));
    println!("cargo:rustc-env=BUILD_RUSTC={}", version.unwrap_or("unknown"));

    println!("cargo:rerun-if-changed={ORDER}");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") && orders_functions(&compiler) {
        for argument in order() {
            println!("cargo:rustc-link-arg-bins=-Xlinker");
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}

/// What tells a linker of the order.
fn order() -> [String; 2] {
    let order = env::current_dir().unwrap_or_default().join(ORDER);
    ["-T".to_owned(), order.display().to_string()]
}

/// Whether the linker of this build takes [`order`]: LLD and GNU's do, and others may have been chosen. So a program that
/// does nothing is linked.
fn orders_functions(compiler: &str) -> bool {
    let (Some(out), Ok(target)) = (env::var_os("OUT_DIR"), env::var("TARGET")) else { return false };
    let out = PathBuf::from(out);
    let source = out.join("nothing.rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let mut link = Command::new(compiler);
    link.arg(&source).arg("-o").arg(out.join("nothing")).args(["--target", &target]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        link.arg(format!("-Clinker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    link.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    for argument in order() {
        link.arg("-Clink-arg=-Xlinker").arg(format!("-Clink-arg={argument}"));
    }
    link.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The short hash of the commit that is checked out here.
fn commit() -> Option<String> {
    // Without a `.git` of its own this tree may lie inside another repository, whose commit says nothing.
    if !Path::new(".git").exists() {
        return None;
    }
    // HEAD changes with the branch, its log with every commit.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output_of("git", &["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    output_of("git", &["rev-parse", "--short=12", "HEAD"]).filter(|hash| is_plain(hash))
}

/// Whether a commit can go into a line of the build's output and into a version text.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// What a command printed, if it could be run and was content.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

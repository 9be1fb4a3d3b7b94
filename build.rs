//! Tells the program which commit and which compiler made it, for `leveret --version` and the log.
//!
//! Both are best effort: a source tree without git builds just as well and says "unknown". A packager who builds
//! without the `.git` directory may give the commit in the variable `BUILD_COMMIT`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BUILD_COMMIT");
    let commit = std::env::var("BUILD_COMMIT").ok().filter(|given| is_plain(given)).or_else(commit);
    println!("cargo:rustc-env=BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));

    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = output_of(&compiler, &["--version"]);
    // "rustc 1.95.0 (59807616e 2026-04-14)": the second word is the version.
    let version = version.as_deref().and_then(|line| line.split_whitespace().nth(1));
    println!("cargo:rustc-env=BUILD_RUSTC={}", version.unwrap_or("unknown"));
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

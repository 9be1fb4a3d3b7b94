//! Passwords that commands are given: as an argument, as a line of standard input, or typed without an echo.

use std::io::{self, BufRead as _, IsTerminal as _};

use zeroize::Zeroizing;

use crate::cli::failure::Failure;

/// The password of an argument, or from standard input, as RabbitMQ's tool takes it. At a terminal it is asked for.
pub(super) fn given(argument: Option<&String>, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if let Some(password) = argument {
        return Ok(Zeroizing::new(password.clone()));
    }
    if io::stdin().is_terminal() {
        return asked(prompt);
    }
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line).map_err(Failure::Input)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// A new password: at a terminal it is asked for twice.
pub(super) fn chosen(argument: Option<&String>, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let first = given(argument, prompt)?;
    if argument.is_none() && io::stdin().is_terminal() && *asked("Again: ")? != *first {
        return Err(Failure::Refused("the passwords differ; nothing was changed".to_owned()));
    }
    Ok(first)
}

/// A password that is typed.
pub(super) fn asked(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Failure::Input)
}

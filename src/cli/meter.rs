//! How far something is, on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// Places of the bar.
const WIDTH: u64 = 30;

/// See the module. Where standard error is no terminal it shows nothing.
#[derive(Debug)]
pub(super) struct Meter {
    is_wanted: bool,
    is_shown: bool,
}

impl Meter {
    /// One that shows something unless somebody wants to hear nothing.
    pub(super) fn new(is_quiet: bool) -> Self {
        Self { is_wanted: !is_quiet && io::stderr().is_terminal(), is_shown: false }
    }

    /// So much is done, of so much, which is `whole` in words.
    pub(super) fn show(&mut self, done: u64, of: u64, whole: &str) {
        if self.is_wanted && of > 0 {
            self.is_shown = true;
            let _ = write!(io::stderr(), "\r{}", line(done, of, whole));
        }
    }

    /// What comes next stands on a line of its own.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = writeln!(io::stderr());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end();
    }
}

fn line(done: u64, of: u64, whole: &str) -> String {
    let part =
        |whole: u64| (u128::from(done) * u128::from(whole) / u128::from(of)).min(u128::from(whole)) as usize;
    let (percent, full) = (part(100), part(WIDTH));
    format!("[{}{}] {percent:3} % of {whole} ", "#".repeat(full), ".".repeat(WIDTH as usize - full))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_grows() {
        assert_eq!(line(0, 7, "7 MiB"), "[..............................]   0 % of 7 MiB ");
        assert_eq!(line(u64::MAX / 2, u64::MAX, "all"), "[##############................]  49 % of all ");
        assert_eq!(line(9, 7, "7"), "[##############################] 100 % of 7 ");
    }
}

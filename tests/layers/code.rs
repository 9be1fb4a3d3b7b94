//! Reads Rust source just well enough: what is code, what is there for tests only, which paths it names, how long its
//! functions are.

/// A path as code names it, with groups taken apart: `std::{fs, io}` is two of them.
#[derive(Debug, PartialEq)]
pub struct Named {
    /// Where it begins.
    pub line: usize,
    /// The words between its colons.
    pub segments: Vec<String>,
}

impl Named {
    /// Whether `pattern` occurs in it: at its beginning if that names a crate, else anywhere.
    pub fn has(&self, pattern: &[&str]) -> bool {
        let is_at = |at: usize| {
            let segments = &self.segments[at..];
            segments.len() >= pattern.len() && segments.iter().zip(pattern).all(|(a, b)| a == b)
        };
        let at_start = pattern.first().is_some_and(|first| first.starts_with(char::is_lowercase));
        let last = if at_start { 0 } else { self.segments.len() };
        (0..=last.min(self.segments.len())).any(is_at)
    }

    /// Whether one of `patterns` occurs in it.
    pub fn has_any(&self, patterns: &[&[&str]]) -> bool {
        patterns.iter().any(|pattern| self.has(pattern))
    }
}

/// Replaces comments and the insides of literals by blanks, so that what is left is code. Lines stay where they are.
pub fn without_text(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code: Vec<char> = Vec::with_capacity(chars.len());
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let word_before = |code: &[char]| code.last().is_some_and(|&c| c.is_alphanumeric() || c == '_');
    let mut at = 0;
    while at < chars.len() {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            end_of_block_comment(&chars, at)
        } else if let Some(end) = raw_string_end(&chars, at).filter(|_| !word_before(&code)) {
            end
        } else if chars[at] == '"' {
            end_of_quoted(&chars, at, '"')
        } else if chars[at] == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\''))
        {
            end_of_quoted(&chars, at, '\'')
        } else {
            code.push(chars[at]);
            at += 1;
            continue;
        };
        code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code.into_iter().collect()
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of a raw string that begins at `start`, with or without `b`.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let r = start + usize::from(chars[start] == 'b');
    if chars.get(r) != Some(&'r') {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|&&c| c == '#').count();
    let open = r + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let close = (open + 1..chars.len()).find(|&at| closes(at))?;
    Some(close + 1 + hashes)
}

/// The place after the bracket that closes the one at `open`.
fn end_of_block(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The end of an item that begins at `start`, after its attributes: a semicolon or a block, whichever is first.
fn end_of_item(code: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < code.len() {
        match code[at] {
            b';' => return at + 1,
            b'{' => return end_of_block(code, at),
            b'(' | b'[' => at = end_of_block(code, at),
            _ => at += 1,
        }
    }
    code.len()
}

/// Blanks what exists in tests only, and names the modules that are declared so in files of their own.
pub fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut bytes = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let start = from + found;
        let end = end_of_block(code.as_bytes(), start + 1);
        from = end;
        let condition = &code[start..end];
        let is_test = condition == "#[cfg(test)]" || condition.starts_with("#[cfg(all(test,");
        if !is_test {
            continue;
        }
        let end = end_of_item(code.as_bytes(), skip_attributes(code.as_bytes(), end));
        let item = code[from..end].trim();
        if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            modules.push(name.trim().to_owned());
        }
        for byte in &mut bytes[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    (String::from_utf8_lossy(&bytes).into_owned(), modules)
}

fn skip_attributes(code: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        while code.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if code.get(at) != Some(&b'#') {
            return at;
        }
        at = end_of_block(code, at + 1);
    }
}

/// Code as words, `::`, braces and other characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let len = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push((index + 1, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Every path of at least two segments, and single words after `use`.
pub fn paths(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let follows_colons = at > 0 && tokens[at - 1].1 == "::";
        if is_word(tokens[at].1) && !follows_colons {
            let before = found.len();
            let single_counts = at > 0 && tokens[at - 1].1 == "use";
            at = collect(&tokens, at, &[], &mut found);
            if found.len() == before + 1 && found[before].segments.len() == 1 && !single_counts {
                found.pop();
            }
        } else {
            at += 1;
        }
    }
    found
}

/// Collects the paths that begin at `at` behind `prefix`; gives the place after them.
fn collect(tokens: &[(usize, &str)], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].0;
    while let Some(&(_, token)) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while let Some(&(_, token)) = tokens.get(at) {
                match token {
                    "}" => return at + 1,
                    "as" => at += 2,
                    token if is_word(token) => at = collect(tokens, at, &segments, found),
                    _ => at += 1,
                }
            }
            return at;
        }
        if !is_word(token) && token != "*" {
            break;
        }
        segments.push(token.to_owned());
        at += 1;
        if tokens.get(at).is_none_or(|&(_, token)| token != "::") {
            break;
        }
        at += 1;
    }
    found.push(Named { line, segments });
    at
}

/// Functions with the line they begin in and how many lines they have.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let bytes = code.as_bytes();
    let line_of = |at: usize| bytes[..at].iter().filter(|&&b| b == b'\n').count() + 1;
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let inside_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if inside_word || name.is_empty() {
            continue;
        }
        let (first, last) = (line_of(at), line_of(end_of_item(bytes, at) - 1));
        found.push((name, first, last - first + 1));
    }
    found
}

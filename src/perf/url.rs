//! Where a broker is and who logs in: URLs of AMQP.

use std::fmt;

use zeroize::Zeroizing;

/// The port of AMQP.
const PORT: u16 = 5672;

/// The same within TLS.
const TLS_PORT: u16 = 5671;

/// An `amqp://` or `amqps://` URL taken apart. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether the connection is within TLS.
    pub is_tls: bool,
    /// `guest` if the URL names none.
    pub user: String,
    /// `guest` if the URL names none.
    pub password: Zeroizing<String>,
    /// A name or an address, IPv6 without its brackets.
    pub host: String,
    /// 5672, or 5671 within TLS, if the URL names none.
    pub port: u16,
    /// `/` if the URL has no path, or an empty one.
    pub vhost: String,
}

impl Url {
    /// Reads `amqp://user:password@host:port/vhost`. User, password and vhost are percent-decoded; all but the host may be
    /// left out.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without its password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) =
            text.split_once("://").ok_or("the URL should be amqp://USER:PASSWORD@HOST:PORT/VHOST")?;
        let is_tls = match scheme {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(format!("the URL's scheme should be amqp or amqps, not '{scheme}'")),
        };
        if rest.contains(['?', '#']) {
            return Err("the URL has parameters, of which none are known".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (user, password) = match login {
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (decoded(user, "user")?, decoded(password, "password")?)
            }
            None => ("guest".to_owned(), "guest".to_owned()),
        };
        let (host, port) = host_and_port(place)?;
        let vhost = match path {
            "" => "/".to_owned(),
            path if path.contains('/') => {
                return Err("the URL's vhost has a '/', which is written %2F there".to_owned());
            }
            path => decoded(path, "vhost")?,
        };
        let port = port.unwrap_or(if is_tls { TLS_PORT } else { PORT });
        Ok(Self { is_tls, user, password: Zeroizing::new(password), host, port, vhost })
    }

    /// Host and port as people write them.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}/", self.address())?;
        for byte in self.vhost.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Host and port, the port if there is one.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the URL's IPv6 address has no ']'")?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(format!("the URL has '{after}' behind its host")),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("the URL has no host".to_owned());
    }
    let number = |port: &str| {
        let number = port.parse().ok().filter(|port| *port != 0);
        number.ok_or_else(|| format!("the URL's port should be 1 to 65535, not '{port}'"))
    };
    Ok((host.to_owned(), port.filter(|port| !port.is_empty()).map(number).transpose()?))
}

/// `%2F` into `/`.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(format!("the URL's {what} has a '%' without two hexadecimal digits"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("the URL's {what} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (bool, String, String, String, u16, String) {
        let url = Url::parse(text).expect("a URL");
        (url.is_tls, url.user, url.password.to_string(), url.host, url.port, url.vhost)
    }

    fn expected(
        tls: bool,
        texts: [&str; 3],
        port: u16,
        vhost: &str,
    ) -> (bool, String, String, String, u16, String) {
        let [user, password, host] = texts.map(str::to_owned);
        (tls, user, password, host, port, vhost.to_owned())
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        assert_eq!(parts("amqp://broker"), expected(false, ["guest", "guest", "broker"], 5672, "/"));
        assert_eq!(parts("amqps://broker/"), expected(true, ["guest", "guest", "broker"], 5671, "/"));
        assert_eq!(parts("amqp://[::1]"), expected(false, ["guest", "guest", "::1"], 5672, "/"));
        assert_eq!(parts("amqp://u@h:/x"), expected(false, ["u", "", "h"], 5672, "x"));
    }

    #[test]
    fn everything_is_decoded() {
        let url = "amqps://a%40b:p%3A%2F:x@[fe80::1]:99/%2Fv%C3%BC";
        assert_eq!(parts(url), expected(true, ["a@b", "p:/:x", "fe80::1"], 99, "/vü"));
        assert_eq!(parts("amqp://u:p@q@h/%2f").2, "p@q", "the last @ ends the login");
    }

    #[test]
    fn it_is_shown_without_the_password() {
        let url = Url::parse("amqp://user:secret@[::1]:7/%2Fa b").expect("a URL");
        assert_eq!(url.to_string(), "amqp://[::1]:7/%2Fa%20b");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, what) in [
            ("broker", "amqp://"),
            ("http://broker", "scheme"),
            ("amqp://", "no host"),
            ("amqp://:5672", "no host"),
            ("amqp://h:0", "port"),
            ("amqp://h:65536", "port"),
            ("amqp://h:x", "port"),
            ("amqp://[::1", "]"),
            ("amqp://[::1]x", "behind"),
            ("amqp://h/a/b", "%2F"),
            ("amqp://h/%2", "hexadecimal"),
            ("amqp://h/%zz", "hexadecimal"),
            ("amqp://h/%ff", "UTF-8"),
            ("amqp://h/?heartbeat=1", "parameters"),
        ] {
            let error = Url::parse(url).expect_err(url);
            assert!(error.contains(what), "{url}: {error}");
        }
    }
}

//! The machinery of the option table: one list makes the structs, the defaults, the file's keys, the environment's
//! names, `--set`, `--print-config` and the search for the nearest name.

use super::options::Options;
use super::value::Value;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// When the configuration is read again (SIGHUP): at once, or for connections opened from then on.
    Reload,
    /// At the next start.
    Restart,
}

/// One row of the table.
#[derive(Debug)]
pub struct OptionRow {
    /// `section.key`, as in `--set` and in error messages.
    pub name: &'static str,
    /// What it is for, one line of text an item.
    pub doc: &'static [&'static str],
    /// Whether its value is masked wherever it is shown.
    pub secret: bool,
    /// When a change takes effect.
    pub effect: Effect,
    /// Ends the sentence "expected ...".
    pub expected: fn() -> String,
    /// Sets the option; `None` if the value is not one of its type.
    pub set: fn(&mut Options, &Value) -> Option<()>,
    /// The value as TOML, masked if it is a secret.
    pub show: fn(&Options) -> toml::Value,
    /// Whether two configurations agree in it. Secrets are compared in clear.
    pub same: fn(&Options, &Options) -> bool,
    /// Takes the value over from another configuration.
    pub take: fn(&mut Options, &Options),
}

impl OptionRow {
    /// Section and key.
    #[must_use]
    pub fn split(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or((self.name, ""))
    }

    /// The variable that sets it: `LEVERET_AMQP_HEARTBEAT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("LEVERET_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// The name of a section: its identifier, but for those that lie within another.
macro_rules! section_path {
    (default_vhost_limits) => {
        "limits.default_vhost"
    };
    (http_cors) => {
        "http.cors"
    };
    (http_oauth) => {
        "http.oauth"
    };
    (oauth2) => {
        "auth.oauth2"
    };
    ($section:ident) => {
        stringify!($section)
    };
}

/// Turns the option table into a struct for each section, [`Options`] over all of them, and the rows.
macro_rules! options {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty [$effect:ident] = $default:expr; )+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $( $(#[doc = $doc])+ pub $key: $type, )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        /// Every option with its value, as typed. [`crate::config::Config`] is what is meant by it.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Options {
            $( $(#[doc = $section_doc])+ pub $section: $Section, )+
            /// Users by name, from `[auth.users.NAME]`.
            pub users: std::collections::BTreeMap<String, UserEntry>,
            /// Certificates by host, from `[tls.sni.NAME]`.
            pub hosts: std::collections::BTreeMap<String, HostEntry>,
            /// Keys and aliases of access tokens, from the tables in `[auth.oauth2]`.
            pub oauth2_names: OAuthNames,
            /// Operator policies by name, from `[policies.operator.NAME]`.
            pub operators: std::collections::BTreeMap<String, OperatorEntry>,
        }

        /// The option table, section by section.
        pub static TABLE: &[OptionRow] = &[$($(
            OptionRow {
                name: concat!(section_path!($section), ".", stringify!($key)),
                doc: &[$($doc),+],
                secret: <$type as Setting>::SECRET,
                effect: Effect::$effect,
                expected: <$type as Setting>::expected,
                set: |options, value| {
                    options.$section.$key = <$type as Setting>::read(value)?;
                    Some(())
                },
                show: |options| options.$section.$key.show(),
                same: |one, other| one.$section.$key == other.$section.$key,
                take: |options, other| options.$section.$key.clone_from(&other.$section.$key),
            },
        )+)+];
    };
}

pub(super) use {options, section_path};

/// The candidate that looks most like `name`. A name without a section is also compared with the parts of each
/// candidate, so that a key outside its section and a section taken for a key are found.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = |part: &str| strsim::normalized_damerau_levenshtein(name, part);
    let likeness = |candidate: &str| match candidate.split_once('.') {
        Some((section, key)) if !name.contains('.') => like(candidate).max(like(section)).max(like(key)),
        _ => like(candidate),
    };
    let scored = candidates.into_iter().map(|candidate| (likeness(candidate), candidate));
    scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, candidate)| candidate)
}

//! Access tokens in the configuration: `[auth.oauth2]`, and the tables in it whose keys people choose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Origin};
use super::options::Options;
use super::setting::{Secret, Setting};
use super::value::Value;
use crate::broker::options::TokenOptions;
use crate::identity::oauth::keys::ConfiguredKey;
use crate::identity::oauth::rules::ALGORITHMS;
use crate::identity::oauth::{Algorithm, ResourceServer, SigningKey, TokenRules};
use crate::server::clock::system_unix_ms;
use crate::server::keys::{KeyPlace, KeySource};
use crate::time::Clock;

/// Where the names of the section begin.
const SECTION: &str = "auth.oauth2.";

/// The tables in it.
pub(super) const TABLES: [&str; 3] = ["signing_keys", "hmac_secrets", "scope_aliases"];

/// What people have named themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OAuthNames {
    /// Files with public keys, by the ids of the keys.
    pub signing_keys: BTreeMap<String, PathBuf>,
    /// Secrets that sign tokens, by the ids of the keys.
    pub hmac_secrets: BTreeMap<String, Secret>,
    /// Scopes that stand for other ones.
    pub scope_aliases: BTreeMap<String, Vec<String>>,
    /// What the files hold, by their paths.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// An entry of one of the tables, by its name from `auth` on: the table, and the name in it.
pub(super) fn entry_of(name: &str) -> Option<(&'static str, &str)> {
    let (table, entry) = name.strip_prefix(SECTION)?.split_once('.')?;
    TABLES.into_iter().find(|known| *known == table).map(|table| (table, entry))
}

/// Whether this is the name of one of the tables.
pub(super) fn is_table(name: &str) -> bool {
    name.strip_prefix(SECTION).is_some_and(|table| TABLES.contains(&table))
}

impl OAuthNames {
    /// Sets an entry; says what was expected if it cannot have this value.
    pub(super) fn set(&mut self, table: &str, entry: &str, value: &Value) -> Result<(), String> {
        let entry = entry.to_owned();
        match table {
            "signing_keys" => {
                let path = PathBuf::read(value).ok_or_else(PathBuf::expected)?;
                self.signing_keys.insert(entry, path);
            }
            "hmac_secrets" => {
                let secret = Secret::read(value).ok_or_else(Secret::expected)?;
                self.hmac_secrets.insert(entry, secret);
            }
            _ => {
                let scopes = words(value).ok_or("scopes, as a list or as a text with spaces between them")?;
                self.scope_aliases.insert(entry, scopes);
            }
        }
        Ok(())
    }

    /// All entries with their values as TOML, secrets masked: table, name, value.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, &str, toml::Value)> {
        let keys = self.signing_keys.iter().map(|(name, path)| (TABLES[0], name.as_str(), path.show()));
        let secrets =
            self.hmac_secrets.iter().map(|(name, secret)| (TABLES[1], name.as_str(), secret.show()));
        let aliases = self.scope_aliases.iter().map(|(name, scopes)| {
            let scopes = scopes.iter().map(|scope| toml::Value::String(scope.clone())).collect();
            (TABLES[2], name.as_str(), toml::Value::Array(scopes))
        });
        keys.chain(secrets).chain(aliases)
    }

    pub(super) fn file(&self, path: &Path) -> &[u8] {
        self.files.get(path).map_or(&[], Vec::as_slice)
    }
}

/// The words of a text, or the texts of a list.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
        other => other.text().map(|text| text.split_whitespace().map(str::to_owned).collect()),
    }
}

impl Options {
    /// Whether access tokens are taken.
    pub(super) fn takes_tokens(&self) -> bool {
        self.auth.backends.contains(&crate::broker::options::BackendKind::OAuth2)
    }

    /// Reads the files that the section names, and looks whether everything goes together.
    pub(super) fn check_oauth(&mut self, origins: &BTreeMap<String, Origin>) -> Result<(), ConfigError> {
        if !self.takes_tokens() {
            return Ok(());
        }
        let section = &self.oauth2;
        let fail = |key: &str, why: String| {
            let key = format!("{SECTION}{key}");
            let origin = origins.get(&key).or_else(|| origins.get("auth.backends")).cloned();
            Err(ConfigError::BadTokens { origin, key, why })
        };
        if section.resource_server_id.is_empty() {
            return fail(
                "resource_server_id",
                "access tokens are taken, and must name this broker".to_owned(),
            );
        }
        for (key, url) in [("issuer", &section.issuer), ("jwks_url", &section.jwks_url)] {
            let is_url = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
            if !url.is_empty() && !is_url {
                return fail(key, "it does not begin with https:// or http://".to_owned());
            }
        }
        let mut files = BTreeMap::new();
        let named = &self.oauth2_names;
        let mut read = |path: &PathBuf| {
            let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            files.insert(path.clone(), text.clone());
            Ok::<_, String>(text)
        };
        for (id, path) in &named.signing_keys {
            let key = read(path).and_then(|text| {
                SigningKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))
            });
            if let Err(why) = key {
                return fail(&format!("{}.{id}", TABLES[0]), why);
            }
        }
        for (id, secret) in &named.hmac_secrets {
            if let Err(error) = SigningKey::from_secret(secret.0.as_bytes()) {
                return fail(&format!("{}.{id}", TABLES[1]), error.to_string());
            }
        }
        if let Some(path) = &section.https_ca_file
            && let Err(why) = read(path)
        {
            return fail("https_ca_file", why);
        }
        let has_keys = !named.signing_keys.is_empty() || !named.hmac_secrets.is_empty();
        if !has_keys && section.issuer.is_empty() && section.jwks_url.is_empty() {
            let why = "no key can be known without one of issuer, jwks_url, signing_keys and hmac_secrets";
            return fail("jwks_url", why.to_owned());
        }
        self.oauth2_names.files = files;
        Ok(())
    }

    /// What differs in the tables of the section, and in the files that are named there.
    pub(super) fn token_changes(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        let (own, others) = (&self.oauth2_names, &other.oauth2_names);
        let are_keys_other = own.signing_keys != others.signing_keys
            || own.signing_keys.values().any(|path| own.file(path) != others.file(path));
        // That another file is named shows in the table of options.
        let are_authorities_other = self.oauth2.https_ca_file == other.oauth2.https_ca_file
            && self.oauth2.https_ca_file.iter().any(|path| own.file(path) != others.file(path));
        let changed = [
            ("auth.oauth2.signing_keys", are_keys_other),
            ("auth.oauth2.hmac_secrets", own.hmac_secrets != others.hmac_secrets),
            ("auth.oauth2.scope_aliases", own.scope_aliases != others.scope_aliases),
            ("auth.oauth2.https_ca_file", are_authorities_other),
        ];
        changed.into_iter().filter(|(_, is_other)| *is_other).map(|(name, _)| name)
    }

    /// How tokens are judged, if they are taken.
    pub(super) fn token_options(&self) -> Option<TokenOptions> {
        let section = &self.oauth2;
        let named = &self.oauth2_names;
        let server = |id: &str| ResourceServer {
            id: id.to_owned(),
            scope_prefix: section.scope_prefix.replace(OWN_ID, id),
        };
        let further = section.further_resource_servers.iter().map(|name| name.0.as_str());
        let words = |names: &[super::setting::Name]| -> Vec<String> {
            names.iter().flat_map(|name| name.0.split_whitespace()).map(str::to_owned).collect()
        };
        self.takes_tokens().then(|| TokenOptions {
            rules: TokenRules {
                server: server(&section.resource_server_id),
                // One that is named twice would always be two.
                further_servers: further
                    .filter(|id| *id != section.resource_server_id)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .map(server)
                    .collect(),
                resource_server_type: section.resource_server_type.clone(),
                verify_aud: section.verify_aud,
                issuer: section.issuer.clone(),
                additional_scopes_keys: words(&section.additional_scopes_key),
                username_claims: words(&section.preferred_username_claims),
                scope_aliases: named.scope_aliases.clone(),
                algorithms: section.algorithms.clone(),
                default_key: section.default_key.clone(),
                require_exp: section.require_exp,
                leeway: section.leeway.0.as_secs(),
            },
            keys: {
                let public = named.signing_keys.iter();
                let public =
                    public.map(|(id, path)| (id.clone(), ConfiguredKey::Pem(named.file(path).to_vec())));
                let secrets = named.hmac_secrets.iter();
                let secrets = secrets.map(|(id, secret)| (id.clone(), ConfiguredKey::secret(&secret.0)));
                public.chain(secrets).collect()
            },
            are_fetched: self.key_source().is_some(),
            clock: Clock::Read(system_unix_ms),
        })
    }

    /// Certificate authorities in PEM that those who issue tokens are believed by, besides those of the system.
    pub(super) fn token_authorities(&self) -> Vec<u8> {
        let path = self.oauth2.https_ca_file.as_ref();
        path.map_or_else(Vec::new, |path| self.oauth2_names.file(path).to_vec())
    }

    /// Where keys are fetched from, if they are.
    pub(super) fn key_source(&self) -> Option<KeySource> {
        let section = &self.oauth2;
        let place = match (section.jwks_url.as_str(), section.issuer.as_str()) {
            ("", "") => return None,
            ("", issuer) => KeyPlace::Issuer(issuer.to_owned()),
            (url, _) => KeyPlace::Set(url.to_owned()),
        };
        self.takes_tokens().then(|| KeySource {
            place,
            authorities: self.token_authorities(),
            timeout: section.timeout.0,
            refresh: section.refresh.0,
            rest: section.refresh_min.0,
        })
    }
}

/// Stands for the resource server's name in the prefix of scopes.
const OWN_ID: &str = "{resource_server_id}";

impl Setting for Vec<Algorithm> {
    fn expected() -> String {
        let names: Vec<String> = ALGORITHMS.iter().map(|algorithm| format!("\"{algorithm:?}\"")).collect();
        format!("one or more of {}", names.join(", "))
    }

    fn read(value: &Value) -> Option<Self> {
        let algorithms: Self =
            value.list()?.iter().map(|item| item.text()?.parse().ok()).collect::<Option<_>>()?;
        (!algorithms.is_empty()).then_some(algorithms)
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|one| toml::Value::String(format!("{one:?}"))).collect())
    }
}

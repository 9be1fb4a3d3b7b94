//! How tokens are judged. The names are close to RabbitMQ's `auth_oauth2.*`.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm as Common;

use super::algorithm::Algorithm;

/// One of the names that this broker has in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// The name: the audience of tokens, and a part of their scopes.
    pub id: String,
    /// What scopes for it begin with. Empty takes every scope.
    pub scope_prefix: String,
}

impl ResourceServer {
    /// One whose scopes begin with its name, as in RabbitMQ.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), scope_prefix: format!("{id}.") }
    }
}

/// How tokens are judged and read.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRules {
    /// What this broker is called in tokens.
    pub server: ResourceServer,
    /// What it is called besides. A token is for one of all these.
    pub further_servers: Vec<ResourceServer>,
    /// The `type` that says of rich authorization requests that they are for this broker. Empty reads none.
    pub resource_server_type: String,
    /// Whether the audience must name this broker. If not, what names none of its names is for [`server`](Self::server).
    pub verify_aud: bool,
    /// Who must have issued a token. Empty is anybody who has a key.
    pub issuer: String,
    /// Claims that hold scopes beside `scope`, as paths such as `realm_access.roles`.
    pub additional_scopes_keys: Vec<String>,
    /// Claims that hold the user's name, best first.
    pub username_claims: Vec<String>,
    /// Scopes that stand for other ones.
    pub scope_aliases: BTreeMap<String, Vec<String>>,
    /// The algorithms that signatures may have.
    pub algorithms: Vec<Algorithm>,
    /// The key of tokens that name none. Empty is the only key there is.
    pub default_key: String,
    /// Whether a token must say when it expires.
    pub require_exp: bool,
    /// Seconds by which clocks may differ: a token is good for so long before its time and after it.
    pub leeway: u64,
}

/// All algorithms that can be allowed.
pub const ALGORITHMS: [Algorithm; 13] = [
    Algorithm::Common(Common::RS256),
    Algorithm::Common(Common::RS384),
    Algorithm::Common(Common::RS512),
    Algorithm::Common(Common::PS256),
    Algorithm::Common(Common::PS384),
    Algorithm::Common(Common::PS512),
    Algorithm::Common(Common::ES256),
    Algorithm::Common(Common::ES384),
    Algorithm::Es512,
    Algorithm::Common(Common::EdDSA),
    Algorithm::Common(Common::HS256),
    Algorithm::Common(Common::HS384),
    Algorithm::Common(Common::HS512),
];

/// Claims that a name is taken from when none of the preferred ones has it, as in RabbitMQ.
const LAST_USERNAME_CLAIMS: [&str; 2] = ["sub", "client_id"];

impl TokenRules {
    /// The rules for a broker of this name, with RabbitMQ's defaults for the others.
    #[must_use]
    pub fn new(resource_server_id: &str) -> Self {
        Self {
            server: ResourceServer::new(resource_server_id),
            further_servers: Vec::new(),
            resource_server_type: String::new(),
            verify_aud: true,
            issuer: String::new(),
            additional_scopes_keys: Vec::new(),
            username_claims: Vec::new(),
            scope_aliases: BTreeMap::new(),
            algorithms: ALGORITHMS.to_vec(),
            default_key: String::new(),
            require_exp: true,
            leeway: 0,
        }
    }

    /// All names that this broker has.
    pub(super) fn servers(&self) -> impl Iterator<Item = &ResourceServer> {
        std::iter::once(&self.server).chain(&self.further_servers)
    }

    /// The claims to look for a name in, best first.
    pub(super) fn name_claims(&self) -> impl Iterator<Item = &str> {
        self.username_claims.iter().map(String::as_str).chain(LAST_USERNAME_CLAIMS)
    }
}

//! What the broker is told at its start. Filled by `config`.

use std::collections::BTreeMap;

use crate::broker::limits::{NodeOptions, VHostLimits};
use crate::broker::policies::policy::Operator;
use crate::broker::statistics::StatisticsOptions;
use crate::identity::access::Permissions;
use crate::identity::oauth::TokenRules;
use crate::identity::oauth::keys::ConfiguredKey;
use crate::identity::password::Scheme;
use crate::identity::tags::{Tag, Tags};
use crate::time::Clock;

/// Users, vhosts and broker-wide limits.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerOptions {
    /// `cluster_name` of the server properties.
    pub cluster_name: String,
    /// The name of this node, "leveret@host".
    pub node_name: String,
    /// Vhosts that exist from the start, the first one being the default. Never empty.
    pub vhosts: Vec<String>,
    /// Users that are set at the start.
    pub users: Vec<UserOptions>,
    /// What users of the configuration may do in their vhosts, unless permissions were set for them.
    pub default_permissions: Permissions,
    /// Users that are refused from any other machine.
    pub loopback_users: Vec<String>,
    /// How passwords are kept.
    pub passwords: PasswordOptions,
    /// Who is asked about credentials, in this order.
    pub backends: Vec<BackendKind>,
    /// How access tokens are judged, if they are taken.
    pub tokens: Option<TokenOptions>,
    /// Threads that check credentials; with none they are checked at once.
    pub login_threads: usize,
    /// Most connections at a time; 0 is no limit.
    pub max_connections: u32,
    /// Most connections in their handshake at a time; 0 is no limit.
    pub max_handshakes: u32,
    /// Most connections in their handshake from one address or network at a time; 0 is no limit.
    pub max_handshakes_per_source: u32,
    /// Most channels, queues and exchanges.
    pub node: NodeOptions,
    /// Limits of vhosts for which none was set.
    pub vhost_limits: VHostLimits,
    /// Operator policies.
    pub operators: Vec<Operator>,
    /// Vhosts that are traced.
    pub traced: Vec<String>,
    /// Events are published to the default vhost's exchange for them.
    pub events: bool,
    /// How samples are taken and how long they are kept.
    pub statistics: StatisticsOptions,
    /// Where deadlines are compared with.
    pub clock: Clock,
    /// Definitions with users are imported next, so that users for the first start are not made.
    pub brings_users: bool,
}

/// How passwords are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordOptions {
    /// How new ones are hashed.
    pub scheme: Scheme,
    /// Fewest letters of one that is set while the broker runs.
    pub min_length: usize,
}

/// A way to know users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// The broker's own users, with passwords.
    Internal,
    /// Access tokens.
    OAuth2,
}

/// Access tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenOptions {
    /// How they are judged.
    pub rules: TokenRules,
    /// The keys of the configuration, by id.
    pub keys: BTreeMap<String, ConfiguredKey>,
    /// Whether somebody fetches keys besides.
    pub are_fetched: bool,
    /// The time as whoever issues tokens has it.
    pub clock: Clock,
}

impl BackendKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Internal, Self::OAuth2];

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::OAuth2 => "oauth2",
        }
    }
}

/// A user from the configuration.
#[derive(Clone, PartialEq)]
pub struct UserOptions {
    /// Name as clients send it.
    pub name: String,
    /// Password in clear. An empty one never logs in.
    pub password: String,
    /// The vhosts this user may open.
    pub vhosts: Vec<String>,
    /// What the user may do beyond others; what is stored if `None`.
    pub tags: Option<Tags>,
    /// Most connections at a time; what is stored if `None`.
    pub max_connections: Option<u32>,
    /// Most channels at a time; what is stored if `None`.
    pub max_channels: Option<u32>,
    /// Made only where no user is stored.
    pub only_first: bool,
}

impl std::fmt::Debug for UserOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserOptions")
            .field("name", &self.name)
            .field("password", &"***")
            .field("vhosts", &self.vhosts)
            .field("tags", &self.tags)
            .field("max_connections", &self.max_connections)
            .field("max_channels", &self.max_channels)
            .field("only_first", &self.only_first)
            .finish()
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            cluster_name: "leveret".to_owned(),
            node_name: "leveret@localhost".to_owned(),
            vhosts: vec!["/".to_owned()],
            users: vec![UserOptions {
                name: "guest".to_owned(),
                password: "guest".to_owned(),
                vhosts: vec!["/".to_owned()],
                tags: Tags::parse([Tag::Administrator.name()]).ok(),
                max_connections: None,
                max_channels: None,
                only_first: true,
            }],
            default_permissions: Permissions::everything(),
            loopback_users: vec!["guest".to_owned()],
            // The cheapest: nobody who fills these options in by hand keeps a secret.
            passwords: PasswordOptions { scheme: Scheme::RabbitSha256, min_length: 0 },
            backends: vec![BackendKind::Internal],
            tokens: None,
            login_threads: 0,
            max_connections: 0,
            max_handshakes: 512,
            max_handshakes_per_source: 64,
            node: NodeOptions::default(),
            vhost_limits: VHostLimits::default(),
            operators: Vec::new(),
            traced: Vec::new(),
            events: true,
            statistics: StatisticsOptions::default(),
            clock: Clock::default(),
            brings_users: false,
        }
    }
}

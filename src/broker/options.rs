//! What the broker is told at its start. Filled by `config`.

use crate::broker::limits::{NodeOptions, VHostLimits};
use crate::broker::policies::policy::Operator;
use crate::identity::access::Permissions;
use crate::time::Clock;

/// Users, vhosts and broker-wide limits.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerOptions {
    /// `cluster_name` of the server properties.
    pub cluster_name: String,
    /// Vhosts that exist from the start. Never empty.
    pub vhosts: Vec<String>,
    /// Who may log in.
    pub users: Vec<UserOptions>,
    /// What users of the configuration may do in their vhosts, unless permissions were set for them.
    pub default_permissions: Permissions,
    /// Most connections at a time; 0 is no limit.
    pub max_connections: u32,
    /// Most connections in their handshake at a time; 0 is no limit.
    pub max_handshakes: u32,
    /// Most channels, queues and exchanges.
    pub node: NodeOptions,
    /// Limits of vhosts for which none was set.
    pub vhost_limits: VHostLimits,
    /// Operator policies.
    pub operators: Vec<Operator>,
    /// Vhosts that are traced.
    pub traced: Vec<String>,
    /// Where deadlines are compared with.
    pub clock: Clock,
}

/// What a user may do beyond others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Publish with any user's name as `user_id`.
    Impersonator,
}

impl Tag {
    /// The tag of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        (name == Self::Impersonator.name()).then_some(Self::Impersonator)
    }

    /// The name, as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Impersonator => "impersonator",
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
    /// What the user may do beyond others.
    pub tags: Vec<Tag>,
    /// Most connections at a time; any number if `None`.
    pub max_connections: Option<u32>,
    /// Most channels at a time; any number if `None`.
    pub max_channels: Option<u32>,
    /// Refused from any peer that is not on the loopback interface.
    pub loopback_only: bool,
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
            .field("loopback_only", &self.loopback_only)
            .finish()
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            cluster_name: "leveret".to_owned(),
            vhosts: vec!["/".to_owned()],
            users: vec![UserOptions {
                name: "guest".to_owned(),
                password: "guest".to_owned(),
                vhosts: vec!["/".to_owned()],
                tags: Vec::new(),
                max_connections: None,
                max_channels: None,
                loopback_only: true,
            }],
            default_permissions: Permissions::everything(),
            max_connections: 0,
            max_handshakes: 512,
            node: NodeOptions::default(),
            vhost_limits: VHostLimits::default(),
            operators: Vec::new(),
            traced: Vec::new(),
            clock: Clock::default(),
        }
    }
}

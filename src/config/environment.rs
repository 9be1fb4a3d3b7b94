//! Settings from the environment: `LEVERET_SECTION_KEY`, and the variables people set on RabbitMQ's image.

use std::path::PathBuf;

use super::error::{ConfigError, Origin};
use super::table::nearest;
use super::value::Value;
use super::{Loading, TABLE, USER_KEYS};

/// Begins the variables that set up users.
const OF_USERS: &str = "LEVERET_AUTH_USERS_";

/// Names the configuration file, as `--config` does.
const CONFIG_FILE: &str = "LEVERET_CONFIG_FILE";

/// What `leveret ctl` reads: no settings.
const OF_CTL: [&str; 3] = ["LEVERET_URL", "LEVERET_USER", "LEVERET_PASSWORD"];

/// What the default user and vhost are set by: `RABBITMQ_DEFAULT_USER`, and with our own name in front.
const OF_DEFAULTS: [(&str, &str); 3] = [
    ("DEFAULT_USER", "auth.default_user"),
    ("DEFAULT_PASS", "auth.default_pass"),
    ("DEFAULT_VHOST", "auth.default_vhost"),
];

/// The variables of RabbitMQ's image that are read.
const RABBIT_READ: [&str; 7] = [
    "RABBITMQ_CONFIG_FILE",
    "RABBITMQ_DEFAULT_USER",
    "RABBITMQ_DEFAULT_PASS",
    "RABBITMQ_DEFAULT_VHOST",
    "RABBITMQ_LOGS",
    "RABBITMQ_NODENAME",
    "RABBITMQ_NODE_PORT",
];

/// Variables whose names begin with `LEVERET_` or `RABBITMQ_`; others are not our concern.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Takes the variables that concern the configuration.
    ///
    /// # Errors
    /// One of them is not UTF-8.
    pub fn new(
        variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut kept = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if !name.starts_with("LEVERET_") && !name.starts_with("RABBITMQ_") {
                continue;
            }
            let value = value.into_string().map_err(|_| ConfigError::BadValue {
                origin: Origin::Variable(name.to_owned()),
                key: name.to_owned(),
                expected: "text in UTF-8".to_owned(),
                found: "other bytes".to_owned(),
            })?;
            kept.push((name.to_owned(), value));
        }
        kept.sort();
        Ok(Self { variables: kept })
    }

    /// A variable that is set and not empty.
    fn value(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// The configuration file the environment names.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.value(CONFIG_FILE).or_else(|| self.value("RABBITMQ_CONFIG_FILE")).map(PathBuf::from)
    }

    /// What gives way to the file: the node name is the cluster's only if nothing else names it.
    pub(super) fn load_below_file(&self, loading: &mut Loading) -> Result<(), ConfigError> {
        self.assign_rabbit("RABBITMQ_NODENAME", "cluster.name", loading)
    }

    /// What beats the file.
    pub(super) fn load_above_file(&self, loading: &mut Loading) -> Result<(), ConfigError> {
        for maker in ["RABBITMQ", "LEVERET"] {
            for (name, option) in OF_DEFAULTS {
                self.assign_rabbit(&format!("{maker}_{name}"), option, loading)?;
            }
        }
        if self.value("RABBITMQ_LOGS").is_some_and(|logs| logs != "-") {
            self.assign_rabbit("RABBITMQ_LOGS", "log.file", loading)?;
        }
        self.assign_node_port(loading)?;
        self.note_unread(loading);
        for (name, value) in &self.variables {
            let is_default =
                OF_DEFAULTS.iter().any(|(known, _)| name.strip_prefix("LEVERET_") == Some(known));
            let is_read = name == CONFIG_FILE || is_default || OF_CTL.contains(&name.as_str());
            if name.starts_with("LEVERET_") && !is_read && !is_service_link(name, value) {
                assign(name, value, loading)?;
            }
        }
        Ok(())
    }

    fn assign_rabbit(&self, variable: &str, option: &str, loading: &mut Loading) -> Result<(), ConfigError> {
        match self.value(variable) {
            Some(value) => {
                loading.assign(option, &Value::Raw(value.to_owned()), Origin::Variable(variable.to_owned()))
            }
            None => Ok(()),
        }
    }

    /// The port of the first listener. Its address stays, so that a container which listens on every interface
    /// still does.
    fn assign_node_port(&self, loading: &mut Loading) -> Result<(), ConfigError> {
        let variable = "RABBITMQ_NODE_PORT";
        let Some(text) = self.value(variable) else { return Ok(()) };
        let origin = Origin::Variable(variable.to_owned());
        let port = text.trim().parse().map_err(|_| ConfigError::BadValue {
            origin: origin.clone(),
            key: "listen.amqp".to_owned(),
            expected: "a port from 0 to 65535".to_owned(),
            found: Value::Raw(text.to_owned()).quoted(),
        })?;
        if let Some(first) = loading.options.listen.amqp.first_mut() {
            first.set_port(port);
            loading.origins.insert("listen.amqp".to_owned(), origin);
        }
        Ok(())
    }

    /// Says which of RabbitMQ's variables do nothing here, for people who wonder.
    fn note_unread(&self, loading: &mut Loading) {
        let unread = self.variables.iter().map(|(name, _)| name.as_str());
        let unread = unread.filter(|name| name.starts_with("RABBITMQ_") && !RABBIT_READ.contains(name));
        let names: Vec<&str> = unread.collect();
        if !names.is_empty() {
            loading.notes.push(format!("these variables mean nothing to Leveret: {}", names.join(", ")));
        }
    }
}

/// Assigns one variable of our own.
fn assign(variable: &str, value: &str, loading: &mut Loading) -> Result<(), ConfigError> {
    let origin = Origin::Variable(variable.to_owned());
    let value = Value::Raw(value.to_owned());
    if let Some(row) = TABLE.iter().find(|row| row.variable() == variable) {
        return loading.assign(row.name, &value, origin);
    }
    let user_key = USER_KEYS.iter().find_map(|key| {
        let user =
            variable.strip_prefix(OF_USERS)?.strip_suffix(&key.to_ascii_uppercase())?.strip_suffix('_')?;
        Some((user, key))
    });
    if let Some((user, key)) = user_key {
        return loading.assign(&format!("auth.users.{user}.{key}"), &value, origin);
    }
    if let Some(instead) = super::foreign::instead_of_variable(variable) {
        return Err(ConfigError::Foreign { origin, key: variable.to_owned(), instead });
    }
    let mut known: Vec<String> = TABLE.iter().map(super::OptionRow::variable).collect();
    known.push(CONFIG_FILE.to_owned());
    known.extend(OF_DEFAULTS.map(|(name, _)| format!("LEVERET_{name}")));
    known.extend(USER_KEYS.map(|key| format!("{OF_USERS}NAME_{}", key.to_ascii_uppercase())));
    let nearest = nearest(variable, known.iter().map(String::as_str)).unwrap_or_default().to_owned();
    Err(ConfigError::UnknownVariable { name: variable.to_owned(), nearest })
}

/// Whether this is one of the variables that Kubernetes sets in every pod for a service whose name begins with
/// "leveret": `LEVERET_SERVICE_HOST`, `LEVERET_PORT_5672_TCP_ADDR` and their like. Nobody wrote them, so they are no
/// mistake.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let after_port = name.rsplit_once("PORT_").map(|(_, rest)| rest);
    let names_port = after_port.is_some_and(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let protocol = rest.get(digits..).unwrap_or_default();
        digits > 0 && ["_TCP", "_UDP", "_SCTP"].iter().any(|prefix| protocol.starts_with(prefix))
    });
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || names_port
        || (name.ends_with("_PORT") && is_url)
}

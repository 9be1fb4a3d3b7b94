//! SIGHUP: the log file is opened anew, and the configuration is read again.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::logging::Logging;
use crate::broker::Broker;
use crate::broker::key_ring::Fetched;
use crate::broker::options::TokenOptions;
use crate::config::{Effect, Loaded, Sources};
use crate::management::log_control::LogControl as _;
use crate::management::options::SharedOptions;
use crate::server::SharedLimits;
use crate::server::keys::{self, KeySource};
use crate::server::tls::Tls;

/// What a running server can be told anew.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    /// What the server runs with: as it started, and changed since by reloads.
    pub(super) running: Loaded,
    pub(super) logging: Logging,
    pub(super) limits: SharedLimits,
    pub(super) management: SharedOptions,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) broker: Arc<Broker>,
}

impl Reloader {
    /// Takes over what can change while the server runs. With a configuration that is not valid, all stays as it is.
    pub(super) fn reload(&mut self) {
        if let Err(error) = self.logging.reopen() {
            error!(%error, "the log file cannot be opened anew, the old one stays in use");
        }
        let loaded = match self.sources.load(self.running.machine.clone()) {
            Ok(loaded) => loaded,
            Err(error) => {
                error!(%error, "the configuration is not valid, the old one stays in effect");
                return;
            }
        };
        let config = loaded.config();
        self.logging.set_level(config.log.level);
        let limits = &config.broker;
        self.broker.set_max_connections(
            limits.max_connections,
            limits.max_handshakes,
            limits.max_handshakes_per_source,
        );
        self.broker.set_limits(config.broker.node, config.broker.vhost_limits);
        self.broker.set_traced(&config.broker.traced);
        self.limits.replace(config.session);
        self.management.follow(config.management);
        if let Some(tls) = &self.tls {
            // Even with the same names the files may be new.
            match tls.reload(config.server.tls) {
                Ok(()) => info!("certificates read again"),
                Err(error) => error!(%error, "the certificates stay as they were"),
            }
        }

        self.follow_tokens(config.broker.tokens.as_ref(), config.server.keys);

        let mut taken = 0_usize;
        for (option, effect) in self.running.options.changes(&loaded.options) {
            match effect {
                Effect::Reload => {
                    taken += 1;
                    info!(option, "changed");
                }
                Effect::Restart => warn!(option, "changed in the configuration, but needs a restart"),
            }
        }
        self.running.options.take_reloadable(&loaded.options);
        self.broker.node.set_configuration(self.running.values());
        info!(changes = taken, "configuration read again");
    }

    /// Judges access tokens by other rules and keys if these changed. Whether tokens are taken at all is settled at the
    /// start.
    fn follow_tokens(&self, tokens: Option<&TokenOptions>, source: Option<KeySource>) {
        let Some(tokens) = tokens else { return };
        let running = self.running.config();
        let fetched = KeySource::after(running.server.keys.as_ref(), source.as_ref());
        if fetched == Fetched::Stay && running.broker.tokens.as_ref() == Some(tokens) {
            return;
        }
        let logins = &self.broker.logins;
        logins.follow_tokens(tokens, fetched);
        if fetched != Fetched::Stay
            && let (Some(ring), Some(source)) = (logins.key_ring(), source)
        {
            keys::start(ring, source);
        }
    }
}

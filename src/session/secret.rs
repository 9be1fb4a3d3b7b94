//! connection.update-secret: a new access token takes the place of the one that the user came with.
//!
//! While it is checked the connection is not read, so that nothing is done by the old one that came after it.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::broker::login::Attempt;
use crate::broker::users::User;
use crate::protocol::method::{Args, connection};
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::open::Open;
use crate::session::rights::Rights;
use crate::session::routes::RouteCache;
use crate::session::wire::Wire;

const ID: crate::protocol::reply::MethodId = <connection::UpdateSecret<'_> as Args>::ID;

impl Open {
    /// A new secret. Passwords do not run out: to a user who came with one it means nothing, as in RabbitMQ.
    pub(super) fn on_update_secret(
        &mut self,
        wire: &mut Wire,
        update: connection::UpdateSecret<'_>,
    ) -> Result<(), AmqpError> {
        if self.user.token().is_none() {
            wire.send(0, &connection::UpdateSecretOk {});
            return Ok(());
        }
        let attempt = Attempt {
            user: self.user.name.clone(),
            password: Zeroizing::new(update.new_secret.to_vec()),
            from_loopback: wire.peer.is_loopback,
            now: self.now,
        };
        self.renewal = Some(wire.broker.logins.begin_renewal(attempt, &wire.outlet));
        self.look_for_secret(wire)
    }

    /// Takes a new secret over if it has been checked by now.
    ///
    /// # Errors
    /// 530 if it is refused, or does not let the user into the vhost.
    pub(super) fn look_for_secret(&mut self, wire: &mut Wire) -> Result<(), AmqpError> {
        let Some(answer) = self.renewal.as_ref().and_then(|ticket| ticket.take()) else { return Ok(()) };
        self.renewal = None;
        let peer = &wire.peer.address;
        let refused = match answer {
            Ok(user) if user.name == self.user.name => {
                wire.broker.open_vhost(&self.vhost.name, &user).map_err(|error| error.at(ID))?;
                tracing::info!(%peer, user = ?user.name, "the access token was renewed");
                self.take_over(wire, &user);
                wire.send(0, &connection::UpdateSecretOk {});
                return Ok(());
            }
            Ok(_) => "the access token is for another user".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(%peer, user = ?self.user.name, "new secret refused: {refused}");
        let text = "New secret was refused by one of the backends";
        Err(AmqpError::new(ReplyCode::NotAllowed, text).at(ID))
    }

    /// From now on the newer token says what is allowed, and for how long.
    fn take_over(&mut self, wire: &mut Wire, newer: &Arc<User>) {
        self.user.renew(newer);
        self.ends = newer.token().and_then(|vouched| vouched.ends);
        self.rights = Rights::renewed(&self.user, &self.vhost);
        // The old one let the user publish along them.
        self.routes = RouteCache::default();
        self.end_forbidden_consumers(wire);
    }
}

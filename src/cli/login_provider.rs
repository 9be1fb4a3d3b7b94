//! The provider at which people log in to the page, lent to the management API.

use zeroize::Zeroizing;

use crate::management::code_flow::AuthorizationServer;
use crate::server::provider::Provider;

/// See the module.
pub(super) struct LoginProvider(pub(super) Provider);

impl AuthorizationServer for LoginProvider {
    fn authorization(&self, redirect_uri: &str, state: &str, challenge: &str) -> Result<String, String> {
        self.0.authorization(redirect_uri, state, challenge)
    }

    fn token(&self, code: &str, redirect_uri: &str, verifier: &str) -> Result<Zeroizing<String>, String> {
        self.0.token(code, redirect_uri, verifier)
    }
}

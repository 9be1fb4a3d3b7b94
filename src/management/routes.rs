//! The one table of what there is: paths, methods, who may ask, and the function that answers.

use axum::http::Method;

use crate::management::answer::Answer;
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::resources;
use crate::management::visitor::Level;

/// What answers a request.
pub(crate) type Handler = fn(&Call) -> Result<Answer, ApiError>;

/// What a visitor has to do with the vhost in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InVHost {
    /// Nothing, or the resource looks itself.
    Unasked,
    /// It must be one whose content the visitor may see.
    Sees,
    /// The visitor must have permissions there, administrators too, as in RabbitMQ.
    Enters,
    /// The visitor must have permissions there unless it is an administrator.
    Governs,
}

/// One method of a resource.
#[derive(Clone)]
pub(crate) struct Verb {
    pub(crate) method: Method,
    /// The path of its resource, as it stands in the table.
    pub(crate) path: &'static str,
    pub(crate) level: Level,
    pub(crate) in_vhost: InVHost,
    /// Whether the body may be large: definitions, a message.
    pub(crate) is_large: bool,
    /// Whether a form in the body says who asks.
    pub(crate) has_login: bool,
    /// Whether the log tells of it: of whatever may change something, and of what is worth knowing who read it.
    pub(crate) is_audited: bool,
    pub(crate) handler: Handler,
}

impl Verb {
    const fn new(method: Method, level: Level, handler: Handler) -> Self {
        Self {
            method,
            path: "",
            level,
            in_vhost: InVHost::Unasked,
            is_large: false,
            has_login: false,
            is_audited: true,
            handler,
        }
    }

    /// As it says, also of the vhost that the path names.
    pub(crate) const fn in_vhost(mut self, in_vhost: InVHost) -> Self {
        self.in_vhost = in_vhost;
        self
    }

    /// With a body that may be large.
    pub(crate) const fn large(mut self) -> Self {
        self.is_large = true;
        self
    }

    /// With a form in the body that says who asks.
    pub(crate) const fn with_form_login(mut self) -> Self {
        self.has_login = true;
        self
    }

    /// Told in the log, although nothing is changed by it.
    pub(crate) const fn audited(mut self) -> Self {
        self.is_audited = true;
        self
    }
}

/// GET, and so HEAD.
pub(crate) const fn get(level: Level, handler: Handler) -> Verb {
    let mut verb = Verb::new(Method::GET, level, handler);
    verb.is_audited = false;
    verb
}

/// PUT.
pub(crate) const fn put(level: Level, handler: Handler) -> Verb {
    Verb::new(Method::PUT, level, handler)
}

/// POST.
pub(crate) const fn post(level: Level, handler: Handler) -> Verb {
    Verb::new(Method::POST, level, handler)
}

/// DELETE.
pub(crate) const fn delete(level: Level, handler: Handler) -> Verb {
    Verb::new(Method::DELETE, level, handler)
}

/// A path below `/api`, with names in braces, and what can be done there.
pub(crate) struct Resource {
    pub(crate) path: &'static str,
    pub(crate) verbs: Vec<Verb>,
}

impl Resource {
    /// What can be done at a path.
    pub(crate) fn new(path: &'static str, verbs: impl Into<Vec<Verb>>) -> Self {
        let mut verbs = verbs.into();
        verbs.iter_mut().for_each(|verb| verb.path = path);
        Self { path, verbs }
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Resource> {
    let kinds = [
        resources::about::routes(),
        resources::accounts::routes(),
        resources::alarm_limits::routes(),
        resources::backup::routes(),
        resources::bindings::routes(),
        resources::channels::routes(),
        resources::closing::routes(),
        resources::connections::routes(),
        resources::consumers::routes(),
        resources::definitions::routes(),
        resources::exchange_views::routes(),
        resources::exchanges::routes(),
        resources::features::routes(),
        resources::get::routes(),
        resources::health::routes(),
        resources::limits::routes(),
        resources::log::routes(),
        resources::login::routes(),
        resources::moving::routes(),
        resources::nodes::routes(),
        resources::overview::routes(),
        resources::parameters::routes(),
        resources::permissions::routes(),
        resources::policies::routes(),
        resources::publish::routes(),
        resources::queue_views::routes(),
        resources::queues::routes(),
        resources::tracing::routes(),
        resources::upkeep::routes(),
        resources::users::routes(),
        resources::vhosts::routes(),
        resources::whoami::routes(),
    ];
    kinds.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of who may do what, which is tried on a broker.
    const TRIED: &str = include_str!("../../tests/python/management/roles.py");

    /// Methods and paths of the table: a text that is a method belongs to the next one, others are what is read.
    fn tried() -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut method = "GET";
        for text in TRIED.split('"').skip(1).step_by(2) {
            if ["GET", "PUT", "POST", "DELETE"].contains(&text) {
                method = text;
            } else {
                let path = text.split('?').next().unwrap_or_default();
                found.push((std::mem::replace(&mut method, "GET").to_owned(), format!("/{path}")));
            }
        }
        found
    }

    fn is_one(pattern: &str, path: &str) -> bool {
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (pattern.split('/').collect(), path.split('/').collect());
        pattern.len() == path.len()
            && pattern.iter().zip(&path).all(|(part, name)| part.starts_with('{') || part == name)
    }

    #[test]
    fn everything_is_tried_by_every_kind_of_visitor() {
        let tried = tried();
        let mut untried = BTreeSet::new();
        for Resource { path, verbs } in all() {
            for verb in verbs {
                let method = verb.method.as_str();
                if !tried.iter().any(|(by, at)| by == method && is_one(path, at)) {
                    untried.insert(format!("{method} {path}"));
                }
            }
        }
        assert!(untried.is_empty(), "not in tests/python/management/roles.py: {untried:#?}");
    }
}

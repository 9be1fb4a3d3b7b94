//! Which operation needs which right on what: the one table of it, as RabbitMQ has it.

use super::access::{Access, Right};

/// The name under which the rights on the default exchange are given.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// What a right is asked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// An exchange, by its name.
    Exchange(&'a str),
    /// A queue, by its name.
    Queue(&'a str),
}

impl<'a> Resource<'a> {
    /// The name that patterns are held against.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Exchange("") => DEFAULT_EXCHANGE,
            Self::Exchange(name) | Self::Queue(name) => name,
        }
    }

    /// What it is.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Exchange(_) => "exchange",
            Self::Queue(_) => "queue",
        }
    }
}

/// Something that a client may want to do. What is not here, such as acknowledging, needs no right.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// Declaring it, not passively, whether it exists or not.
    Declare(Resource<'a>),
    /// Making it with the exchange that it hands messages on to: the alternate exchange of an exchange, or the
    /// dead-letter exchange of a queue. Both may be made, as [`Operation::Declare`] says, before they are looked at.
    CreateWith(Resource<'a>, &'a str),
    /// Declaring it passively.
    LookAt(Resource<'a>),
    /// Deleting it.
    Delete(Resource<'a>),
    /// Making or removing a binding that leads to it.
    BindTo(Resource<'a>),
    /// Making or removing a binding that leads from this exchange.
    BindFrom(&'a str),
    /// Publishing to this exchange.
    PublishTo(&'a str),
    /// Getting and consuming messages of this queue, and purging it.
    TakeFrom(&'a str),
}

/// A right on something that somebody does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing<'a> {
    /// The right.
    pub right: Right,
    /// What it was asked on.
    pub on: Resource<'a>,
}

impl<'a> Operation<'a> {
    /// The rights it needs, all of them, in the order in which they are looked at.
    fn needs(self) -> [Option<(Right, Resource<'a>)>; 2] {
        let (first, second) = match self {
            Self::Declare(it) | Self::Delete(it) => ((Right::Configure, it), None),
            Self::CreateWith(it, next) => ((Right::Read, it), Some((Right::Write, Resource::Exchange(next)))),
            // Any other would do as well.
            Self::LookAt(it) => ((Right::Configure, it), None),
            Self::BindTo(it) => ((Right::Write, it), None),
            Self::BindFrom(exchange) => ((Right::Read, Resource::Exchange(exchange)), None),
            Self::PublishTo(exchange) => ((Right::Write, Resource::Exchange(exchange)), None),
            Self::TakeFrom(queue) => ((Right::Read, Resource::Queue(queue)), None),
        };
        [Some(first), second]
    }

    /// Whether somebody with this access may do it.
    ///
    /// # Errors
    /// The first right that is missing.
    pub fn check(self, access: &Access) -> Result<(), Missing<'a>> {
        if let Self::LookAt(it) = self
            && [Right::Write, Right::Read].into_iter().any(|right| access.allows(right, it.name()))
        {
            return Ok(());
        }
        for (right, on) in self.needs().into_iter().flatten() {
            if !access.allows(right, on.name()) {
                return Err(Missing { right, on });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::identity::access::Permissions;

    /// What is missing for `operation`, in words.
    fn missing(operation: Operation<'_>, [configure, write, read]: [&str; 3]) -> Option<String> {
        let access = Access::new(Permissions::new(configure, write, read).unwrap(), BTreeMap::new());
        let missing = operation.check(&access).err()?;
        Some(format!("{} {} {}", missing.right.name(), missing.on.noun(), missing.on.name()))
    }

    #[test]
    fn each_operation_needs_its_rights_and_no_others() {
        let (x, q) = (Resource::Exchange("x"), Resource::Queue("q"));
        for (operation, rights, told) in [
            (Operation::Declare(x), ["^x$", "", ""], "configure exchange x"),
            (Operation::Declare(q), ["^q$", "", ""], "configure queue q"),
            (Operation::CreateWith(x, "a"), ["", "^a$", "^x$"], "read exchange x"),
            (Operation::CreateWith(q, ""), ["", "^amq.default$", "^q$"], "read queue q"),
            (Operation::Delete(q), ["^q$", "", ""], "configure queue q"),
            (Operation::BindTo(q), ["", "^q$", ""], "write queue q"),
            (Operation::BindTo(x), ["", "^x$", ""], "write exchange x"),
            (Operation::BindFrom("x"), ["", "", "^x$"], "read exchange x"),
            (Operation::PublishTo("x"), ["", "^x$", ""], "write exchange x"),
            (Operation::PublishTo(""), ["", "^amq.default$", ""], "write exchange amq.default"),
            (Operation::TakeFrom("q"), ["", "", "^q$"], "read queue q"),
        ] {
            assert_eq!(missing(operation, rights), None, "{operation:?}");
            for taken in (0..3).filter(|&at| !rights[at].is_empty()) {
                let mut fewer = [".*"; 3];
                fewer[taken] = "";
                assert!(missing(operation, fewer).is_some(), "{operation:?} without {taken}");
            }
            assert_eq!(missing(operation, ["", "", ""]).as_deref(), Some(told));
        }
        assert_eq!(missing(Operation::CreateWith(q, "d"), ["", "", ".*"]).unwrap(), "write exchange d");
    }

    #[test]
    fn any_right_is_enough_to_look() {
        let q = Operation::LookAt(Resource::Queue("q"));
        for rights in [["q", "", ""], ["", "q", ""], ["", "", "q"]] {
            assert_eq!(missing(q, rights), None);
        }
        assert_eq!(missing(q, ["", "x", ""]).unwrap(), "configure queue q");
    }
}

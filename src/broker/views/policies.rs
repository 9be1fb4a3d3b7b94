//! What the policies that apply to an object say together.

use serde_json::{Map, Value};

use crate::broker::policies::Applied;

impl Applied {
    /// The name of the user's policy.
    #[must_use]
    pub fn user_name(&self) -> Option<String> {
        self.user.as_ref().map(|policy| policy.name.clone())
    }

    /// The name of the operator's policy.
    #[must_use]
    pub fn operator_name(&self) -> Option<String> {
        self.operator.as_ref().map(|policy| policy.name.clone())
    }

    /// RabbitMQ's `effective_policy_definition`: of a key that both have the smaller number, and otherwise the operator's
    /// word. It is what [`settings`](Self::settings) says, with keys that make no difference too.
    #[must_use]
    pub fn effective(&self) -> Map<String, Value> {
        let keys = |policy: &Option<_>| policy.as_ref().map(keys_of).unwrap_or_default();
        let mut merged = keys(&self.user);
        for (key, operators) in keys(&self.operator) {
            let value = match merged.get(&key) {
                Some(users) => merge(&key, users, operators),
                None => operators,
            };
            merged.insert(key, value);
        }
        merged
    }
}

fn keys_of(policy: &std::sync::Arc<crate::broker::policies::policy::Policy>) -> Map<String, Value> {
    policy.definition.keys().clone()
}

fn merge(key: &str, users: &Value, operators: Value) -> Value {
    let (Some(a), Some(b)) = (users.as_i64(), operators.as_i64()) else { return operators };
    // Below zero a delivery limit is none.
    let is_unlimited = |number: i64| key == "delivery-limit" && number < 0;
    match (is_unlimited(a), is_unlimited(b)) {
        (false, false) => a.min(b).into(),
        (true, false) => operators,
        _ => a.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::broker::policies::PolicyKind;
    use crate::broker::policies::policy::Policy;

    #[test]
    fn of_two_numbers_the_smaller_and_of_two_words_the_operators() {
        let policy = |kind, definition: Value| {
            let value = json!({"pattern": "", "definition": definition});
            Some(Arc::new(Policy::from_value("p", &value, kind).unwrap()))
        };
        let user = json!({"max-length": 5, "expires": 9, "overflow": "drop-head", "delivery-limit": 3});
        let operator = json!({"max-length": 7, "expires": 8, "overflow": "reject-publish", "delivery-limit": -1,
            "message-ttl": 1});
        let applied = Applied {
            user: policy(PolicyKind::User, user),
            operator: policy(PolicyKind::Operator, operator),
        };
        let expected = json!({"max-length": 5, "expires": 8, "overflow": "reject-publish", "delivery-limit": 3,
            "message-ttl": 1});
        assert_eq!(Value::Object(applied.effective()), expected);
        assert_eq!(applied.settings().max_length, Some(5));
        assert_eq!(applied.settings().delivery_limit, Some(3));
        assert!(Applied::default().effective().is_empty());
    }
}

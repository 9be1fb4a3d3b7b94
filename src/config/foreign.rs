//! Settings of RabbitMQ's that people look for here, and what there is in their place.

/// What to do instead of a setting, by its name here if there were one.
const INSTEAD: [(&str, &str); 4] = [
    ("definitions.https.url", "fetch the file before the start, and name it in `definitions.load`"),
    ("definitions.local.path", "name the file in `definitions.load`"),
    (
        "http.disable_stats",
        "what is counted costs nothing while nothing happens; who asks leaves it out with `?disable_stats=true`",
    ),
    (
        "http.credential_encryption_secret",
        "sessions of /api/login hold no password that would have to be encrypted",
    ),
];

/// What to do instead of a setting that there is not.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    INSTEAD.iter().find(|(known, _)| *known == name).map(|(_, instead)| *instead)
}

/// The same by the variable that would set it.
pub(super) fn instead_of_variable(variable: &str) -> Option<&'static str> {
    let of_variable = variable.strip_prefix("LEVERET_")?.to_ascii_lowercase();
    INSTEAD.iter().find(|(known, _)| known.replace('.', "_") == of_variable).map(|(_, instead)| *instead)
}

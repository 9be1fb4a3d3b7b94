//! Class 10: the connection itself. All its methods travel on channel 0.

class! {
    Method<'a> = 10 "connection";

    /// Server: proposes version, mechanisms and locales.
    Start<'a> = 10 "start" {
        /// 0
        version_major: octet,
        /// 9
        version_minor: octet,
        /// What the server is and can do.
        server_properties: table,
        /// Names of mechanisms, with spaces between.
        mechanisms: longstr,
        /// Names of locales, with spaces between.
        locales: longstr,
    }

    /// Client: chooses a mechanism and answers it.
    StartOk<'a> = 11 "start-ok" {
        /// What the client is and can do.
        client_properties: table,
        /// The mechanism chosen.
        mechanism: shortstr,
        /// First answer of the mechanism, such as user and password.
        response: secret,
        /// The locale chosen.
        locale: shortstr,
    }

    /// Server: a further question of the mechanism.
    Secure<'a> = 20 "secure" {
        /// The question, as the mechanism defines it.
        challenge: longstr,
    }

    /// Client: the answer to it.
    SecureOk<'a> = 21 "secure-ok" {
        /// The answer, as the mechanism defines it.
        response: secret,
    }

    /// Server: proposes limits.
    Tune = 30 "tune" {
        /// Channels at a time; 0 is no limit.
        channel_max: short,
        /// Largest frame in bytes, overhead included; 0 is no limit.
        frame_max: long,
        /// Seconds between heartbeats; 0 is none.
        heartbeat: short,
    }

    /// Client: the limits agreed on.
    TuneOk = 31 "tune-ok" {
        /// Channels at a time; 0 is no limit.
        channel_max: short,
        /// Largest frame in bytes, overhead included; 0 is no limit.
        frame_max: long,
        /// Seconds between heartbeats; 0 is none.
        heartbeat: short,
    }

    /// Client: enters a vhost.
    Open<'a> = 40 "open" {
        /// Name of the vhost.
        virtual_host: shortstr,
        /// Of protocol 0-8, ignored.
        capabilities: shortstr,
        /// Of protocol 0-8, ignored.
        insist: bit,
    }

    /// Server: the vhost is entered.
    OpenOk<'a> = 41 "open-ok" {
        /// Of protocol 0-8, empty.
        known_hosts: shortstr,
    }

    /// Either side: ends the connection.
    Close<'a> = 50 "close" {
        /// Why, as a number of [`ReplyCode`](crate::protocol::reply::ReplyCode).
        reply_code: short,
        /// Why, in words.
        reply_text: shortstr,
        /// Class of the method at fault, or 0.
        class_id: short,
        /// Id of the method at fault, or 0.
        method_id: short,
    }

    /// The other side: the connection is ended.
    CloseOk = 51 "close-ok" {}

    /// RabbitMQ's, server: publishing is held up by an alarm.
    Blocked<'a> = 60 "blocked" {
        /// Why, for people.
        reason: shortstr,
    }

    /// RabbitMQ's, server: publishing goes on.
    Unblocked = 61 "unblocked" {}

    /// RabbitMQ's, client: a fresh token in place of an expiring one.
    UpdateSecret<'a> = 70 "update-secret" {
        /// The fresh token.
        new_secret: secret,
        /// Why, for people.
        reason: shortstr,
    }

    /// RabbitMQ's, server: the token is accepted.
    UpdateSecretOk = 71 "update-secret-ok" {}
}

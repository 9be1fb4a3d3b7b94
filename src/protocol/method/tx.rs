//! Class 90: transactions on one channel.

class! {
    Method = 90 "tx";

    /// Client: makes the channel transactional.
    Select = 10 "select" {}

    /// Server: it is.
    SelectOk = 11 "select-ok" {}

    /// Client: ends the transaction and begins the next.
    Commit = 20 "commit" {}

    /// Server: committed, durable things on disk.
    CommitOk = 21 "commit-ok" {}

    /// Client: abandons the transaction and begins the next.
    Rollback = 30 "rollback" {}

    /// Server: abandoned.
    RollbackOk = 31 "rollback-ok" {}
}

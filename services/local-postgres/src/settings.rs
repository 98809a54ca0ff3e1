//! The server's settings: small, for a machine that runs much beside it. They are arguments, so that no file of the data folder is changed.

/// Settings of every server; what is not named is as the server has it by itself.
const SETTINGS: [(&str, &str); 26] = [
    // Memory: the pool of pages, and what each of few processes may take.
    ("shared_buffers", "24MB"),
    ("huge_pages", "off"),
    ("work_mem", "2MB"),
    ("maintenance_work_mem", "16MB"),
    ("max_connections", "100"),
    ("max_worker_processes", "1"),
    ("max_parallel_workers", "0"),
    ("max_parallel_workers_per_gather", "0"),
    ("max_logical_replication_workers", "0"),
    ("autovacuum_max_workers", "1"),
    ("jit", "off"),
    // Disk: the write-ahead log is for crashes only, nothing follows it.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("min_wal_size", "32MB"),
    ("max_wal_size", "256MB"),
    // Who gets in.
    ("password_encryption", "scram-sha-256"),
    ("unix_socket_permissions", "0700"),
    // The log: no statement and no value of a row is in it.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", super::log::PREFIX),
    ("log_checkpoints", "off"),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_min_duration_statement", "-1"),
    ("lc_messages", "C"),
    ("log_timezone", "UTC"),
];

/// Returns the settings as arguments of the server.
pub(crate) fn arguments() -> impl Iterator<Item = String> {
    SETTINGS.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
}

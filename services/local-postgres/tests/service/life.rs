//! From the first start to the end, and again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use service_testing::{eventually, get};

use super::{Lab, PASSWORD, Runner};

#[test]
fn the_first_start_makes_a_database_that_the_role_owns() {
    let lab = Lab::new();
    let mut service = lab.ready();
    assert_eq!(lab.query("SELECT current_user, current_database()"), "feature|feature");
    assert_eq!(lab.query("SHOW server_encoding"), "UTF8");
    assert_eq!(lab.query("SELECT datcollate, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'feature'"), "C.UTF-8|feature");
    lab.query("CREATE EXTENSION pgcrypto");
    lab.query("CREATE TABLE kept (text text)");
    service.end_in_order().unwrap();
    lab.wait_for_no_server();
    assert!(!lab.state().join("data.new").exists());
}

#[test]
fn the_next_start_finds_what_was_there() {
    let lab = Lab::new();
    let mut service = lab.ready();
    lab.query("CREATE TABLE kept (text text)");
    lab.query("INSERT INTO kept VALUES ('once')");
    service.end_in_order().unwrap();
    for _ in 0..2 {
        let mut service = lab.ready();
        assert_eq!(lab.query("SELECT * FROM kept"), "once");
        assert!(service.events("making the data folder").is_empty());
        service.end_in_order().unwrap();
    }
}

#[test]
fn only_the_password_opens_the_door() {
    let lab = Lab::new();
    let service = lab.ready();
    assert!(lab.query_as("wrong", "SELECT 1").unwrap_err().contains("password authentication failed"));
    let superuser =
        lab.command("/usr/bin/psql").args(["-X", "-h", "127.0.0.1", "-p", &lab.port.to_string(), "-U", "postgres", "-w"]).output();
    assert!(super::result(superuser).is_err());
    assert_eq!(lab.query("SELECT rolsuper FROM pg_roles WHERE rolname = 'feature'"), "f");
    assert_eq!(fs::metadata(lab.state().join("socket")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(lab.data()).unwrap().permissions().mode() & 0o777, 0o700);
    eventually("the failed login is logged", || service.log().contains("password authentication failed").then_some(())).unwrap();
}

#[test]
fn a_changed_password_counts_from_the_next_start_on() {
    let lab = Lab::new();
    lab.ready().end_in_order().unwrap();
    let mut service = lab.start_with(&[("DATABASE_PASSWORD", "another")]);
    service.wait_for_readiness(200).unwrap();
    assert_eq!(lab.query_as("another", "SELECT 1").unwrap(), "1");
    assert!(lab.query_as(PASSWORD, "SELECT 1").is_err());
    service.end_in_order().unwrap();
}

#[test]
fn the_log_is_json_without_secrets_and_statements() {
    let lab = Lab::new();
    let mut service = lab.ready();
    assert!(lab.query_as(PASSWORD, "SELECT 'canary-statement' FROM nowhere").is_err());
    let told = || service.log().contains(r#"relation \"nowhere\" does not exist"#).then_some(());
    eventually("the failure is logged", told).unwrap();
    service.end_in_order().unwrap();
    let log = service.log();
    assert!(!log.contains("canary"), "{log}");
    assert!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
    let entry = service.events("database system is ready to accept connections").remove(0);
    assert_eq!(
        (entry["source"].as_str(), entry["backend"].as_str(), entry["level"].as_str()),
        (Some("postgresql"), Some("postmaster"), Some("INFO"))
    );
}

#[test]
fn no_secret_is_in_the_servers_environment() {
    let lab = Lab::new();
    let _service = lab.ready();
    let environment = fs::read(format!("/proc/{}/environ", lab.postmaster().unwrap())).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(
        environment.contains("LC_ALL=C.UTF-8") && !environment.contains("PASSWORD") && !environment.contains("canary"),
        "{environment}"
    );
}

#[test]
fn its_end_cuts_clients_off_and_keeps_what_they_committed() {
    let lab = Lab::new();
    let mut service = lab.ready();
    lab.query("CREATE TABLE kept (text text)");
    let statement = "INSERT INTO kept VALUES ('committed')";
    let mut client = std::process::Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &lab.port.to_string(), "-U", "feature", "-d", "feature"])
        .args(["-c", statement, "-c", "BEGIN; INSERT INTO kept VALUES ('open'); SELECT pg_sleep(600)"])
        .env("PGPASSWORD", PASSWORD)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the client waits", || (lab.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN%'") == "1").then_some(()))
        .unwrap();
    service.end_in_order().unwrap();
    assert!(!client.wait().unwrap().success());
    let mut service = lab.ready();
    assert_eq!(lab.query("SELECT * FROM kept"), "committed");
    assert!(!service.log().contains("recovery"), "{}", service.log());
    service.end_in_order().unwrap();
}

#[test]
fn a_user_without_a_name_can_run_it() {
    let lab = Lab::of(Runner::Nameless);
    let mut service = lab.ready();
    assert_eq!(lab.query("SELECT 1"), "1");
    service.end_in_order().unwrap();
}

#[test]
fn a_long_path_is_no_obstacle() {
    let lab = Lab::new();
    let name = "n".repeat(100);
    let state = lab.state().join(&name).join(&name);
    let state = state.to_str().unwrap();
    let mut service = lab.start_with(&[("POSTGRES_DATA", state)]);
    service.wait_for_readiness(200).unwrap();
    assert_eq!(lab.query("SELECT 1"), "1");
    service.end_in_order().unwrap();
}

#[test]
fn it_is_small() {
    let lab = Lab::new();
    let service = lab.ready();
    let pages: u64 = lab.query("SELECT setting FROM pg_settings WHERE name = 'shared_buffers'").parse().unwrap();
    assert!(pages * 8 <= 32 * 1024, "{pages}");
    let children: u64 = lab.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type NOT LIKE 'client%'").parse().unwrap();
    assert!(children <= 5, "{children}");
    assert_eq!(get(service.port("metrics").unwrap(), "/healthz").unwrap().status, 200);
}

//! What may be wrong, and what may be killed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_testing::{Service, check_refused, eventually};

use super::{Lab, PASSWORD};

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-postgres");

/// Gives a path to the user that the lab's programs run as.
fn give(lab: &Lab, path: &Path) {
    if let Some((user, group)) = lab.ids() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

#[test]
fn a_killed_program_takes_its_server_along_and_loses_nothing() {
    let lab = Lab::new();
    let service = lab.ready();
    lab.query("CREATE TABLE kept (number int)");
    lab.query("INSERT INTO kept VALUES (1)");
    // With SIGKILL, as a dropped service ends.
    drop(service);
    lab.wait_for_no_server();
    let mut service = lab.ready();
    assert_eq!(lab.query("SELECT * FROM kept"), "1");
    service.end_in_order().unwrap();
}

#[test]
fn a_killed_server_ends_the_program_and_the_next_start_recovers() {
    let lab = Lab::new();
    let mut service = lab.ready();
    lab.query("CREATE TABLE kept (number int)");
    for number in 1..=3 {
        lab.query(&format!("INSERT INTO kept VALUES ({number})"));
        kill(Pid::from_raw(lab.postmaster().unwrap()), Signal::SIGKILL).unwrap();
        assert_eq!(service.wait().unwrap().code(), Some(1), "{}", service.log());
        assert!(service.log().contains("PostgreSQL ended (signal: 9 (SIGKILL)"), "{}", service.log());
        service = lab.ready();
        assert_eq!(lab.query("SELECT max(number) FROM kept"), number.to_string());
    }
    service.end_in_order().unwrap();
}

#[test]
fn a_server_of_an_earlier_run_is_ended_first() {
    let lab = Lab::new();
    let mut service = lab.ready();
    let programs = service.events("PostgreSQL found")[0]["programs"].as_str().unwrap().to_owned();
    service.end_in_order().unwrap();
    let mut earlier = lab.command(format!("{programs}/postgres"));
    earlier.arg("-D").arg(lab.data()).args(["-k", "../socket", "-p", &lab.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    let mut earlier = earlier.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the earlier server is there", || lab.query_as(PASSWORD, "SELECT 1").ok()).unwrap();
    let mut service = lab.ready();
    assert_eq!(earlier.wait().unwrap().code(), Some(0));
    assert!(service.log().contains("ending the PostgreSQL of an earlier run"), "{}", service.log());
    assert_ne!(lab.postmaster().unwrap(), i32::try_from(earlier.id()).unwrap());
    service.end_in_order().unwrap();
}

#[test]
fn a_process_that_only_has_the_servers_old_id_is_left_alone() {
    let lab = Lab::new();
    lab.ready().end_in_order().unwrap();
    let mut other = lab.command("/usr/bin/sleep").arg("600").spawn().unwrap();
    let file = lab.data().join("postmaster.pid");
    fs::write(&file, format!("{}\n{}\n0\n{}\n", other.id(), lab.data().display(), lab.port)).unwrap();
    give(&lab, &file);
    let mut service = lab.start();
    // The server itself does not dare to start beside it; what matters is who lives.
    assert_eq!(service.wait().unwrap().code(), Some(1), "{}", service.log());
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_crash_in_the_middle_of_initdb_leaves_nothing_that_counts() {
    let lab = Lab::new();
    let service = lab.start();
    let unfinished = lab.state().join("data.new");
    eventually("initdb has begun", || unfinished.join("global").exists().then_some(())).unwrap();
    drop(service);
    assert!(!lab.data().exists());
    let mut service = lab.ready();
    assert!(service.log().contains("is made anew"), "{}", service.log());
    assert_eq!(lab.query("SELECT 1"), "1");
    assert!(!unfinished.exists());
    service.end_in_order().unwrap();
}

#[test]
fn a_stop_in_the_middle_of_initdb_is_an_orderly_end() {
    let lab = Lab::new();
    let mut service = lab.start();
    let unfinished = lab.state().join("data.new");
    eventually("initdb has begun", || unfinished.join("global").exists().then_some(())).unwrap();
    assert!(service.wait_for_readiness(503).unwrap().contains("the data folder is being made"));
    service.end_in_order().unwrap();
    assert!(!lab.data().exists());
}

#[test]
fn data_of_another_version_is_named_with_both_versions() {
    let lab = Lab::new();
    fs::create_dir(lab.data()).unwrap();
    fs::write(lab.data().join("PG_VERSION"), "11\n").unwrap();
    give(&lab, &lab.data());
    let log = lab.refused(&[]);
    assert!(log.contains("was made by PostgreSQL 11, but only PostgreSQL 1"), "{log}");
    assert!(log.contains("apt install postgresql-11"), "{log}");
    fs::remove_dir_all(lab.data()).unwrap();
}

#[test]
fn a_missing_postgresql_is_said_with_the_way_to_install_it() {
    let lab = Lab::new();
    let log = lab.refused(&[("POSTGRES_PROGRAMS", "/nonexistent"), ("PATH", "/nonexistent/bin")]);
    assert!(log.contains("install it with `apt install postgresql`"), "{log}");
}

#[test]
fn postgresql_in_the_search_path_is_found() {
    let lab = Lab::new();
    let mut service = lab.ready();
    let programs = service.events("PostgreSQL found")[0]["programs"].as_str().unwrap().to_owned();
    service.end_in_order().unwrap();
    let mut service = lab.start_with(&[("POSTGRES_PROGRAMS", "/nonexistent"), ("PATH", &format!("/nonexistent:{programs}"))]);
    service.wait_for_readiness(200).unwrap();
    service.end_in_order().unwrap();
}

#[test]
fn a_folder_with_other_files_is_not_touched() {
    let lab = Lab::new();
    fs::create_dir(lab.data()).unwrap();
    fs::write(lab.data().join("thesis.txt"), "years of work").unwrap();
    give(&lab, &lab.data());
    let log = lab.refused(&[]);
    assert!(log.contains("holds files, but no data of PostgreSQL"), "{log}");
    assert_eq!(fs::read_to_string(lab.data().join("thesis.txt")).unwrap(), "years of work");
    fs::remove_dir_all(lab.data()).unwrap();
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    if nix::unistd::geteuid().is_root() {
        let lab = Lab::new();
        chown(lab.state(), Some(0), Some(0)).unwrap();
        fs::set_permissions(lab.state(), fs::Permissions::from_mode(0o755)).unwrap();
        let log = lab.refused(&[]);
        assert!(log.contains("failed to make") && log.contains("Permission denied"), "{log}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let lab = Lab::new();
    let _taken = TcpListener::bind(("127.0.0.1", lab.port)).unwrap();
    let log = lab.refused(&[]);
    assert!(log.contains("PostgreSQL ended (exit status: 1: could not create any TCP/IP sockets"), "{log}");
}

#[test]
fn one_folder_has_one_server() {
    let lab = Lab::new();
    let _service = lab.ready();
    let log = lab.refused(&[("METRICS_PORT", "0")]);
    assert!(log.contains("another program serves the folder"), "{log}");
    assert_eq!(lab.query("SELECT 1"), "1");
}

#[test]
fn root_is_refused_with_the_way_out() {
    if nix::unistd::geteuid().is_root() {
        let folder = tempfile::tempdir().unwrap();
        let variables = [("POSTGRES_DATA", folder.path().to_str().unwrap()), ("DATABASE_PASSWORD", PASSWORD)];
        let mut service = Service::start(PROGRAM, &[], &variables).unwrap();
        assert_eq!(service.wait().unwrap().code(), Some(1));
        assert!(service.log().contains("PostgreSQL does not run as root") && service.log().contains("runAsUser"), "{}", service.log());
    }
}

#[test]
fn names_that_are_none_and_a_missing_password_are_refused() {
    let log =
        check_refused(PROGRAM, &[], &[("POSTGRES_USER", "postgres"), ("POSTGRES_DATABASE", "x; DROP"), ("POSTGRES_PORT", "0")]).unwrap();
    for variable in ["POSTGRES_USER", "POSTGRES_DATABASE", "POSTGRES_PORT", "DATABASE_PASSWORD"] {
        assert!(log.contains(&format!("\"variable\":\"{variable}\"")), "{variable}: {log}");
    }
}

#[test]
fn its_configuration_is_documented() {
    let output = Command::new(PROGRAM).arg("--print-config-docs").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("| `DATABASE_PASSWORD` | a secret text (secret) | **required** |"));
}

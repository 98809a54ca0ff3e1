//! A region of its own, beside the one that other tests share: power cut, recovery, and nothing left in the end.

use std::error::Error;
use std::process::Command;

use lab::{Lab, LabHandle, ProcessRef, Region, leftovers};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Takes the region down also when the test fails.
struct Down<'a>(&'a Region);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        // The test reports its own failure; this one only must not hide it.
        lab::down(self.0).unwrap_or_default();
    }
}

fn run(region: &Region, verb: &str) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args([verb, "--region", &region.name, "--dir"])
        .arg(region.dir.parent().unwrap_or(&region.dir))
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(String::from_utf8(output.stdout)?) } else { Err(errors.into()) }
}

fn first_process(region: &Region) -> Result<ProcessRef> {
    ProcessRef::load(&region.path("region.pid")).ok_or_else(|| "the region has no first process".into())
}

#[test]
fn a_power_cut_keeps_the_data_and_down_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let region = Region::new(folder.path(), "cut")?;
    let down = Down(&region);
    run(&region, "up")?;
    let handle = Lab::at(&region, &lab::tools()?)?;
    handle.kubectl(&["create", "configmap", "witness", "--from-literal=seen=yes"])?;
    let first = first_process(&region)?;
    let before = handle.apiserver_pid()?;

    first.kill("the first process", &region.logs())?;
    assert_eq!(ProcessRef::find(before), None, "the API server outlived its region");
    assert!(run(&region, "status").is_err(), "a killed region is not up");

    run(&region, "up")?;
    assert_ne!(first_process(&region)?, first);
    let seen = handle.kubectl(&["get", "configmap", "witness", "-o", "jsonpath={.data.seen}"])?;
    assert_eq!(seen, "yes");
    let second = first_process(&region)?;
    run(&region, "up")?;
    assert_eq!(first_process(&region)?, second, "a region that is up stays as it is");

    crashes_are_survived(&handle)?;

    let cgroup = region.cgroup()?;
    run(&region, "down")?;
    assert_eq!(leftovers(&region)?, Vec::<String>::new());
    assert!(!second.is_alive());
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
        assert!(!hierarchy?.path().join(&cgroup).exists(), "cgroup {cgroup} was left");
    }
    run(&region, "down")?;
    drop(down);
    Ok(())
}

fn crashes_are_survived(handle: &LabHandle) -> Result<()> {
    let before = handle.apiserver_pid()?;
    handle.crash_server("kube-apiserver")?;
    handle.start_server("kube-apiserver")?;
    assert_ne!(handle.apiserver_pid()?, before);

    handle.stop_server("kube-apiserver")?;
    assert!(handle.kubectl(&["get", "--raw", "/readyz", "--request-timeout=2s"]).is_err());
    assert!(handle.apiserver_pid().is_err(), "a stopped server stays down");
    handle.start_server("kube-apiserver")?;
    let seen = handle.kubectl(&["get", "configmap", "witness", "-o", "jsonpath={.data.seen}"])?;
    assert_eq!(seen, "yes");
    Ok(())
}

#[test]
fn down_before_any_up_does_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let region = Region::new(folder.path(), "none")?;
    run(&region, "down")?;
    assert_eq!(leftovers(&region)?, Vec::<String>::new());
    assert!(run(&region, "env").is_err());
    Ok(())
}

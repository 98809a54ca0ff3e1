//! Commands and archives that try more than they may.

use std::net::TcpListener;

use feature_api::sandbox::Limits;
use tonic::Code;

use crate::world::{ALL, APART, Who, World, limited, spec};

#[test]
fn a_fork_bomb_is_held_and_ended() {
    for who in ALL {
        let world = World::start(who, &[]);
        // Each process starts two and waits: without a bound there would soon be thousands.
        let bomb = "bomb() { bomb 600.0625 & bomb 600.0625 & sleep 600.0625; }; bomb";
        let limits = Limits { timeout_seconds: Some(2), processes: Some(40), ..Limits::default() };
        let told = world.run(limited(spec(1, &["sh", "-c", bomb]), limits), Vec::new()).unwrap();
        assert_ne!(told.result.exit_code, 0, "{who:?}");
        world.wait_for_nothing("600.0625");
        // The machine, and the next sandbox, are as before.
        assert_eq!(world.sh(2, "exit 0").result.exit_code, 0, "{who:?}");
    }
}

#[test]
fn memory_beyond_the_limit_ends_the_command_and_is_reported() {
    for who in ALL {
        let world = World::start(who, &[]);
        // Takes 16 MiB at a time, and uses it.
        let hog = "awk 'BEGIN { s = \"x\"; for (i = 0; i < 24; i++) s = s s; while (1) { a[n++] = s n; system(\"sleep 0.02\") } }'";
        let limits = Limits { memory_mib: Some(100), timeout_seconds: Some(30), ..Limits::default() };
        let told = world.run(limited(spec(1, &["sh", "-c", hog]), limits), Vec::new()).unwrap();
        assert!(told.result.oom_killed && !told.result.timed_out, "{who:?} {:?} {}", told.result, told.err());
        assert_eq!(told.result.exit_code, 137, "{who:?}");
        let metrics = world.metrics();
        assert!(!metrics.contains("sandbox_oom_kills_total 0") && metrics.contains("outcome=\"oom_killed\"} 1"), "{metrics}");
    }
}

#[test]
fn a_workspace_that_grows_beyond_its_limit_ends_the_command() {
    for who in ALL {
        let world = World::start(who, &[]);
        let limits = || Limits { workspace_mib: Some(20), timeout_seconds: Some(30), ..Limits::default() };
        let many = "i=0; while true; do i=$((i+1)); head -c 1000000 /dev/zero > f$i; done";
        let told = world.run(limited(spec(1, &["sh", "-c", many]), limits()), Vec::new()).unwrap();
        assert_eq!(told.result.exit_code, 137, "{who:?} {:?}", told.result);
        assert!(told.err().ends_with("sandbox: the workspace is larger than 20 MiB; the command was killed\n"), "{}", told.err());
        let one = world.run(limited(spec(2, &["sh", "-c", "head -c 30000000 /dev/zero > f; wc -c < f"]), limits()), Vec::new()).unwrap();
        assert_eq!(one.out(), "20971520\n", "{who:?} {:?} {}", one.result, one.err());
        world.wait_for_nothing("nothing runs under this name");
    }
}

#[test]
fn there_is_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reach = |address: &str, port: u16| {
        format!(
            "if command -v bash; then bash -c 'exec 3<>/dev/tcp/{address}/{port}'; else nc -w 2 {address} {port} < /dev/null; fi && echo reached;"
        )
    };
    let connect = format!("exec 3>&1; ({} {}) | grep reached; true", reach("127.0.0.1", port), reach("192.0.2.1", 80));
    for who in APART {
        let world = World::start(who, &[]);
        let told = world.sh(1, &connect);
        assert!(world.has("network", &told));
        assert_eq!(told.out(), "", "{who:?}");
        assert!(told.err().contains("Connection refused") && told.err().contains("unreachable"), "{}", told.err());
    }
}

#[test]
fn a_command_can_not_undo_what_holds_it() {
    for who in APART {
        let world = World::start(who, &[]);
        let script = "mount -t tmpfs x /tmp; umount /usr; mount -o remount,rw,bind /usr; kill -9 1; readlink /proc/1/fd/0 /proc/1/exe; cat /proc/1/environ; \
                      chroot / true; echo 1000000 > /proc/self/oom_score_adj; ulimit -u 100000; find / -name record.json 2>/dev/null; echo alive";
        let told = world.sh(1, script);
        assert_eq!(told.out(), "alive\n", "{who:?} {}", told.err());
        assert!(!told.err().contains("SANDBOX_PLAN"), "{}", told.err());
    }
}

#[test]
fn one_sandbox_does_not_see_another() {
    for who in [Who::Own, Who::Containerd] {
        let world = World::start(who, &[]);
        let first = world.begun(spec(1, &["sh", "-c", "echo secret > file-of-the-first; echo ready; sleep 600.875"]), "ready");
        let told = world.sh(
            2,
            "pgrep -f 'sleep 600[.]875'; pkill -9 -f 'sleep 600[.]875'; find / -name file-of-the-first 2>/dev/null; ls /workspace /tmp",
        );
        assert_eq!(told.out(), "/tmp:\n\n/workspace:\n", "{who:?} {}", told.err());
        drop(first);
    }
}

#[test]
fn archives_that_lead_out_are_refused_and_leave_nothing() {
    let world = World::start(Who::Own, &[]);
    let entry = |kind: tar::EntryType, path: &str, link: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
        builder.into_inner().unwrap()
    };
    for (bytes, words) in [
        (entry(tar::EntryType::Regular, "../out", ""), "a path that leaves the workspace"),
        (entry(tar::EntryType::Regular, "/etc/out", ""), "a path that leaves the workspace"),
        (entry(tar::EntryType::Symlink, "l", "/etc"), "a link that leaves the workspace"),
        (entry(tar::EntryType::Link, "l", "/etc/passwd"), "something else than files"),
        (entry(tar::EntryType::Char, "l", ""), "something else than files"),
        (vec![7; 2000], "the archive can't be read"),
    ] {
        let (code, message) = world.refused(spec(1, &["true"]), bytes);
        assert_eq!(code, Code::InvalidArgument, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let bomb = limited(spec(1, &["true"]), Limits { workspace_mib: Some(1), ..Limits::default() });
    let (code, message) = world.refused(bomb, crate::world::archive(&[("big", &vec![0; 2 << 20])]));
    assert_eq!((code, message.as_str()), (Code::InvalidArgument, "the archive holds more than 1 MiB"));
    world.wait_for_nothing("nothing runs under this name");
}

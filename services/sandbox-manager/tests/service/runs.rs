//! What a sandbox does when all goes well, and how it ends.

use std::collections::HashMap;

use feature_api::sandbox::{Limits, Spec};
use tonic::Code;

use crate::world::{ALL, Who, World, archive, is_root, limited, spec};

#[test]
fn a_command_runs_on_its_workspace_and_tells_output_and_exit_code() {
    for who in ALL {
        let world = World::start(who, &[]);
        let files = archive(&[("src/a.txt", b"hello\n"), ("big", &vec![7; 3 << 20])]);
        let script = "cat src/a.txt; echo oops >&2; wc -c < big; echo x > new; echo $SECRET-$A; exit 3";
        let run = Spec { environment: HashMap::from([("A".to_owned(), "b".to_owned())]), ..spec(1, &["sh", "-c", script]) };
        let told = world.run(run, files).unwrap();
        assert_eq!(told.out(), "hello\n3145728\n-b\n", "{who:?} {}", told.err());
        assert_eq!(told.err(), "oops\n");
        let result = &told.result;
        assert_eq!((result.exit_code, result.oom_killed, result.timed_out, result.truncated), (3, false, false, false));
        world.wait_for_nothing("nothing runs under this name");
        let missing = world.run(spec(2, &["no-such-command"]), Vec::new()).unwrap();
        assert_eq!(missing.result.exit_code, 127, "{}", missing.err());
        assert!(missing.err().contains("failed to start \"no-such-command\""));
        let signal = world.sh(3, "kill -KILL $$");
        assert_eq!((signal.result.exit_code, signal.result.oom_killed), (137, false), "{who:?}");
        let metrics = world.metrics();
        for line in ["sandbox_execution_duration_seconds_count{outcome=\"failed\"} 3", "sandbox_active 0", "sandbox_oom_kills_total 0"] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
    }
}

#[test]
fn it_says_what_holds_a_sandbox_and_that_is_so() {
    for who in ALL {
        let world = World::start(who, &[]);
        let told = world.sh(1, "id -u; ls /proc | grep -c '^[0-9]'; ls /; cat /proc/net/dev | wc -l; touch /usr/x /etc/x /x; ls /usr/x /etc/x /x 2>/dev/null; head -c1 /dev/urandom | wc -c; echo t > /tmp/t && cat /tmp/t; pwd");
        let out = told.out();
        let namespaces = ["network", "pid", "mount", "ipc", "uts", "proc"];
        if who == Who::Bare {
            assert!(!namespaces.iter().any(|name| world.has(name, &told)), "{:?}", told.result.isolation);
        } else {
            assert!(namespaces.iter().all(|name| world.has(name, &told)), "{who:?} {:?} {}", told.result.isolation, world.service.log());
            let lines: Vec<&str> = out.lines().collect();
            let user = if who == Who::Containerd || who == Who::Own && is_root() { "61000" } else { "1000" };
            assert_eq!(lines[0], user, "{who:?}");
            assert!(lines[1].parse::<u32>().unwrap() < 8, "only its own processes: {out}");
            assert!(lines.contains(&"workspace") && !lines.contains(&"home") && !lines.contains(&"root"), "{out}");
            assert!(lines.contains(&"3"), "the loopback only: {out}");
            assert!(lines.ends_with(&["1", "t", "/workspace"]), "{out}");
            assert_eq!(told.err().lines().filter(|line| line.contains("touch")).count(), 3, "nothing of it is written: {}", told.err());
        }
        assert!(world.has("rlimits", &told));
    }
}

#[test]
fn a_command_gets_its_three_streams_and_nothing_else_that_is_open() {
    for who in [Who::Own, Who::Containerd] {
        let world = World::start(who, &[]);
        let told = world.sh(1, "for fd in /proc/self/fd/*; do readlink $fd; done | grep -c -e passwd -e socket; cat");
        assert_eq!((told.out().as_str(), told.result.exit_code), ("0\n", 0), "{}", told.err());
    }
}

#[test]
fn a_sandbox_has_a_loopback_of_its_own() {
    for who in [Who::Own, Who::Containerd] {
        let world = World::start(who, &[]);
        let script = "python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\",0)); s.listen(); c=socket.create_connection(s.getsockname()); print(\"met\")' \
                      || perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(Listen=>1,LocalAddr=>\"127.0.0.1\") or die; IO::Socket::INET->new(PeerAddr=>\"127.0.0.1\",PeerPort=>$s->sockport) or die; print \"met\\n\"' \
                  || { (echo met | nc -l -p 7777) & until nc 127.0.0.1 7777 < /dev/null; do sleep 0.1; done; }";
        let told = world.sh(1, script);
        assert_eq!(told.out(), "met\n", "{}", told.err());
    }
}

#[test]
fn output_beyond_its_bound_is_left_out_and_holds_nothing_up() {
    for who in [Who::Own, Who::Containerd] {
        let world = World::start(who, &[]);
        let run = limited(
            spec(1, &["sh", "-c", "head -c 50000000 /dev/zero; echo end >&2"]),
            Limits { output_kib: Some(100), ..Limits::default() },
        );
        let told = world.run(run, Vec::new()).unwrap();
        assert_eq!((told.stdout.len(), told.err().as_str()), (100 << 10, "end\n"));
        assert!(told.result.truncated && told.result.exit_code == 0);
    }
}

#[test]
fn a_command_that_takes_too_long_is_asked_to_end_and_then_killed() {
    for who in ALL {
        let world = World::start(who, &[]);
        let limits = || Limits { timeout_seconds: Some(1), ..Limits::default() };
        let polite = limited(spec(1, &["sh", "-c", "trap 'echo bye; exit 5' TERM; sleep 600 & wait"]), limits());
        let told = world.run(polite, Vec::new()).unwrap();
        assert_eq!((told.out().as_str(), told.result.exit_code, told.result.timed_out), ("bye\n", 5, true), "{who:?} {}", told.err());
        let deaf = limited(
            spec(2, &["sh", "-c", "trap '' TERM; (setsid sh -c 'trap \"\" TERM; exec sleep 600.125' &) ; sleep 600.125"]),
            limits(),
        );
        let told = world.run(deaf, Vec::new()).unwrap();
        assert_eq!((told.result.exit_code, told.result.timed_out), (137, true), "{who:?}");
        assert!((1000..15_000).contains(&told.result.duration_ms), "{}", told.result.duration_ms);
        world.wait_for_nothing("600.125");
    }
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    for who in ALL {
        let world = World::start(who, &[]);
        let told = world.sh(1, "(setsid sleep 600.25 &) ; sleep 600.25 & mkdir -p a/b; touch a/b/c; chmod 0 a/b a; exit 0");
        assert_eq!(told.result.exit_code, 0, "{who:?}");
        world.wait_for_nothing("600.25");
    }
}

#[test]
fn a_client_that_goes_away_ends_its_sandbox() {
    for who in ALL {
        let world = World::start(who, &[]);
        let events = world.begun(spec(1, &["sh", "-c", "(setsid sleep 600.5 &) ; echo ready; sleep 600.5"]), "ready");
        drop(events);
        world.wait_for_nothing("600.5");
        let counted = || world.metrics().contains("sandbox_execution_duration_seconds_count{outcome=\"cancelled\"} 1").then_some(());
        service_testing::eventually("the run counts as cancelled", counted).unwrap();
    }
}

#[test]
fn there_are_so_many_places_and_one_for_each_id() {
    for who in [Who::Own, Who::Containerd] {
        let world = World::start(who, &[]);
        let first = world.begun(spec(1, &["sh", "-c", "echo ready; sleep 600"]), "ready");
        assert_eq!(world.refused(spec(1, &["true"]), Vec::new()).0, Code::AlreadyExists);
        let second = world.begun(spec(2, &["sh", "-c", "echo ready; sleep 600"]), "ready");
        assert!(world.metrics().contains("sandbox_active 2"));
        assert_eq!(world.refused(spec(3, &["true"]), Vec::new()).0, Code::ResourceExhausted);
        drop(first);
        let free = || world.run(spec(3, &["true"]), Vec::new()).ok();
        service_testing::eventually("a place is free", free).unwrap();
        drop(second);
    }
}

#[test]
fn a_request_that_asks_for_more_than_there_is_is_refused() {
    let world = World::start(Who::Own, &[]);
    let more = limited(spec(1, &["true"]), Limits { memory_mib: Some(257), ..Limits::default() });
    assert_eq!(
        world.refused(more, Vec::new()),
        (Code::InvalidArgument, "limit memory_mib must be above 0 and at most the service's own, 256".to_owned())
    );
    assert_eq!(world.refused(Spec { id: "../../x".to_owned(), ..spec(1, &["true"]) }, Vec::new()).0, Code::InvalidArgument);
    assert_eq!(world.refused(spec(1, &[]), Vec::new()).0, Code::InvalidArgument);
}

#[test]
fn a_manager_that_is_killed_leaves_nothing_to_the_next_one() {
    for who in ALL {
        let mut world = World::start(who, &[]);
        let events = world.begun(spec(1, &["sh", "-c", "(setsid sleep 600.75 &) ; echo ready; sleep 600.75"]), "ready");
        assert_eq!(world.folders().len(), 1);
        world.kill();
        drop(events);
        world.start_again();
        world.wait_for_nothing("600.75");
        assert_eq!(world.sh(1, "exit 7").result.exit_code, 7, "{who:?}");
    }
}

#[test]
fn a_manager_that_is_told_to_end_finishes_what_runs() {
    for who in [Who::Own, Who::Containerd] {
        let mut world = World::start(who, &[]);
        let mut events = world.begun(spec(1, &["sh", "-c", "echo ready; sleep 1; echo done"]), "ready");
        world.service.terminate().unwrap();
        let mut out = Vec::new();
        world.runtime.block_on(async {
            while let Some(event) = events.message().await.unwrap() {
                out.push(event.event.unwrap());
            }
        });
        let words = format!("{out:?}");
        assert!(words.contains("exit_code: 0"), "{words}");
        assert_eq!(world.service.wait().unwrap().code(), Some(0), "{}", world.service.log());
    }
}

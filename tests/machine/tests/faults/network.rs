//! Ports that another program has.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use super::project::{Project, all, deployment, wait};

const SLEEPS: &str = "exec sleep 1000";

fn service(port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web, namespace: small, annotations: {{provision.dev/endpoint: web}}}}
spec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{name: http, port: {port}}}]}}
"
    )
}

fn published(project: &Project) -> Option<SocketAddr> {
    project.status()["endpoints"]["web"].as_str()?.strip_prefix("http://")?.parse().ok()
}

#[test]
fn a_port_that_another_program_has_everywhere_is_said_while_it_is_so() {
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let project = Project::new(&all(&[&deployment("web", SLEEPS, ""), &service(port)]));
    let up = project.well(&["up", "--yes"]);
    let words = format!(":{port} is taken: another program listens at all addresses with this port");
    assert_eq!(up.stderr.matches(&words).count(), 1, "{}", up.stderr);
    assert!(up.stderr.contains("Service/small/web: "), "{}", up.stderr);
    assert!(project.notices().iter().any(|text| text.contains(&words)), "{:?}", project.notices());
    drop(taken);
    wait("it is served", || (!project.notices().iter().any(|text| text.contains(&words))).then_some(()));
}

#[test]
fn a_published_port_that_was_taken_meanwhile_is_another_one_and_that_is_shown() {
    let project = Project::new(&all(&[&deployment("web", SLEEPS, ""), &service(8080)]));
    project.well(&["up", "--yes"]);
    let before = wait("it is published", || published(&project));
    TcpStream::connect(before).unwrap();
    project.kill_supervisor();
    let _taken = TcpListener::bind(before).unwrap();
    let after = wait("it has moved", || published(&project).filter(|now| *now != before));
    TcpStream::connect(after).unwrap();
    let words = format!("port {} of 127.0.0.1 is taken by another program; the Service is at port {} now", before.port(), after.port());
    assert!(project.notices().iter().any(|text| text.contains(&words)), "{:?}", project.notices());
    assert!(project.well(&["plan"]).stdout.contains(&words));
}

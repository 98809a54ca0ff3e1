use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};

use provision_local::{WantedPod, WantedPort, WantedService};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::world::{World, container, eventually};

const PORT: u16 = 9000;

fn service(address: Ipv4Addr, targets: Vec<SocketAddrV4>, published: bool) -> WantedService {
    let ports = vec![WantedPort { name: "http".to_owned(), port: PORT, targets }];
    WantedService { namespace: "test".to_owned(), name: "echo".to_owned(), address, published, ports }
}

async fn echo(world: &mut World) -> (WantedPod, SocketAddrV4) {
    let mut pod = world.pod(Vec::new());
    let address = SocketAddrV4::new(pod.address, PORT);
    pod.containers.push(container("parts", &["echo", &address.to_string()]));
    world.want(pod.clone()).await;
    let mut tries = tokio::time::interval(std::time::Duration::from_millis(10));
    while TcpStream::connect(address).await.is_err() {
        tries.tick().await;
    }
    (pod, address)
}

/// Says something, closes our side, and returns the whole answer.
async fn ask(address: SocketAddrV4, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Asks again and again until it is so.
async fn reached(what: &str, met: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !met().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within 30 s");
        tokio::task::yield_now().await;
    }
}

async fn answers(address: SocketAddrV4) -> bool {
    ask(address, "").await.is_ok_and(|answer| !answer.is_empty())
}

#[tokio::test]
async fn connections_go_to_each_ready_pod_in_turn_and_nowhere_without_one() {
    let mut world = World::new();
    let ((_, one), (_, two)) = (echo(&mut world).await, echo(&mut world).await);
    let address = world.address();
    let at = SocketAddrV4::new(address, PORT);
    world.serve(vec![service(address, vec![one, two], false)]).await;
    reached("it is served", async || answers(at).await).await;
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for number in 0..10 {
        let answer = ask(at, &format!("hello {number}")).await.unwrap();
        let (server, said) = answer.split_once(' ').unwrap();
        assert_eq!(said, format!("hello {number}"), "what is said before the half-close arrives");
        *seen.entry(server.to_owned()).or_default() += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [5, 5]);
    world.serve(vec![service(address, Vec::new(), false)]).await;
    let refused = async || TcpStream::connect(at).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    reached("connections are refused", &refused).await;
    world.serve(vec![service(address, vec![one], false)]).await;
    reached("it is served", async || answers(at).await).await;
    world.serve(Vec::new()).await;
    reached("connections are refused", &refused).await;
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_does_not_accept_is_passed_over() {
    let mut world = World::new();
    let (_, one) = echo(&mut world).await;
    let (address, dead) = (world.address(), world.address());
    let at = SocketAddrV4::new(address, PORT);
    world.serve(vec![service(address, vec![SocketAddrV4::new(dead, PORT), one], false)]).await;
    reached("it is served", async || answers(at).await).await;
    for _ in 0..6 {
        assert!(answers(at).await);
    }
    world.end().await;
}

#[tokio::test]
async fn many_connections_at_the_same_time_are_all_answered() {
    let mut world = World::new();
    let (_, one) = echo(&mut world).await;
    let address = world.address();
    let at = SocketAddrV4::new(address, PORT);
    world.serve(vec![service(address, vec![one], false)]).await;
    reached("it is served", async || answers(at).await).await;
    let text = "x".repeat(100_000);
    let all = (0..300).map(|_| ask(at, &text));
    let good =
        futures::future::join_all(all).await.into_iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.ends_with(&text)));
    assert_eq!(good.count(), 300);
    world.end().await;
}

#[tokio::test]
async fn a_published_port_is_free_and_the_same_after_a_restart() {
    let mut world = World::new();
    let (_, one) = echo(&mut world).await;
    let address = world.address();
    world.serve(vec![service(address, vec![one], true)]).await;
    let first = world.until("it is published", |world| world.published.first().copied()).await;
    assert_eq!((first.0, *first.1.ip()), (PORT, Ipv4Addr::LOCALHOST));
    reached("it is served", async || answers(first.1).await).await;
    world.restart_supervisor().await;
    let second = world.until("it is published again", |world| world.published.first().copied()).await;
    assert_eq!(first, second);
    world.drop_supervisor();
    let mut taken = None;
    eventually("the port is free for a moment", || {
        taken = std::net::TcpListener::bind(first.1).ok();
        taken.is_some()
    })
    .await;
    world.restart_supervisor().await;
    let third = world.until("it is published elsewhere", |world| world.published.first().copied()).await;
    assert_ne!(first, third);
    world.end().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_served_when_it_is_free() {
    let mut world = World::new();
    let (_, one) = echo(&mut world).await;
    let address = world.address();
    let at = SocketAddrV4::new(address, PORT);
    let taken = TcpListener::bind(at).await.unwrap();
    world.serve(vec![service(address, vec![one], false)]).await;
    drop(taken);
    reached("it is served", async || answers(at).await).await;
    world.end().await;
}

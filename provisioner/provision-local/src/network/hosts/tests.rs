use proptest::prelude::*;

use super::*;

/// Services `api`, `git-service` and `db` in namespace `ns`, headless `db` with pods.
fn lookup(host: &Host) -> Option<Ipv4Addr> {
    host.places.iter().find_map(|place| match place {
        Place::Service { namespace, name } if namespace == "ns" => match name.as_str() {
            "api" => Some(Ipv4Addr::new(127, 16, 0, 2)),
            "git-service" => Some(Ipv4Addr::new(127, 16, 0, 3)),
            "db" => Some(Ipv4Addr::new(127, 16, 0, 4)),
            _ => None,
        },
        Place::Pod { namespace, service, name } if namespace == "ns" && service == "db" && name == "db-0" => {
            Some(Ipv4Addr::new(127, 16, 0, 9))
        }
        _ => None,
    })
}

fn rewritten(text: &str) -> String {
    rewrite(text, None, "ns", &lookup)
}

#[test]
fn names_of_all_forms_become_addresses() {
    for (text, expected) in [
        ("http://api:8080/path", "http://127.16.0.2:8080/path"),
        ("http://api/api", "http://127.16.0.2/api"),
        ("http://api", "http://127.16.0.2"),
        ("http://api.ns.svc:80", "http://127.16.0.2:80"),
        ("http://api.ns.svc.cluster.local./x", "http://127.16.0.2/x"),
        ("http://API.NS.SVC", "http://127.16.0.2"),
        ("postgres://api:db@db.ns.svc:5432/db", "postgres://api:db@127.16.0.4:5432/db"),
        ("postgres://u:p@db-0.db:1,api:2/db", "postgres://u:p@127.16.0.9:1,127.16.0.2:2/db"),
        ("db-0.db.ns.svc:9092,db-0.db.ns:9092,db-0.db:9092", "127.16.0.9:9092,127.16.0.9:9092,127.16.0.9:9092"),
        ("git@git-service.ns.svc:repo.git", "git@127.16.0.3:repo.git"),
        ("host=db port=5432", "host=127.16.0.4 port=5432"),
        ("{\"url\": \"http://api\", \"broker\": \"db:1\"}", "{\"url\": \"http://127.16.0.2\", \"broker\": \"127.16.0.4:1\"}"),
        ("upstream api.ns;", "upstream 127.16.0.2;"),
    ] {
        assert_eq!(rewritten(text), expected, "{text}");
    }
}

#[test]
fn what_only_looks_like_a_name_stays() {
    for text in [
        "api",
        "git-service",
        "/usr/bin/api",
        "/data/api.ns/x",
        "http://example.com/api:80",
        "http://example.com/api.ns.svc/x",
        "http://my-api:80",
        "http://api.example.com",
        "http://api_1:80",
        "http://u@other/",
        "http://api:pw@other:80/",
        "xapi:80",
        "api:latest",
        "api:123456",
        "api.ns.svc.example.com",
        "api.other.svc",
        "éapi:80",
        "https://x?u=//api",
        "",
    ] {
        assert_eq!(rewritten(text), text);
    }
}

#[test]
fn a_variable_that_names_a_host_may_hold_one_word() {
    for (variable, expected) in [("PGHOST", "127.16.0.4"), ("DB_HOST", "127.16.0.4"), ("SERVICE_NAME", "db"), ("HOSTS", "db")] {
        assert_eq!(rewrite("db", Some(variable), "ns", &lookup), expected, "{variable}");
    }
    assert_eq!(rewrite("db x", Some("PGHOST"), "ns", &lookup), "db x");
}

proptest! {
    #[test]
    fn text_without_a_name_stays_as_it_is(text in "\\PC{0,60}") {
        prop_assume!(!["api", "db", "git-service"].iter().any(|name| text.to_lowercase().contains(name)));
        prop_assert_eq!(rewritten(&text), text);
    }

    #[test]
    fn a_name_within_a_longer_one_stays(before in "[a-z0-9._-]{1,5}", after in "[a-z0-9_-]{0,5}", scheme in "(http://)?") {
        let text = format!("{scheme}{before}api{after}:80");
        prop_assume!(!rewritten(&format!("{scheme}{before}")).contains("127.16"));
        prop_assert_eq!(rewritten(&text), text);
    }

    #[test]
    fn nothing_is_left_to_do_afterwards(parts in prop::collection::vec("(http://|api|db|db-0\\.db|git-service|\\.ns|\\.svc|:80|/|@|,| |\"|=|x){1}", 0..12)) {
        let once = rewritten(&parts.concat());
        prop_assert_eq!(rewritten(&once), once);
    }

    #[test]
    fn only_the_names_change(parts in prop::collection::vec("(http://|api|db|:80|/|@|,| |\"|=){1}", 0..12)) {
        let text = parts.concat();
        let back = rewritten(&text).replace("127.16.0.2", "api").replace("127.16.0.4", "db");
        prop_assert_eq!(back, text);
    }
}

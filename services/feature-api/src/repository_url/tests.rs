use proptest::prelude::*;
use url::Url;

use super::*;

fn rules(schemes: &str, loopback: bool) -> UrlRules {
    UrlRules { schemes: schemes.parse().unwrap(), loopback }
}

fn everywhere(text: &str) -> Result<RepositoryUrl, UrlError> {
    RepositoryUrl::parse(text, &rules("https,ssh,http,git", true))
}

#[test]
fn usual_urls_are_taken() {
    for (text, expected) in [
        ("https://github.com/org/repo.git", "https://github.com/org/repo.git"),
        ("HTTPS://GitHub.com/Org/Repo", "https://github.com/Org/Repo"),
        ("https://git.example.com:8443/a/b%20c/", "https://git.example.com:8443/a/b%20c/"),
        ("ssh://git@github.com/org/repo.git", "ssh://git@github.com/org/repo.git"),
        ("ssh://example.com:22/~user/repo", "ssh://example.com:22/~user/repo"),
        ("https://[2001:db8::1]/repo", "https://[2001:db8::1]/repo"),
        ("https://192.0.2.7/repo", "https://192.0.2.7/repo"),
    ] {
        assert_eq!(RepositoryUrl::parse(text, &rules("https,ssh", false)).unwrap().as_str(), expected);
    }
}

#[test]
fn what_could_run_a_program_read_a_file_or_show_a_password_is_refused() {
    use UrlError::*;
    for (text, expected) in [
        ("", Form),
        ("/etc/passwd", Form),
        ("git@github.com:org/repo.git", Form),
        ("--upload-pack=touch", Form),
        ("--upload-pack=touch$IFS/tmp/x", Form),
        ("--upload-pack='touch /tmp/x'", Character),
        ("-oProxyCommand=x://h/p", Scheme),
        ("ext::sh -c x", Character),
        ("ext::sh%20-c%20x", Form),
        ("ext::https://h/p", Scheme),
        ("file:///etc/passwd", Scheme),
        ("ftp://h/p", Scheme),
        ("git+ssh://h/p", Scheme),
        ("https://user:canary-7fd1@h/p", Password),
        ("https://canary-7fd1@h/p", Password),
        ("ssh://git:canary-7fd1@h/p", Password),
        ("ssh://@h/p", Password),
        ("ssh://-oProxyCommand=x@h/p", Password),
        ("ssh://a@b@h/p", Password),
        ("ssh://-oProxyCommand=x/p", Host),
        ("https://h/p?token=canary-7fd1", Character),
        ("https://h/p#x", Character),
        ("https://h\\p", Character),
        ("https://h/p\n", Character),
        ("https://h/p q", Character),
        ("https://bücher.example/p", Character),
        ("https://h", Path),
        ("https://h/", Path),
        ("https://h/.", Path),
        ("https://h/a/../b", Path),
        ("https://h/a/%2e%2E/b", Path),
        ("https://h/a//b", Path),
        ("https://h/%0aHost:x", Path),
        ("https://h/a%0d%0ab", Path),
        ("https://h/a%2fb", Path),
        ("https://h/a%5cb", Path),
        ("https://h/a%4", Path),
        ("https://h/a%zz", Path),
        ("ssh://h/-x", Path),
        ("ssh://h/%2dx", Path),
        ("https:///p", Host),
        ("https://h%0a/p", Host),
        ("https://h./p", Host),
        ("https://-h/p", Host),
        ("https://[::1/p", Host),
        ("https://[fe80::1%25eth0]/p", Host),
        ("https://[::2]x/p", Host),
        ("https://1.2.3/p", Host),
        ("https://h:0/p", Port),
        ("https://h:/p", Port),
        ("https://h:+1/p", Port),
        ("https://h:65536/p", Port),
    ] {
        let error = everywhere(text).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    assert_eq!(everywhere(&format!("https://h/{}", "x".repeat(LONGEST))), Err(Length));
}

#[test]
fn schemes_are_those_of_the_list() {
    for (text, schemes, taken) in [
        ("https://h/p", "https,ssh", true),
        ("ssh://h/p", "https,ssh", true),
        ("http://h/p", "https,ssh", false),
        ("git://h/p", "https,ssh", false),
        ("http://h/p", "https, http", true),
        ("ssh://h/p", "https", false),
    ] {
        assert_eq!(RepositoryUrl::parse(text, &rules(schemes, false)).is_ok(), taken, "{text} with {schemes}");
    }
    for list in ["", "https,", "file", "ext", "https,file", "https;ssh", "*"] {
        assert_eq!(list.parse::<Schemes>(), Err(UrlError::Scheme), "{list:?}");
    }
}

#[test]
fn this_machine_is_reached_only_where_that_is_allowed() {
    for host in ["localhost", "LOCALHOST", "x.localhost", "127.0.0.1", "127.8.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"] {
        for scheme in ["http", "git", "https", "ssh"] {
            let url = format!("{scheme}://{host}:9418/repo");
            assert!(RepositoryUrl::parse(&url, &rules("https,ssh", true)).is_ok(), "{url}");
            assert_eq!(RepositoryUrl::parse(&url, &rules("https,ssh,http,git", false)), Err(UrlError::Address), "{url}");
        }
        assert_eq!(RepositoryUrl::parse(&format!("ssh://{host}/p"), &rules("https", true)), Err(UrlError::Scheme));
    }
    for host in ["0.0.0.0", "[::]", "169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "224.0.0.1", "255.255.255.255", "[ff02::1]"]
    {
        assert_eq!(everywhere(&format!("http://{host}/p")), Err(UrlError::Address), "{host}");
    }
    for host in ["127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.01", "a.1"] {
        assert_eq!(everywhere(&format!("http://{host}/p")), Err(UrlError::Host), "{host}: a resolver may read it as this machine");
    }
}

/// Pieces that URLs and attacks on them are made of.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "https",
            "ssh",
            "git",
            "http",
            "file",
            "ext",
            "://",
            ":",
            "::",
            "/",
            "//",
            "@",
            "-",
            "--",
            "..",
            ".",
            "%2e",
            "%0a",
            "%",
            "[",
            "]",
            "::1",
            "127.0.0.1",
            "0x7f",
            "localhost",
            "git@",
            "user:pass@",
            "?x=y",
            "#",
            "\n",
            "\\",
            " ",
            "host",
            "example.com",
            "repo.git",
            "80",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9._~-]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

fn usual() -> impl Strategy<Value = String> {
    let host = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]{2,6}){1,2}";
    let path = "[a-z0-9_][a-zA-Z0-9_-]{0,8}(/[a-zA-Z0-9_][a-zA-Z0-9._-]{0,8}){0,3}";
    ("https|ssh|http|git", host, proptest::option::of(1_u16..), path).prop_map(|(scheme, host, port, path)| {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}/{path}")
    })
}

fn check_invariants(url: &RepositoryUrl) -> Result<(), TestCaseError> {
    let text = url.as_str();
    prop_assert!(
        text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.starts_with('-') && !text.contains("/-") || text.starts_with("ssh")
    );
    let again = everywhere(text);
    prop_assert_eq!(again.as_ref(), Ok(url), "reading it again gives the same");
    let other = Url::parse(text).map_err(|error| TestCaseError::fail(format!("{text}: another reader does not understand it: {error}")))?;
    prop_assert!(["https", "ssh", "http", "git"].contains(&other.scheme()));
    prop_assert_eq!(other.password(), None);
    prop_assert!(other.username().is_empty() || other.scheme() == "ssh");
    prop_assert!(other.query().is_none() && other.fragment().is_none());
    let host = other.host_str().unwrap_or_default();
    // The other reader writes IPv6 addresses in their shortest form.
    prop_assert!(host == url.host() || host.starts_with('[') && url.host().starts_with('['), "{}: two readers see two hosts", text);
    prop_assert!(other.path().len() > 1 && !other.path().starts_with("/-"));
    prop_assert!(!other.path_segments().into_iter().flatten().any(|segment| segment == ".."));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_taken_is_harmless(text in hostile()) {
        if let Ok(url) = everywhere(&text) {
            check_invariants(&url)?;
        }
    }

    #[test]
    fn usual_urls_are_taken_and_harmless(text in usual()) {
        let url = everywhere(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(url.as_str(), &text);
        check_invariants(&url)?;
    }

    #[test]
    fn a_password_is_never_taken_or_shown(text in usual(), user in "[a-z]{0,3}", password in "[A-Za-z0-9]{8,20}") {
        let with_password = text.replacen("://", &format!("://{user}:{password}@"), 1);
        let error = everywhere(&with_password).unwrap_err();
        prop_assert_eq!(error, UrlError::Password);
        let shown = format!("{error} {error:?}");
        prop_assert!(!shown.contains(&password));
    }
}

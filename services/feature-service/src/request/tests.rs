use proptest::prelude::*;
use service_kit::rpc::Code;

use super::*;

const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

fn rules() -> UrlRules {
    UrlRules { schemes: "https,ssh".parse().unwrap(), loopback: false }
}

fn words<T: std::fmt::Debug>(result: Result<T, RpcError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    error.message
}

proptest! {
    #[test]
    fn whatever_is_asked_for_is_read_or_refused(text in "\\PC{0,50}", near in "-?[0-9]{0,25}_?[0-9a-f-]{0,40}", after in any::<Option<i32>>()) {
        for text in [text, near] {
            let asked = WatchRequest { id: Some(text.clone()), after };
            if let Ok(Watched::One(feature, after)) = watch(&asked, Some(&text)) {
                prop_assert!(feature.to_string().eq_ignore_ascii_case(&text) && after >= -1);
            }
            let all = watch(&WatchRequest::default(), Some(&text));
            prop_assert_eq!(all.is_ok(), text.parse::<i64>().is_ok_and(|last| last >= 0));
            let request = ListRequest { states: vec![after.unwrap_or_default()], limit: after.map(i32::unsigned_abs), after: Some(text.clone()) };
            if let Ok(list) = list(&request) {
                prop_assert!((1..=LARGEST_PAGE).contains(&list.limit) && list.after.is_some_and(|(micros, _)| micros >= 0));
            }
            let request = CreateRequest { repository_url: text.clone(), instruction: text.clone(), idempotency_key: Some(text) };
            if let Ok(new) = new(request, &rules()) {
                prop_assert!(new.idempotency_key.is_some_and(|key| !key.chars().any(char::is_control)));
            }
        }
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_ended(micros in 0..i64::MAX, id in any::<u128>()) {
        let place = (micros, Uuid::from_u128(id));
        prop_assert_eq!(place_of(&next(place)), Some(place));
    }
}

#[test]
fn an_id_has_one_form() {
    assert_eq!(id(ID).unwrap(), id(&ID.to_uppercase()).unwrap());
    for text in [
        "",
        "1",
        "0190163d8694739baea5966c26f8ad91",
        "{0190163d-8694-739b-aea5-966c26f8ad91}",
        &format!("urn:uuid:{ID}"),
        &format!("{ID} "),
    ] {
        assert!(words(id(text)).contains("not a UUID"), "{text}");
    }
}

#[test]
fn what_is_to_be_made_is_checked() {
    let request = |url: &str, instruction: &str, key: Option<&str>| CreateRequest {
        repository_url: url.to_owned(),
        instruction: instruction.to_owned(),
        idempotency_key: key.map(str::to_owned),
    };
    let url = "https://example.com/repo";
    for good in [
        request(url, "x", None),
        request(url, &"x".repeat(LONGEST_INSTRUCTION), Some("k")),
        request("ssh://git@Example.com/repo", "x\n\t", Some(&"ü".repeat(LONGEST_KEY))),
    ] {
        assert!(new(good, &rules()).is_ok());
    }
    for (bad, expected) in [
        (request("file:///etc", "canary", None), "scheme"),
        (request("https://u:canary@h/p", "x", None), "password"),
        (request("http://127.0.0.1/p", "x", None), "may not be reached"),
        (request(url, " \n", None), "`instruction` is empty"),
        (request(url, &"canary".repeat(20_000), None), "longer than 100000 bytes"),
        (request(url, "x", Some("")), "`idempotency_key`"),
        (request(url, "x", Some("a\nb")), "`idempotency_key`"),
        (request(url, "x", Some(&"x".repeat(LONGEST_KEY + 1))), "`idempotency_key`"),
    ] {
        let said = words(new(bad, &rules()));
        assert!(said.contains(expected) && !said.contains("canary"), "{said}");
    }
}

#[test]
fn pages_are_asked_for_by_what_the_page_before_said() {
    let place = (1_700_000_000_000_001, id(ID).unwrap());
    let request =
        |states: &[i32], limit, after: Option<&str>| ListRequest { states: states.to_vec(), limit, after: after.map(str::to_owned) };
    assert_eq!(list(&request(&[], None, None)).unwrap(), List { states: vec![], limit: 50, after: None });
    let second = list(&request(&[7, 8], Some(200), Some(&next(place)))).unwrap();
    assert_eq!(second, List { states: vec![State::Failed, State::Cancelled], limit: 200, after: Some(place) });
    for bad in [request(&[0], None, None), request(&[9], None, None), request(&[], Some(0), None), request(&[], Some(201), None)] {
        assert!(list(&bad).is_err(), "{bad:?}");
    }
    for after in ["", "x", "1_", "_", "-1_0190163d-8694-739b-aea5-966c26f8ad91", "1'; DROP TABLE x_0190163d-8694-739b-aea5-966c26f8ad91"] {
        assert!(words(list(&request(&[], None, Some(after)))).contains("`after`"), "{after}");
    }
}

#[test]
fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let request = |id: Option<&str>, after| WatchRequest { id: id.map(str::to_owned), after };
    let one = id(ID).unwrap();
    for (asked, last, expected) in [
        (request(None, None), None, Watched::All(None)),
        (request(None, None), Some("7"), Watched::All(Some(7))),
        (request(Some(ID), None), None, Watched::One(one, -1)),
        (request(Some(ID), Some(3)), None, Watched::One(one, 3)),
        (request(Some(ID), Some(3)), Some("5"), Watched::One(one, 5)),
    ] {
        assert_eq!(watch(&asked, last).unwrap(), expected);
    }
    for (asked, last) in [
        (request(None, Some(1)), None),
        (request(Some("x"), None), None),
        (request(Some(ID), Some(-2)), None),
        (request(Some(ID), None), Some("x")),
        (request(Some(ID), None), Some("99999999999")),
        (request(None, None), Some("-1")),
    ] {
        assert!(watch(&asked, last).is_err(), "{asked:?} {last:?}");
    }
}

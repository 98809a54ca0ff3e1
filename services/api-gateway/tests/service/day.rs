//! What a day brings: features in every state, and one whose texts would like to be more than texts.

use feature_api::feature::{Artifact, Event, Feature, State, Step, TimelineResponse};

use crate::double::{Double, ago, step};

pub(crate) const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

pub(crate) fn id(index: u32) -> String {
    format!("{index:08x}-5b1c-4f6e-9d0e-3c7a52b1f{index:03x}")
}

/// Fills the double.
pub(crate) fn fill(double: &Double) {
    let add = |(feature, timeline)| double.add(feature, timeline);
    let quiet = |feature| (feature, TimelineResponse::default());
    add(quiet(feature(1, State::Cancelled, "https://git.example.com/platform/billing.git", (86_000, Some(400)))));
    add(quiet(feature(2, State::Completed, "ssh://git@git.example.com/team/website.git", (7300, Some(312)))));
    add(failed());
    add(hostile());
    add(completed());
    add(quiet(feature(6, State::Verifying, "https://git.example.com/platform/search.git", (260, None))));
    add(executing());
    add(quiet(feature(8, State::Planning, "https://git.example.com/team/website.git", (31, None))));
    add(quiet(feature(9, State::Analyzing, "https://git.example.com/mobile/app.git", (8, None))));
    add(quiet(feature(10, State::Pending, "https://git.example.com/mobile/app.git", (2, None))));
}

fn failed() -> (Feature, TimelineResponse) {
    let feature = Feature {
        error: Some("verification failed with exit code 1: 2 tests failed: tax_is_rounded, totals_add_up".to_owned()),
        ..feature(3, State::Failed, "https://git.example.com/platform/billing.git", (3900, Some(171)))
    };
    let error = Some("exit code 1: assertion failed: left 19.99, right 20.00".to_owned());
    let mut steps = done(&[("look", 3900, 4), ("plan", 3895, 21), ("patch", 3874, 48), ("push", 3825, 6)]);
    steps.push(Step { error, attempts: 3, ..step(4, "verify", "failed", (3800, 71)) });
    (feature, TimelineResponse { steps, events: vec![event(3, 9, (State::Verifying, State::Failed), 3729)] })
}

fn hostile() -> (Feature, TimelineResponse) {
    let feature = Feature {
        error: Some(HOSTILE.to_owned()),
        artifacts: vec![artifact("4/change.patch", "javascript:document.title='owned'")],
        ..feature(4, State::Failed, "https://git.example.com/team/<script>alert(1)</script>.git", (1800, Some(9)))
    };
    let step = Step { error: Some(HOSTILE.to_owned()), ..step(0, "look", "failed", (1800, 9)) };
    let event = Event {
        error: Some(HOSTILE.to_owned()),
        event_type: "step.failed".to_owned(),
        step_type: Some(HOSTILE.to_owned()),
        ..event(4, 3, (State::Pending, State::Failed), 1790)
    };
    (feature, TimelineResponse { steps: vec![step], events: vec![event] })
}

fn completed() -> (Feature, TimelineResponse) {
    let file = |name: &str| artifact(&format!("5/{name}"), &format!("http://127.0.0.1:9/{name}"));
    let feature = Feature {
        artifacts: vec![file("change.patch"), file("verify.log")],
        ..feature(5, State::Completed, "https://git.example.com/tools/release-notes-from-commit-messages.git", (900, Some(148)))
    };
    let steps =
        done(&[("look", 900, 3), ("plan", 896, 22), ("patch", 874, 51), ("push", 822, 5), ("verify", 816, 62), ("artifacts", 753, 1)]);
    let states = [State::Pending, State::Analyzing, State::Planning, State::Executing, State::Verifying, State::Completed];
    let moves = states.windows(2).zip(1_i32..);
    let events = moves.map(|(pair, index)| event(5, index, (pair[0], pair[1]), 900 - 29 * u64::from(index.unsigned_abs()))).collect();
    (feature, TimelineResponse { steps, events })
}

fn executing() -> (Feature, TimelineResponse) {
    let mut steps = done(&[("look", 95, 3), ("plan", 92, 31)]);
    steps.push(step(2, "patch", "running", (60, 0)));
    let feature = feature(7, State::Executing, "https://git.example.com/platform/orders.git", (96, None));
    (feature, TimelineResponse { steps, events: vec![event(7, 5, (State::Planning, State::Executing), 60)] })
}

fn done(steps: &[(&str, u64, u64)]) -> Vec<Step> {
    steps.iter().zip(0..).map(|((name, begun, took), index)| step(index, name, "done", (*begun, *took))).collect()
}

fn artifact(key: &str, url: &str) -> Artifact {
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned();
    Artifact { key: key.to_owned(), url: url.to_owned(), sha256 }
}

fn feature(index: u32, state: State, repository: &str, (begun, took): (u64, Option<u64>)) -> Feature {
    Feature {
        id: id(index),
        state: state.into(),
        repository_url: repository.to_owned(),
        created_at: ago(begun),
        updated_at: ago(begun.saturating_sub(took.unwrap_or(0))),
        completed_at: took.map(|took| ago(begun - took)),
        branch: (state == State::Completed).then(|| format!("feature/{}", id(index))),
        ..Feature::default()
    }
}

fn event(feature: u32, sequence: i32, (from, to): (State, State), at: u64) -> Event {
    Event {
        id: format!("{}-{sequence}", id(feature)),
        feature_execution_id: id(feature),
        sequence,
        event_type: "feature.state_changed".to_owned(),
        state: to.into(),
        previous_state: Some(from.into()),
        created_at: ago(at),
        ..Event::default()
    }
}

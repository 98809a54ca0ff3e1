//! What a release was: its generations, and what each of them wanted.

use std::time::Duration;

use provision_model::Scope;

use crate::record::{Generation, GenerationState, Head, RecordStore, Recorded, desired_of};
use crate::{ApplyError, Cluster, RunContext};

const PATIENCE: Duration = Duration::from_secs(5);

/// Lists the recorded generations, oldest first; empty for a release that was never recorded.
///
/// # Errors
/// [`ApplyError::Record`] when the record can't be read.
pub async fn history<C: Cluster, S, K>(cx: &RunContext<C, S, K>, scope: &Scope) -> Result<Vec<Generation>, ApplyError> {
    let store = RecordStore::new(cx.cluster.clone(), scope, PATIENCE);
    Ok(store.head().await?.map(|state| state.head.generations).unwrap_or_default())
}

/// Reads what the unfinished generation wants, if there is one: the newest, begun and not ended by its run.
///
/// # Errors
/// [`ApplyError::Record`] when the record can't be read.
pub async fn load_pending<C: Cluster, S, K>(cx: &RunContext<C, S, K>, scope: &Scope) -> Result<Option<Recorded>, ApplyError> {
    let store = RecordStore::new(cx.cluster.clone(), scope, PATIENCE);
    let head = store.head().await?.map(|state| state.head);
    let newest = head.as_ref().and_then(Head::newest).filter(|newest| newest.state == GenerationState::Pending);
    match newest {
        Some(newest) => load(&store, newest, scope).await.map(Some),
        None => Ok(None),
    }
}

/// Reads what a generation wanted: the given one, or the newest finished one before the present.
///
/// # Errors
/// [`ApplyError::NotRecorded`] when it is not there or wanted nothing, [`ApplyError::Record`] when the record can't be read.
pub async fn load_generation<C: Cluster, S, K>(
    cx: &RunContext<C, S, K>,
    scope: &Scope,
    number: Option<u64>,
) -> Result<Recorded, ApplyError> {
    let store = RecordStore::new(cx.cluster.clone(), scope, PATIENCE);
    let generations = store.head().await?.map(|state| state.head.generations).unwrap_or_default();
    match choose(&generations, number) {
        Some(generation) => load(&store, generation, scope).await,
        None => Err(ApplyError::NotRecorded {
            release: scope.release.to_string(),
            wanted: number.map_or("finished generation to go back to".to_owned(), |number| format!("generation {number} to go back to")),
            there: there(&generations),
        }),
    }
}

fn choose(generations: &[Generation], number: Option<u64>) -> Option<&Generation> {
    let restorable = |generation: &&Generation| !generation.kind.is_down();
    match number {
        Some(number) => generations.iter().filter(restorable).find(|generation| generation.number == number),
        None => {
            let before = generations.split_last()?.1;
            before.iter().rev().filter(restorable).find(|generation| generation.state == GenerationState::Done)
        }
    }
}

fn there(generations: &[Generation]) -> String {
    if generations.is_empty() {
        return "nothing".to_owned();
    }
    let each = generations.iter().map(|generation| format!("{} ({:?})", generation.number, generation.state).to_lowercase());
    each.collect::<Vec<_>>().join(", ")
}

async fn load<C: Cluster>(store: &RecordStore<C>, generation: &Generation, scope: &Scope) -> Result<Recorded, ApplyError> {
    let inventory = store.inventory(generation).await?;
    Ok(Recorded { generation: generation.clone(), desired: desired_of(generation, &scope.release, inventory) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GenerationKind;
    use GenerationState::{Done, Failed, Pending, Superseded};

    #[test]
    fn a_rollback_goes_to_the_newest_finished_generation_before_the_present_and_never_to_a_deletion() {
        let up = |state| (GenerationKind::Up, state);
        let down = (GenerationKind::Down, Done);
        for (made, number, chosen) in [
            (vec![up(Done), up(Done)], None, Some(1)),
            (vec![up(Done), up(Failed), up(Superseded), up(Pending)], None, Some(1)),
            (vec![up(Done), down.clone(), up(Done)], None, Some(1)),
            (vec![up(Done)], None, None),
            (vec![], None, None),
            (vec![up(Done), up(Done), up(Done)], Some(1), Some(1)),
            (vec![up(Failed), up(Done)], Some(1), Some(1)),
            (vec![down, up(Done)], Some(1), None),
            (vec![up(Done)], Some(7), None),
        ] {
            let generations: Vec<Generation> =
                (1..).zip(&made).map(|(number, (kind, state))| Generation::for_test(number, kind.clone(), *state)).collect();
            assert_eq!(choose(&generations, number).map(|generation| generation.number), chosen, "{made:?} {number:?}");
        }
    }
}

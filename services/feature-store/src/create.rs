//! Taking features.

use std::collections::{HashMap, HashSet};

use feature_api::feature::State;
use uuid::Uuid;

use crate::error::StoreError;
use crate::events::{Trace, state_of};
use crate::keys::Instruction;
use crate::store::Store;

/// What is to be made, and where.
#[derive(Clone, Debug)]
pub struct New {
    /// URL of the repository, checked.
    pub repository_url: String,
    /// What is to be made, in words.
    pub instruction: Instruction,
    /// Makes a repeat return the same feature.
    pub idempotency_key: Option<String>,
    /// Trace that the feature's events belong to.
    pub trace: Trace,
}

/// What became of a request for a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was taken, with its first event.
    Created(Uuid),
    /// The same was taken before; its state now.
    Repeated(Uuid, State),
    /// Its key stands for another repository or instruction.
    OtherContent,
}

/// Features and their first events in one statement. Sorted by key: two of these at once then wait for each other in one direction only.
const INSERT: &str = "
    WITH new AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[])
            AS new (id, repository_url, ciphertext, lookup, idempotency_key, traceparent, tracestate)
    ), taken AS (
        INSERT INTO feature_executions
            (id, repository_url, instruction_ciphertext, instruction_lookup, idempotency_key, traceparent, tracestate)
        SELECT * FROM new ORDER BY idempotency_key, id
        ON CONFLICT (idempotency_key) DO NOTHING
        RETURNING id, traceparent, tracestate
    )
    INSERT INTO execution_events (id, feature_execution_id, sequence, event_type, state, traceparent, tracestate)
    SELECT gen_random_uuid(), id, 0, 'feature.created', 1, traceparent, tracestate FROM taken
    RETURNING feature_execution_id";

const FIND: &str =
    "SELECT idempotency_key, id, repository_url, instruction_lookup, state FROM feature_executions WHERE idempotency_key = ANY($1)";

impl Store {
    /// Takes a feature; with a key that was used before it returns the feature of that time.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the key stands for something else; if the database can't be written.
    pub async fn create(&self, new: New) -> Result<Creation, StoreError> {
        match self.create_all(vec![new]).await?.pop() {
            Some(Creation::OtherContent) | None => Err(StoreError::AlreadyExists),
            Some(creation) => Ok(creation),
        }
    }

    /// Takes several features in one transaction, which costs little more than one; the answers are in the order of the requests.
    ///
    /// # Errors
    /// If the database can't be written; then none is taken.
    pub async fn create_all(&self, news: Vec<New>) -> Result<Vec<Creation>, StoreError> {
        let mut columns = Columns::default();
        for new in news {
            let id = Uuid::now_v7();
            columns.ciphertexts.push(self.keys.seal(id, &new.instruction)?);
            columns.lookups.push(self.keys.lookup(&new.instruction));
            columns.ids.push(id);
            columns.urls.push(new.repository_url);
            columns.keys.push(new.idempotency_key);
            columns.parents.push(new.trace.parent);
            columns.states.push(new.trace.state);
        }
        let inserted = sqlx::query_scalar(INSERT).bind(&columns.ids).bind(&columns.urls).bind(&columns.ciphertexts);
        let inserted = inserted.bind(&columns.lookups).bind(&columns.keys).bind(&columns.parents).bind(&columns.states);
        let created: Vec<Uuid> = inserted.fetch_all(&self.pool).await.map_err(StoreError::to("take features"))?;
        let created = created.into_iter().collect();
        let known = self.known(&columns, &created).await?;
        Ok((0..columns.ids.len()).map(|index| columns.outcome(index, &created, &known)).collect())
    }

    /// Reads the features that stand in the way of those that were not created.
    async fn known(&self, columns: &Columns, created: &HashSet<Uuid>) -> Result<HashMap<String, Known>, StoreError> {
        let refused = columns.ids.iter().zip(&columns.keys).filter(|(id, _)| !created.contains(id));
        let keys: Vec<&String> = refused.filter_map(|(_, key)| key.as_ref()).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query_as(FIND).bind(keys).fetch_all(&self.pool).await;
        let rows: Vec<(String, Uuid, String, Vec<u8>, i16)> = rows.map_err(StoreError::to("find features by their keys"))?;
        Ok(rows.into_iter().map(|(key, id, url, lookup, state)| (key, Known { id, url, lookup, state: state_of(state) })).collect())
    }
}

/// New features, column by column.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    urls: Vec<String>,
    ciphertexts: Vec<Vec<u8>>,
    lookups: Vec<Vec<u8>>,
    keys: Vec<Option<String>>,
    parents: Vec<Option<String>>,
    states: Vec<Option<String>>,
}

/// The feature that a key stands for.
struct Known {
    id: Uuid,
    url: String,
    lookup: Vec<u8>,
    state: State,
}

impl Columns {
    fn outcome(&self, index: usize, created: &HashSet<Uuid>, known: &HashMap<String, Known>) -> Creation {
        if created.contains(&self.ids[index]) {
            return Creation::Created(self.ids[index]);
        }
        let known = self.keys[index].as_ref().and_then(|key| known.get(key));
        match known {
            Some(known) if known.url == self.urls[index] && known.lookup == self.lookups[index] => {
                Creation::Repeated(known.id, known.state)
            }
            _ => Creation::OtherContent,
        }
    }
}

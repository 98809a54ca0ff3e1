//! Takes features together: requests that arrive while the database is busy with others go into one transaction.

use std::sync::Arc;

use feature_store::{Creation, New, Store, StoreError};
use service_kit::rpc::{Code, RpcError};
use service_kit::{BoxError, Task};
use tokio::sync::{mpsc, oneshot};

use crate::failure::rpc_error;

/// Most features of one transaction.
const TOGETHER: usize = 200;
/// Most requests that wait; more are sent away.
const WAITING: usize = 4000;

type Answer = Result<Creation, Arc<StoreError>>;

/// Where requests for features go; clones lead to the same place.
#[derive(Clone)]
pub(crate) struct Intake {
    requests: mpsc::Sender<(New, oneshot::Sender<Answer>)>,
}

impl Intake {
    /// Makes the intake and its work, which ends when nobody can send requests any more.
    pub(crate) fn new(store: Store) -> (Self, Task) {
        let (requests, received) = mpsc::channel(WAITING);
        (Self { requests }, Task::new("intake", work(store, received)))
    }

    /// Takes a feature.
    ///
    /// A client that goes away does not undo it: the feature may be taken all the same.
    pub(crate) async fn create(&self, new: New) -> Result<Creation, RpcError> {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send((new, answer)).map_err(|_| RpcError {
            retry_after: Some(std::time::Duration::from_secs(1)),
            ..RpcError::new(Code::ResourceExhausted, "too many features arrive at once")
        })?;
        let answer = answered.await.map_err(|_| RpcError::new(Code::Unavailable, "the service is stopping"))?;
        answer.map_err(|error| rpc_error(&error))
    }
}

async fn work(store: Store, mut received: mpsc::Receiver<(New, oneshot::Sender<Answer>)>) -> Result<(), BoxError> {
    let mut together = Vec::with_capacity(TOGETHER);
    while received.recv_many(&mut together, TOGETHER).await > 0 {
        let (news, answers): (Vec<New>, Vec<_>) = together.drain(..).unzip();
        match store.create_all(news).await {
            // Whoever does not wait for the answer any more went away.
            Ok(creations) => answers.into_iter().zip(creations).for_each(|(answer, creation)| drop(answer.send(Ok(creation)))),
            Err(error) => {
                let error = Arc::new(error);
                answers.into_iter().for_each(|answer| drop(answer.send(Err(Arc::clone(&error)))));
            }
        }
    }
    Ok(())
}

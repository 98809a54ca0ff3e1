//! What the worker keeps of features, and the right to work on one: the database.

#[cfg(test)]
pub(crate) mod memory;

use std::future::Future;

use feature_api::feature::State;
use feature_store::{Failure, Feature, FeatureLock, Instruction, Move, Step, StepRun, StepType, Store, StoreError, Transition};
use serde_json::Value;
use uuid::Uuid;

/// The record of features; every change of a feature and the event that tells of it are one transaction.
pub(crate) trait Journal: Send + Sync + 'static {
    /// The right to work on one feature.
    type Lock: Send;

    /// Takes the lock of a feature, if nobody has it.
    fn lock(&self, feature: Uuid) -> impl Future<Output = Result<Option<Self::Lock>, StoreError>> + Send;
    /// Tells whether a lock still holds.
    fn holds(&self, lock: &mut Self::Lock) -> impl Future<Output = bool> + Send;
    /// Gives a lock back.
    fn release(&self, lock: Self::Lock) -> impl Future<Output = ()> + Send;
    /// Reads a feature.
    fn get(&self, feature: Uuid) -> impl Future<Output = Result<Feature, StoreError>> + Send;
    /// Reads a feature's state.
    fn state(&self, feature: Uuid) -> impl Future<Output = Result<State, StoreError>> + Send;
    /// Reads what is to be made.
    fn instruction(&self, feature: Uuid) -> impl Future<Output = Result<Instruction, StoreError>> + Send;
    /// Reads the steps so far.
    fn steps(&self, feature: Uuid) -> impl Future<Output = Result<Vec<Step>, StoreError>> + Send;
    /// Records that a step begins, or finds what it came to.
    fn begin(&self, feature: Uuid, step: StepType) -> impl Future<Output = Result<StepRun, StoreError>> + Send;
    /// Records what a step came to.
    fn finish(&self, feature: Uuid, step: StepType, output: &Value) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Records why a step failed, and what it left all the same.
    fn fail(
        &self,
        feature: Uuid,
        step: StepType,
        failure: &Failure,
        left: Option<&Value>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Tells that a repository can't be fetched.
    fn tell_clone_failed(&self, feature: Uuid, failure: &Failure) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Changes a feature's state, if it is in the one that is expected.
    fn transition(&self, feature: Uuid, wanted: &Move) -> impl Future<Output = Result<Transition, StoreError>> + Send;
}

impl Journal for Store {
    type Lock = FeatureLock;

    fn lock(&self, feature: Uuid) -> impl Future<Output = Result<Option<FeatureLock>, StoreError>> + Send {
        FeatureLock::try_acquire(self.pool(), feature)
    }

    async fn holds(&self, lock: &mut FeatureLock) -> bool {
        lock.is_held().await
    }

    async fn release(&self, lock: FeatureLock) {
        // Fails only if the connection broke, and with it the lock.
        drop(lock.release().await);
    }

    fn get(&self, feature: Uuid) -> impl Future<Output = Result<Feature, StoreError>> + Send {
        Self::get(self, feature)
    }

    fn state(&self, feature: Uuid) -> impl Future<Output = Result<State, StoreError>> + Send {
        Self::state(self, feature)
    }

    fn instruction(&self, feature: Uuid) -> impl Future<Output = Result<Instruction, StoreError>> + Send {
        Self::instruction(self, feature)
    }

    fn steps(&self, feature: Uuid) -> impl Future<Output = Result<Vec<Step>, StoreError>> + Send {
        Self::steps(self, feature)
    }

    fn begin(&self, feature: Uuid, step: StepType) -> impl Future<Output = Result<StepRun, StoreError>> + Send {
        self.begin_step(feature, step)
    }

    async fn finish(&self, feature: Uuid, step: StepType, output: &Value) -> Result<(), StoreError> {
        self.finish_step(feature, step, output).await.map(drop)
    }

    async fn fail(&self, feature: Uuid, step: StepType, failure: &Failure, left: Option<&Value>) -> Result<(), StoreError> {
        self.fail_step(feature, step, failure, left).await.map(drop)
    }

    async fn tell_clone_failed(&self, feature: Uuid, failure: &Failure) -> Result<(), StoreError> {
        Self::tell_clone_failed(self, feature, failure).await.map(drop)
    }

    fn transition(&self, feature: Uuid, wanted: &Move) -> impl Future<Output = Result<Transition, StoreError>> + Send {
        Self::transition(self, feature, wanted)
    }
}

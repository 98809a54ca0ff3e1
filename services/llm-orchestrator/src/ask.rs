//! Asking with patience: a place in the queue, repeats with growing waits, one more round for an answer that can't be used.
//!
//! A call holds its turn until it ends, also while it waits for a repeat: whoever is limited must not be asked by others meanwhile.
//! All of it is one future; dropped, it gives its turn back and breaks the request off.

use std::time::Duration;

use feature_api::llm::Usage;
use metrics::{counter, histogram};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::answer::Mistake;
use crate::client::{Client, Failure};
use crate::prompts::Function;
use crate::provider::{Answer, Question, Speaker, Stop, Turn};

/// Longest wait before a repeat that we choose ourselves.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How often an answer is asked for that can be used.
const ROUNDS: u32 = 2;

/// How long and how often the provider is asked.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// Longest time for all of it.
    pub(crate) total: Duration,
    /// Most requests for one round.
    pub(crate) tries: u32,
    /// Wait before the first repeat.
    pub(crate) backoff: Duration,
    /// Most calls at a time.
    pub(crate) concurrency: u32,
    /// Most calls that wait for their turn.
    pub(crate) queue: u32,
}

/// Asks the provider, for all calls of the service.
pub(crate) struct Asker {
    client: Client,
    patience: Patience,
    /// One for each call that runs or waits.
    places: Semaphore,
    /// One for each call that runs.
    turns: Semaphore,
}

/// What is asked for, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Purpose {
    /// What is asked for.
    pub(crate) function: Function,
    /// Step that asks.
    pub(crate) step_id: String,
}

/// One call while it is worked on.
struct Call<'a> {
    asker: &'a Asker,
    purpose: Purpose,
    deadline: Instant,
    usage: Usage,
}

/// An answer that can be used.
#[derive(Debug, PartialEq)]
pub(crate) struct Answered<T> {
    /// What was read of it.
    pub(crate) value: T,
    /// Model that answered.
    pub(crate) model: String,
    /// Tokens of all requests that it took.
    pub(crate) usage: Usage,
}

/// Why there is no answer that can be used.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error("{0} calls wait for their turn already (LLM_QUEUE)")]
    Full(u32),
    #[error("the calls before it took more than its {} s (LLM_TIMEOUT_SECONDS, LLM_CONCURRENCY)", .0.as_secs_f64())]
    NoTurn(Duration),
    #[error("no answer after {tries} of {most} tries")]
    Failed {
        tries: u32,
        most: u32,
        #[source]
        failure: Failure,
    },
    #[error("the answer reached max_tokens, {0}, and was cut off (BAML_MAX_TOKENS)")]
    CutOff(u32),
    #[error("the model declined to answer")]
    Declined,
    #[error("the model stopped for another reason: {0:?}")]
    Stopped(String),
    #[error("the model's answer can't be used, and neither could the one before: {0}")]
    Useless(Mistake),
}

impl Asker {
    /// Prepares calls to `client`.
    pub(crate) fn new(client: Client, patience: Patience) -> Self {
        let (turns, queue) = (permits(patience.concurrency), permits(patience.queue));
        let places = Semaphore::new(turns.saturating_add(queue).min(Semaphore::MAX_PERMITS));
        Self { client, patience, places, turns: Semaphore::new(turns) }
    }

    /// Asks until `read` can use an answer, or there is no hope or no time.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn ask<T>(
        &self,
        purpose: Purpose,
        question: Question,
        read: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Result<Answered<T>, AskError> {
        let deadline = Instant::now() + self.patience.total;
        let _place = self.places.try_acquire().map_err(|_| AskError::Full(self.patience.queue))?;
        let turn = timeout_at(deadline, self.turns.acquire()).await;
        // The semaphore is never closed.
        let _turn = turn.ok().and_then(Result::ok).ok_or(AskError::NoTurn(self.patience.total))?;
        Call { asker: self, purpose, deadline, usage: Usage::default() }.rounds(question, read).await
    }
}

impl Call<'_> {
    /// Asks, and once more if the answer can't be used.
    async fn rounds<T>(mut self, mut question: Question, read: impl Fn(&str) -> Result<T, Mistake>) -> Result<Answered<T>, AskError> {
        let mut round = 1;
        loop {
            let answer = self.tries(&question).await?;
            let used = use_answer(&answer, question.max_tokens, &read);
            self.count(used.is_ok());
            match used {
                Ok(value) => return Ok(Answered { value, model: answer.model, usage: self.usage }),
                Err(AskError::Useless(mistake)) if round < ROUNDS => {
                    tracing::warn!(function = self.name(), step_id = self.purpose.step_id, "the model's answer can't be used: {mistake}");
                    question.turns.extend(once_more(answer.text, &mistake));
                    round += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks until there is an answer, useful or not.
    async fn tries(&mut self, question: &Question) -> Result<Answer, AskError> {
        let most = self.asker.patience.tries;
        let mut tries = 1;
        loop {
            let failure = match self.request(question).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            self.count(false);
            if matches!(failure, Failure::RateLimit(..)) {
                counter!("llm_rate_limit_hits_total", "function" => self.name()).increment(1);
            }
            let wait = backoff(&self.asker.patience, tries, failure.retry_after(), rand::random());
            let hope = failure.is_transient() && tries < most && Instant::now() + wait < self.deadline;
            self.tell(&failure, tries, hope.then_some(wait));
            if !hope {
                return Err(AskError::Failed { tries, most, failure });
            }
            sleep(wait).await;
            tries += 1;
        }
    }

    /// Sends one request, within the time that the call has left.
    async fn request(&mut self, question: &Question) -> Result<Answer, Failure> {
        let started = Instant::now();
        let answer = timeout_at(self.deadline, self.asker.client.ask(question, &self.purpose.step_id)).await;
        let answer = answer.unwrap_or(Err(Failure::Late(self.asker.patience.total)));
        let seconds = started.elapsed().as_secs_f64();
        histogram!("llm_request_duration_seconds", "function" => self.name()).record(seconds);
        let answer = answer?;
        let Usage { input_tokens, output_tokens } = answer.usage;
        for (direction, tokens) in [("input", input_tokens), ("output", output_tokens)] {
            counter!("llm_tokens_total", "function" => self.name(), "direction" => direction).increment(tokens.into());
        }
        self.usage.input_tokens = self.usage.input_tokens.saturating_add(input_tokens);
        self.usage.output_tokens = self.usage.output_tokens.saturating_add(output_tokens);
        tracing::info!(
            function = self.name(),
            step_id = self.purpose.step_id,
            model = answer.model,
            seconds,
            input_tokens,
            output_tokens,
            "the model answered"
        );
        Ok(answer)
    }

    fn count(&self, success: bool) {
        let outcome = if success { "success" } else { "error" };
        counter!("llm_requests_total", "function" => self.name(), "outcome" => outcome).increment(1);
    }

    fn tell(&self, failure: &Failure, tries: u32, wait: Option<Duration>) {
        let (function, step_id, cause) = (self.name(), &self.purpose.step_id, failure.for_the_log());
        match wait {
            Some(wait) => tracing::warn!(function, step_id, tries, wait_seconds = wait.as_secs_f64(), "no answer, asking again: {cause}"),
            None => tracing::error!(function, step_id, tries, "no answer, giving up: {cause}"),
        }
    }

    fn name(&self) -> &'static str {
        self.purpose.function.name()
    }
}

fn permits(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Reads an answer that the model ended by itself.
fn use_answer<T>(answer: &Answer, max_tokens: u32, read: impl Fn(&str) -> Result<T, Mistake>) -> Result<T, AskError> {
    match &answer.stop {
        Stop::Complete => read(&answer.text).map_err(AskError::Useless),
        Stop::TokenLimit => Err(AskError::CutOff(max_tokens)),
        Stop::Declined => Err(AskError::Declined),
        Stop::Other(reason) => Err(AskError::Stopped(reason.chars().take(60).collect())),
    }
}

/// Returns the turns that name a mistake and ask for another answer.
fn once_more(text: String, mistake: &Mistake) -> [Turn; 2] {
    // Providers refuse empty messages.
    let text = if text.trim().is_empty() { "(no text)".to_owned() } else { text };
    let words = format!("Your answer can't be used: {mistake}. Answer again, the whole of it, in exactly the form that was asked for.");
    [Turn { speaker: Speaker::Model, text }, Turn { speaker: Speaker::User, text: words }]
}

/// Returns the wait after a number of tries: what the provider asks for, and on top of it half to all of our own, doubled with each try.
///
/// `chance` is from 0 to 1; it keeps calls that failed together from coming back together.
fn backoff(patience: &Patience, tries: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let own = patience.backoff.saturating_mul(2_u32.saturating_pow(tries - 1)).min(LONGEST_BACKOFF);
    asked.unwrap_or_default().saturating_add(own.mul_f64(0.5 + chance / 2.0))
}

#[cfg(test)]
mod tests;

//! What was asked, what is refused, and where a run is killed.

use std::fmt;

use provision_model::{GroupKind, ResourceId};

use crate::{Access, ClusterError, RequestCounts};

/// Address that errors name.
const SERVER: &str = "https://memory.invalid:6443";

/// What goes wrong at a request; requests count from 1 at the moment the fault is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client is killed before request `n` reaches the server: it and all later ones never answer and do nothing.
    HangBefore(u64),
    /// The client is killed after request `n` took effect: it never answers, all later ones do nothing.
    HangAfter(u64),
    /// Request `n` fails without an effect.
    FailBefore(u64, Failure),
    /// Request `n` takes effect, but its answer is lost on the way.
    FailAfter(u64),
}

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection breaks.
    Unreachable,
    /// The server asks to come back later.
    Throttled,
    /// The server fails by itself.
    Server,
    /// The server has a conflict of its own: of two writes that count against the same quota.
    Conflict,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Which cluster, what it serves, rights.
    Discover,
    /// All of a kind.
    List,
    /// One object.
    Get,
    /// Server-side apply.
    Apply,
    /// Server-side apply that is not kept.
    DryRun,
    /// Create.
    Create,
    /// Replace.
    Update,
    /// Delete.
    Delete,
    /// Watch.
    Watch,
    /// Logs.
    Logs,
    /// A request through a Service.
    Proxy,
}

/// One request that reached the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it asked for.
    pub verb: Verb,
    /// On what: an object, or a kind with its namespace for lists and watches (then without a name).
    pub target: Option<ResourceId>,
}

impl Request {
    pub(super) fn new(verb: Verb, target: &ResourceId) -> Self {
        Self { verb, target: Some(target.clone()) }
    }

    pub(super) fn of_kind(verb: Verb, kind: &GroupKind, namespace: Option<&str>) -> Self {
        Self { verb, target: Some(ResourceId { kind: kind.clone(), namespace: namespace.map(str::to_owned), name: String::new() }) }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.verb)?;
        self.target.as_ref().map_or(Ok(()), |target| write!(f, " {target}"))
    }
}

/// How a request ends, as far as hooks and faults decide.
pub(super) enum Gate {
    Open,
    HangBefore,
    HangAfter,
    Fail(ClusterError),
    FailAfter(ClusterError),
}

/// A rule that refuses writes of a kind.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) verbs: &'static [Verb],
    pub(super) kind: GroupKind,
    pub(super) message: String,
    pub(super) quota: bool,
}

/// Log of requests, and the rules that refuse them.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    pub(super) log: Vec<Request>,
    pub(super) counts: RequestCounts,
    pub(super) refusals: Vec<Refusal>,
    pub(super) forbidden: Vec<Access>,
    pub(super) expired: bool,
    pub(super) disconnected: bool,
    pub(super) fault: Option<Fault>,
    pub(super) since_fault: u64,
    pub(super) killed: bool,
}

impl Requests {
    /// Counts a request and decides how it ends.
    pub(super) fn admit(&mut self, request: &Request) -> Gate {
        if self.killed {
            return Gate::HangBefore;
        }
        self.since_fault += 1;
        let number = self.since_fault;
        match self.fault {
            Some(Fault::HangBefore(n)) if n == number => {
                self.killed = true;
                return Gate::HangBefore;
            }
            Some(Fault::FailBefore(n, failure)) if n == number => {
                self.note(request);
                return Gate::Fail(error_of(failure, request));
            }
            _ => {}
        }
        self.note(request);
        if let Some(error) = self.closed() {
            return Gate::Fail(error);
        }
        match self.fault {
            Some(Fault::HangAfter(n)) if n == number => {
                self.killed = true;
                Gate::HangAfter
            }
            Some(Fault::FailAfter(n)) if n == number => Gate::FailAfter(unreachable("the connection was reset before the answer")),
            _ => Gate::Open,
        }
    }

    /// Says why no request gets through at all, if that is so.
    pub(super) fn closed(&self) -> Option<ClusterError> {
        if self.disconnected {
            return Some(unreachable("connection refused"));
        }
        self.expired.then(|| ClusterError::Unauthorized { message: "Unauthorized: the token has expired".to_owned() })
    }

    /// Tells whether an open watch may have lost its ground.
    pub(super) fn may_break_watches(&self) -> bool {
        self.disconnected || self.expired || !self.forbidden.is_empty()
    }

    /// Says why the user may not do that, if so.
    pub(super) fn denied(&self, wanted: &Access, subject: &dyn fmt::Display) -> Option<ClusterError> {
        self.forbids(wanted).then(|| ClusterError::Forbidden {
            verb: wanted.verb.clone(),
            subject: subject.to_string(),
            message: format!("User \"test\" cannot {wanted}"),
        })
    }

    /// Tells whether a right is taken away.
    pub(super) fn forbids(&self, wanted: &Access) -> bool {
        self.forbidden.iter().any(|rule| {
            rule.verb == wanted.verb
                && rule.group == wanted.group
                && rule.resource == wanted.resource
                && (rule.namespace.is_none() || rule.namespace == wanted.namespace)
        })
    }

    /// Says which webhook or quota refuses a write, if one.
    pub(super) fn refused(&self, verb: Verb, id: &ResourceId) -> Option<ClusterError> {
        let rule = self.refusals.iter().find(|rule| rule.kind == id.kind && rule.verbs.contains(&verb))?;
        let (subject, message) = (id.to_string(), rule.message.clone());
        Some(if rule.quota { ClusterError::Quota { subject, message } } else { ClusterError::Admission { subject, message } })
    }

    fn note(&mut self, request: &Request) {
        self.log.push(request.clone());
        let counts = &mut self.counts;
        match request.verb {
            // Pages are counted when the listing is made.
            Verb::List => {}
            Verb::Get => counts.gets += 1,
            Verb::DryRun => counts.dry_runs += 1,
            Verb::Apply | Verb::Create | Verb::Update | Verb::Delete => counts.writes += 1,
            Verb::Watch => counts.watches += 1,
            Verb::Discover | Verb::Logs | Verb::Proxy => counts.others += 1,
        }
    }
}

fn unreachable(reason: &str) -> ClusterError {
    ClusterError::Unreachable { server: SERVER.to_owned(), source: reason.into() }
}

fn error_of(failure: Failure, request: &Request) -> ClusterError {
    match failure {
        Failure::Unreachable => unreachable("connection reset"),
        Failure::Throttled => ClusterError::Throttled { message: "too many requests, please try again later".to_owned() },
        Failure::Server => {
            ClusterError::Server { subject: request.to_string(), status: 500, message: "etcdserver: request timed out".to_owned() }
        }
        Failure::Conflict => ClusterError::Conflict {
            subject: request.to_string(),
            message: "Operation cannot be fulfilled on resourcequotas \"quota\": the object has been modified".to_owned(),
        },
    }
}

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use provision_apply::{ApplyError, ClusterError, RecordError};
use provision_config::{ConfigErrors, LoadError};
use provision_image::ImageError;
use provision_kube::ConnectError;
use provision_local::LocalError;
use provision_plan::PlanError;
use thiserror::Error;

use crate::exit::ExitStatus;

/// Everything that can end a command early, with what to do next.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum CliError {
    /// The asynchronous runtime can't start.
    #[error("failed to start")]
    Runtime {
        #[source]
        source: std::io::Error,
    },
    /// A flag that this verb needs is missing or makes no sense.
    #[error("{message}")]
    #[diagnostic(code(provision::usage))]
    Usage {
        message: String,
        #[help]
        help: String,
    },
    /// No project folder was found.
    #[error("there is no `environments/` folder in {}", .place)]
    #[diagnostic(code(provision::root), help("run it inside a project, or name the project with `--root DIR`"))]
    NoRoot { place: String },
    /// The project's files can't be read.
    #[error("failed to read the project")]
    #[diagnostic(code(provision::load), help("check the path and the permissions; nothing was changed"))]
    Load {
        #[source]
        source: LoadError,
    },
    /// The configuration or a template is wrong.
    #[error("{} in the configuration; nothing was changed", problems(.0))]
    #[diagnostic(code(provision::config))]
    Config(ConfigErrors),
    /// The objects can't be put in order.
    #[error("failed to plan")]
    #[diagnostic(code(provision::plan), help("remove one of the dependencies; nothing was changed"))]
    Plan {
        #[source]
        source: PlanError,
    },
    /// A check found something that must not be applied.
    #[error("{count} finding{} must be settled first; nothing was changed", plural(*.count))]
    #[diagnostic(code(provision::findings), help("each finding above says what to do"))]
    Findings { count: usize, exit: ExitStatus },
    /// The kubeconfig can't be used.
    #[error("failed to prepare the connection to the cluster")]
    #[diagnostic(code(provision::connect), help("check `--kubeconfig` and `--context`; `kubectl config get-contexts` lists what there is"))]
    Connect {
        #[source]
        source: ConnectError,
    },
    /// What runs the objects of this machine can't be reached.
    #[error("failed to reach what runs the platform on this machine")]
    #[diagnostic(code(provision::local))]
    Local {
        #[source]
        source: Box<LocalError>,
        #[help]
        help: String,
    },
    /// The cluster refused or can't be reached.
    #[error("failed to {action}")]
    #[diagnostic(code(provision::cluster))]
    Cluster {
        action: String,
        #[source]
        source: Box<ClusterError>,
        #[help]
        help: String,
    },
    /// A run can't begin or can't go on.
    #[error("failed to carry the plan out")]
    #[diagnostic(code(provision::apply))]
    Apply {
        #[source]
        source: Box<ApplyError>,
        #[help]
        help: String,
    },
    /// A file can't be read or written.
    #[error("failed to {action} {}", .path.display())]
    #[diagnostic(code(provision::file), help("check the path, the permissions and the free space"))]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file's content can't be used.
    #[error("{} can't be used: {reason}", .path.display())]
    #[diagnostic(code(provision::content))]
    Content {
        path: PathBuf,
        reason: String,
        #[help]
        help: String,
    },
    /// A safety rule says no.
    #[error("refused: {message}")]
    #[diagnostic(code(provision::refused))]
    Refused {
        message: String,
        #[help]
        help: String,
    },
    /// An image can't be built or pushed.
    #[error("failed to {action} the image of {name}")]
    #[diagnostic(code(provision::image))]
    Image {
        action: &'static str,
        name: String,
        #[source]
        source: Box<ImageError>,
        #[help]
        help: String,
    },
    /// Signals can't be listened to.
    #[error("failed to listen for Ctrl-C")]
    Signals {
        #[source]
        source: std::io::Error,
    },
    /// Output can't be written.
    #[error("failed to write the output")]
    Output {
        #[source]
        source: std::io::Error,
    },
}

impl CliError {
    /// Returns the exit code of the contract.
    pub(crate) fn exit(&self) -> ExitStatus {
        match self {
            Self::Usage { .. } | Self::NoRoot { .. } | Self::Load { .. } | Self::Config(_) | Self::Plan { .. } | Self::Content { .. } => {
                ExitStatus::Invalid
            }
            Self::Findings { exit, .. } => *exit,
            Self::Refused { .. } => ExitStatus::Refused,
            Self::Local { source, .. } if matches!(**source, LocalError::Newer { .. }) => ExitStatus::Refused,
            Self::Apply { source, .. } if is_of_another_environment(source) => ExitStatus::Refused,
            Self::Apply { source, .. } if matches!(**source, ApplyError::NotRecorded { .. }) => ExitStatus::Invalid,
            Self::Runtime { .. }
            | Self::Connect { .. }
            | Self::Local { .. }
            | Self::Cluster { .. }
            | Self::Apply { .. }
            | Self::File { .. }
            | Self::Image { .. }
            | Self::Signals { .. }
            | Self::Output { .. } => ExitStatus::Failed,
        }
    }

    /// Wraps a refusal of the cluster with what to do about it.
    pub(crate) fn cluster(action: impl Into<String>, source: ClusterError) -> Self {
        let help = cluster_help(&source).to_owned();
        Self::Cluster { action: action.into(), source: Box::new(source), help }
    }
}

impl CliError {
    /// Wraps a failure to reach the supervisor of this machine with what to do about it.
    pub(crate) fn local(source: LocalError) -> Self {
        let log = |path: &Path| path.join("logs/supervisor.log").display().to_string();
        let help = match &source {
            LocalError::Newer { .. } => "use the newer version of the program, or name another folder with `--state DIR`".to_owned(),
            LocalError::State { .. } => {
                "check the owner, the permissions and the free space of the state folder, or name another one with `--state DIR`".to_owned()
            }
            LocalError::Start { .. } => "check that the program is there and may be started".to_owned(),
            LocalError::Ended { path, .. } | LocalError::Silent { path, .. } => {
                format!("settle what it says and run it again; its log is {}; `--state DIR` names another folder", log(path))
            }
        };
        Self::Local { source: Box::new(source), help }
    }

    /// Wraps a failure of the executor with what to do about it.
    pub(crate) fn apply(source: ApplyError) -> Self {
        let help = match (&source, source.cluster()) {
            (_, Some(cluster)) => cluster_help(cluster).to_owned(),
            (ApplyError::NotRecorded { .. }, None) => "`provision history` lists the recorded releases".to_owned(),
            (source, None) if is_of_another_environment(source) => {
                "rename one of the environments or regions, or give this one another `policy.state_namespace`".to_owned()
            }
            (ApplyError::Secret(_), None) => "the cause above says how to provide it; nothing was changed".to_owned(),
            (_, None) => "run it again; if it stays, report it with the text above".to_owned(),
        };
        Self::Apply { source: Box::new(source), help }
    }
}

fn is_of_another_environment(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Record(RecordError::OtherEnvironment { .. }))
}

fn cluster_help(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::Server { status: 507, .. } => "make space on the disk of the state folder, then run it again or `provision resume`",
        ClusterError::Unreachable { server, .. } if server.starts_with('/') => {
            "run it again: each command starts the supervisor of this machine anew; its log is `logs/supervisor.log` in the state folder"
        }
        ClusterError::Unauthorized { .. } => "log in again: the token or certificate in the kubeconfig is wrong or has expired",
        ClusterError::Unreachable { .. } => {
            "check that the API server runs and that the address in the kubeconfig is right (`kubectl version`)"
        }
        ClusterError::Forbidden { .. } => "ask for the right that is named above, or use another context",
        ClusterError::Throttled { .. } | ClusterError::Server { .. } => "try again in a moment; if it stays, look at the API server",
        ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. } => "someone else changed it at the same time: run it again",
        ClusterError::Invalid { .. } => "correct the template or the value that makes this field (`provision explain`)",
        ClusterError::Admission { .. } => "satisfy the policy or webhook that is named above, or ask its owner",
        ClusterError::Quota { .. } => "raise the quota or lower the requests",
        ClusterError::NotFound { .. } => "check that the cluster has what is named above",
        ClusterError::Other { .. } => "run it again; if it stays, report it with the text above",
    }
}

fn problems(errors: &ConfigErrors) -> String {
    let count = errors.problems.len();
    format!("{count} problem{}", plural(count))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_another_environment_is_a_refusal_and_the_help_says_how_to_part_them() {
        let (theirs, ours) = ("environment `prod-us` in region `east`".to_owned(), "environment `prod` in region `us-east`".to_owned());
        let release = provision_model::ReleaseName::of(&"prod".parse().unwrap(), Some(&"us-east".parse().unwrap())).unwrap();
        let error = CliError::apply(RecordError::OtherEnvironment { release, theirs, ours }.into());
        assert_eq!(error.exit(), ExitStatus::Refused);
        assert!(matches!(&error, CliError::Apply { help, .. } if help.contains("policy.state_namespace")), "{error:?}");
    }
}

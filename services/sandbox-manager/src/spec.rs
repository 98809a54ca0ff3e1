//! What a request asks to run, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use feature_api::sandbox;
use thiserror::Error;
use uuid::Uuid;

/// Most bytes of command and variables together: the system passes them on in one piece.
const LARGEST: usize = 32 << 10;

/// Where programs are looked for if neither the request nor the image says so.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a sandbox may use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// CPUs.
    pub(crate) cpus: f64,
    /// Memory, in MiB.
    pub(crate) memory_mib: u32,
    /// Longest run.
    pub(crate) timeout: Duration,
    /// Output that is kept, in KiB for each stream.
    pub(crate) output_kib: u32,
    /// Processes and threads.
    pub(crate) processes: u32,
    /// Size of the workspace, in MiB.
    pub(crate) workspace_mib: u32,
}

/// A command and its limits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    /// Step that asks.
    pub(crate) id: Uuid,
    /// Command and arguments.
    pub(crate) command: Vec<String>,
    /// Variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Limits.
    pub(crate) limits: Limits,
}

/// Why a spec is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum SpecError {
    /// Not a UUID.
    #[error("id is not a UUID")]
    Id,
    /// No command, or an empty one.
    #[error("command is empty")]
    Command,
    /// A text with NUL, or a variable's name that is none.
    #[error("command or environment holds a character that it may not hold")]
    Character,
    /// Too much of it.
    #[error("command and environment are larger than {LARGEST} bytes")]
    Size,
    /// A limit that is above the service's own, or zero.
    #[error("limit {0} must be above 0 and at most the service's own, {1}")]
    Limit(&'static str, String),
}

impl Spec {
    /// Checks a spec against the service's own limits, which stand for those that are not set.
    ///
    /// # Errors
    /// [`SpecError`] with the first thing that is wrong.
    pub(crate) fn check(spec: sandbox::Spec, own: &Limits) -> Result<Self, SpecError> {
        let id = spec.id.parse().map_err(|_| SpecError::Id)?;
        if spec.command.first().is_none_or(String::is_empty) {
            return Err(SpecError::Command);
        }
        let environment: BTreeMap<String, String> = spec.environment.into_iter().collect();
        let named = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        let texts = spec.command.iter().chain(environment.values());
        if !environment.keys().all(named) || texts.clone().any(|text| text.contains('\0')) {
            return Err(SpecError::Character);
        }
        if texts.chain(environment.keys()).map(|text| text.len() + 1).sum::<usize>() > LARGEST {
            return Err(SpecError::Size);
        }
        Ok(Self { id, command: spec.command, environment, limits: own.within(&spec.limits.unwrap_or_default())? })
    }

    /// Returns all variables of the command: its own before those of the `image`, and those before what every command has.
    pub(crate) fn variables(&self, image: &BTreeMap<String, String>, home: &str, tmp: &str) -> BTreeMap<String, String> {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut all: BTreeMap<_, _> = [("PATH", SEARCH_PATH), ("LANG", "C.UTF-8")].map(pair).into();
        all.extend(image.clone());
        all.extend([("HOME", home), ("TMPDIR", tmp)].map(pair));
        all.extend(self.environment.clone());
        all
    }
}

impl Limits {
    /// Returns the memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        u64::from(self.memory_mib) << 20
    }

    /// Returns the size of the workspace, in bytes.
    pub(crate) fn workspace(&self) -> u64 {
        u64::from(self.workspace_mib) << 20
    }

    /// Returns the most seconds of CPU that one process can use within the time.
    pub(crate) fn cpu_seconds(&self) -> u64 {
        (self.timeout.as_secs_f64() * self.cpus).ceil().clamp(1.0, 1e9) as u64 + 1
    }

    fn within(&self, asked: &sandbox::Limits) -> Result<Self, SpecError> {
        let count = |name, asked: Option<u32>, own: u32| match asked {
            Some(asked) if asked == 0 || asked > own => Err(SpecError::Limit(name, own.to_string())),
            asked => Ok(asked.unwrap_or(own)),
        };
        let cpus = asked.cpus.unwrap_or(self.cpus);
        // Also refuses what is no number.
        if !(cpus > 0.0 && cpus <= self.cpus) {
            return Err(SpecError::Limit("cpus", self.cpus.to_string()));
        }
        let seconds = u32::try_from(self.timeout.as_secs()).unwrap_or(u32::MAX);
        Ok(Self {
            cpus,
            memory_mib: count("memory_mib", asked.memory_mib, self.memory_mib)?,
            timeout: Duration::from_secs(count("timeout_seconds", asked.timeout_seconds, seconds)?.into()),
            output_kib: count("output_kib", asked.output_kib, self.output_kib)?,
            processes: count("processes", asked.processes, self.processes)?,
            workspace_mib: count("workspace_mib", asked.workspace_mib, self.workspace_mib)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Limits {
        Limits { cpus: 2.0, memory_mib: 512, timeout: Duration::from_secs(60), output_kib: 64, processes: 100, workspace_mib: 200 }
    }

    fn spec() -> sandbox::Spec {
        sandbox::Spec { id: "01900000-0000-7000-8000-000000000001".into(), command: vec!["true".into()], ..sandbox::Spec::default() }
    }

    #[test]
    fn limits_that_are_not_set_are_the_services_own() {
        assert_eq!(Spec::check(spec(), &own()).unwrap().limits, own());
        let limits = sandbox::Limits { cpus: Some(0.5), memory_mib: Some(512), timeout_seconds: Some(1), ..sandbox::Limits::default() };
        let taken = Spec::check(sandbox::Spec { limits: Some(limits), ..spec() }, &own()).unwrap().limits;
        assert_eq!(taken, Limits { cpus: 0.5, memory_mib: 512, timeout: Duration::from_secs(1), ..own() });
    }

    #[test]
    fn a_commands_own_variables_come_first() {
        let mut spec = Spec::check(spec(), &own()).unwrap();
        spec.environment = [("A".to_owned(), "own".to_owned())].into();
        let image = [("A", "image"), ("PATH", "/image"), ("HOME", "/root")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all = spec.variables(&image.into(), "/home", "/tmp");
        let shown: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=own", "HOME=/home", "LANG=C.UTF-8", "PATH=/image", "TMPDIR=/tmp"]);
    }

    #[test]
    fn what_can_not_be_run_is_refused() {
        let limits = |limits| sandbox::Spec { limits: Some(limits), ..spec() };
        let variable = |name: &str, value: &str| sandbox::Spec { environment: [(name.into(), value.into())].into(), ..spec() };
        for (spec, error) in [
            (sandbox::Spec { id: "../x".into(), ..spec() }, SpecError::Id),
            (sandbox::Spec { command: vec![], ..spec() }, SpecError::Command),
            (sandbox::Spec { command: vec![String::new()], ..spec() }, SpecError::Command),
            (sandbox::Spec { command: vec!["a\0".into()], ..spec() }, SpecError::Character),
            (sandbox::Spec { command: vec!["a".repeat(LARGEST)], ..spec() }, SpecError::Size),
            (variable("A=B", "x"), SpecError::Character),
            (variable("", "x"), SpecError::Character),
            (variable("A", "\0"), SpecError::Character),
            (limits(sandbox::Limits { cpus: Some(2.1), ..Default::default() }), SpecError::Limit("cpus", "2".into())),
            (limits(sandbox::Limits { cpus: Some(f64::NAN), ..Default::default() }), SpecError::Limit("cpus", "2".into())),
            (limits(sandbox::Limits { memory_mib: Some(513), ..Default::default() }), SpecError::Limit("memory_mib", "512".into())),
            (limits(sandbox::Limits { timeout_seconds: Some(0), ..Default::default() }), SpecError::Limit("timeout_seconds", "60".into())),
        ] {
            assert_eq!(Spec::check(spec, &own()), Err(error));
        }
    }
}

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Catalogue;
use crate::image::{self, DEFAULT_PATH, NoProgram};
use crate::keeper::{Identity, LaunchSpec, RUN_VARIABLE};
use crate::kubelet::{WantedContainer, WantedPod};
use crate::limits::Enforced;
use crate::volumes::Paths;

/// Why a container can't be started; the message is what its status says.
#[derive(Debug, Error)]
pub(super) enum Obstacle {
    /// No program stands for the image.
    #[error("{source}")]
    Image {
        /// Why.
        source: NoProgram,
    },
    /// Something else, in whole.
    #[error("{message}")]
    Create {
        /// What.
        message: String,
    },
}

/// What a container is made of besides its own words.
pub(super) struct Parts<'p> {
    pub(super) pod: &'p WantedPod,
    pub(super) paths: &'p Paths,
    pub(super) catalogue: &'p Catalogue,
    pub(super) identity: Option<Identity>,
}

impl Parts<'_> {
    /// Says how the program of a container is started.
    pub(super) fn launch(&self, container: &WantedContainer, run: &str, enforced: Enforced) -> Result<LaunchSpec, Obstacle> {
        let image = self.catalogue.program(&container.image).map_err(|source| Obstacle::Image { source })?;
        let env = self.env(container, run);
        let (program, args) = self.program(container, &image, &env)?;
        let cwd = container.working_dir.as_ref().map_or_else(|| PathBuf::from("/"), |folder| self.rewritten(folder));
        Ok(LaunchSpec {
            program,
            args,
            env,
            cwd,
            identity: self.identity.clone(),
            groups: enforced.groups,
            data_limit: enforced.data,
            failure: None,
            parent: 0,
        })
    }

    /// Says how a command beside a running container is started.
    pub(super) fn beside(&self, container: &WantedContainer, launch: &LaunchSpec, command: &[String]) -> Result<LaunchSpec, Obstacle> {
        let image = self.catalogue.program(&container.image).map_err(|source| Obstacle::Image { source })?;
        let with = WantedContainer { command: command.to_vec(), args: Vec::new(), ..container.clone() };
        let (program, args) = self.program(&with, &image, &launch.env)?;
        Ok(LaunchSpec { program, args, ..launch.clone() })
    }

    fn program(&self, container: &WantedContainer, image: &Path, env: &[(String, String)]) -> Result<(PathBuf, Vec<String>), Obstacle> {
        let mut words = container.command.iter().chain(&container.args).map(|word| self.paths.rewrite(word));
        if container.command.is_empty() {
            return Ok((image.to_owned(), words.collect()));
        }
        let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
        let name = words.next().unwrap_or_default();
        let program = image::command(&name, image, path).map_err(|error| Obstacle::Create { message: error.to_string() })?;
        Ok((program, words.collect()))
    }

    fn rewritten(&self, folder: &Path) -> PathBuf {
        PathBuf::from(self.paths.rewrite(&folder.to_string_lossy()))
    }

    /// Returns all variables: the last of a name counts, and what every container has comes first.
    fn env(&self, container: &WantedContainer, run: &str) -> Vec<(String, String)> {
        let mut env = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOSTNAME".to_owned(), self.pod.name.clone())];
        // Programs that ask for a temporary folder get the volume that is mounted there.
        env.extend(self.paths.real("/tmp").map(|real| ("TMPDIR".to_owned(), real)));
        env.extend(container.env.iter().map(|(name, value)| (name.clone(), self.paths.rewrite(value))));
        env.push((RUN_VARIABLE.to_owned(), run.to_owned()));
        let mut kept: Vec<(String, String)> = Vec::new();
        for (name, value) in env {
            match kept.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => kept.push((name, value)),
            }
        }
        kept
    }
}

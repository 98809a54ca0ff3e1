//! What models are told to do: one text for each function, as files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// A plan of a change.
    Plan,
    /// A change as a patch.
    Patch,
}

impl Function {
    /// Returns its name in logs, labels and prompts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Patch => "patch",
        }
    }
}

/// The system prompts.
pub(crate) struct Prompts {
    plan: String,
    patch: String,
}

#[derive(Debug, Error)]
pub(crate) enum PromptError {
    #[error("failed to read prompt {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("the first line of prompt {} is not `function: {}`", .0.display(), .1)]
    Function(PathBuf, &'static str),
}

impl Prompts {
    /// Takes the built-in prompts, and instead of them the files of `folder` that are there.
    ///
    /// # Errors
    /// If a file can't be read, or its first line does not name its function.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, PromptError> {
        let load = |function: Function, own: &str| match folder {
            Some(folder) => {
                read(folder.join(format!("{}.md", function.name())), function).map(|text| text.unwrap_or_else(|| own.to_owned()))
            }
            None => Ok(own.to_owned()),
        };
        Ok(Self {
            plan: load(Function::Plan, include_str!("../prompts/plan.md"))?,
            patch: load(Function::Patch, include_str!("../prompts/patch.md"))?,
        })
    }

    /// Returns the prompt of a function.
    pub(crate) fn of(&self, function: Function) -> &str {
        match function {
            Function::Plan => &self.plan,
            Function::Patch => &self.patch,
        }
    }
}

fn read(path: PathBuf, function: Function) -> Result<Option<String>, PromptError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PromptError::Read(path, error)),
    };
    let named = text.lines().next().is_some_and(|line| line.trim_end() == format!("function: {}", function.name()));
    if named { Ok(Some(text)) } else { Err(PromptError::Function(path, function.name())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_each_built_in_prompt_names_its_function() {
        let prompts = Prompts::load(None).unwrap();
        for function in [Function::Plan, Function::Patch] {
            assert_eq!(prompts.of(function).lines().next(), Some(format!("function: {}", function.name()).as_str()));
        }
    }

    #[test]
    fn files_of_a_folder_stand_in_for_the_built_in_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plan.md"), "function: plan\nBe brief.\n").unwrap();
        let prompts = Prompts::load(Some(folder.path())).unwrap();
        assert_eq!(prompts.of(Function::Plan), "function: plan\nBe brief.\n");
        assert_eq!(prompts.of(Function::Patch), include_str!("../prompts/patch.md"), "what is not there is not replaced");
        fs::write(folder.path().join("patch.md"), "function: plan\n").unwrap();
        let error = Prompts::load(Some(folder.path())).err().unwrap().to_string();
        assert!(error.contains("patch.md is not `function: patch`"), "{error}");
    }
}

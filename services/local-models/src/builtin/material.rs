//! What the orchestrator shows of a feature: an instruction and the repository's paths, in blocks.

use std::collections::BTreeSet;

/// Longest file name without its ending, in bytes.
const NAME: usize = 60;

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Material {
    instruction: String,
    tree: BTreeSet<String>,
}

impl Material {
    /// Reads the blocks of a message; those that are missing are empty.
    pub(crate) fn read(text: &str) -> Self {
        let tree =
            block(text, "tree").unwrap_or_default().lines().map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect();
        // A block's text can't hold a tag of a block; it was written so.
        let instruction = block(text, "instruction").unwrap_or_default().trim().replace("&lt;", "<");
        Self { instruction, tree }
    }

    /// Returns the paths of the repository's files.
    pub(crate) fn tree(&self) -> impl Iterator<Item = &str> {
        self.tree.iter().map(String::as_str)
    }

    /// Tells whether the instruction holds `[mark]`.
    pub(crate) fn marked(&self, mark: &str) -> bool {
        self.marks().any(|found| found == mark)
    }

    /// Returns N if the instruction holds `[mark:N]`.
    pub(crate) fn number(&self, mark: &str) -> Option<u64> {
        self.marks().find_map(|found| found.strip_prefix(mark)?.strip_prefix(':')?.parse().ok())
    }

    fn marks(&self) -> impl Iterator<Item = &str> {
        self.instruction.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(mark, _)| mark)
    }

    /// Returns the path of the file to make: one that is not there yet, of letters, digits and dashes.
    pub(crate) fn target(&self) -> String {
        let name = slug(&self.words());
        let path = |number: usize| match number {
            1 => format!("features/{name}.md"),
            _ => format!("features/{name}-{number}.md"),
        };
        // One of them is free: there is one more than there are files.
        (1..=self.tree.len() + 1).map(path).find(|path| !self.tree.contains(path)).unwrap_or_default()
    }

    /// Returns the text of the file to make.
    pub(crate) fn page(&self) -> String {
        format!("# Feature\n\n{}\n", self.instruction)
    }

    /// Returns the instruction without what stands in brackets.
    fn words(&self) -> String {
        let mut parts = self.instruction.split('[');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |words, part| words + " " + part.split_once(']').map_or(part, |(_, rest)| rest))
    }
}

/// Returns what stands between the tags of a block.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

/// Returns a file's name made of the words of a text.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(NAME);
    match slug.trim_end_matches('-') {
        "" => "change".to_owned(),
        slug => slug.to_owned(),
    }
}

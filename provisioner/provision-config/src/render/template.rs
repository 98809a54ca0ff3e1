//! Template files become trees of programs; everything that is wrong with them is found here, before any value is known.

mod directives;

use std::collections::BTreeMap;

use provision_model::{Finding, annotations};
use serde_json::Value as Json;

use super::program::{self, Program};
use crate::Sources;
use crate::tree::{Content, NodeId, Place, ReadRules, Tree, plain_value, read_documents};
pub(crate) use directives::source;

/// A scalar that is computed.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) program: Program,
    pub(crate) place: Place,
    /// Number under which the compiled program is kept.
    pub(crate) slot: usize,
}

/// A key of a map.
#[derive(Debug)]
pub(crate) enum Key {
    Literal(String),
    Computed(Scalar),
}

/// One entry of a map.
#[derive(Debug)]
pub(crate) struct TemplateEntry {
    pub(crate) key: Key,
    pub(crate) value: Template,
    /// Whether it is the annotation that names dependencies, whose place is remembered.
    pub(crate) dependencies: bool,
}

/// `$for`.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) names: Vec<String>,
    pub(crate) items: Scalar,
}

/// What a map with directives stands for.
#[derive(Debug)]
pub(crate) enum Body {
    Map { merges: Vec<Template>, entries: Vec<TemplateEntry> },
    Value(Box<Template>),
    Include { fragment: usize, with: Vec<(String, Template)> },
}

/// A map with everything that its directives say.
#[derive(Debug)]
pub(crate) struct TemplateMap {
    pub(crate) condition: Option<Scalar>,
    /// Whether the condition reads a name of `lets`, which must then be computed first.
    pub(crate) condition_reads_lets: bool,
    pub(crate) repeat: Option<Loop>,
    pub(crate) lets: Vec<(String, Template)>,
    pub(crate) body: Body,
    pub(crate) place: Place,
}

/// A value of a template.
#[derive(Debug)]
pub(crate) enum Template {
    Literal(Json, Place),
    Scalar(Scalar),
    List(Vec<Template>, Place),
    Map(Box<TemplateMap>),
}

impl Template {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Literal(_, place) | Self::List(_, place) => *place,
            Self::Scalar(scalar) => scalar.place,
            Self::Map(map) => map.place,
        }
    }
}

/// All templates of a project, ready to be evaluated.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    pub(crate) tree: Tree,
    /// Documents that become objects, in order of files and places in them.
    pub(crate) documents: Vec<Template>,
    pub(crate) fragments: Vec<Template>,
    /// Sources of the computed scalars by slot, with their places.
    pub(crate) sources: Vec<(Program, Place)>,
    /// Every name that any template mentions.
    pub(crate) mentioned: std::collections::HashSet<String>,
}

/// Where a value stands, which decides whether `$for` makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// A document, an item of a list or of `$merge`.
    Item,
    /// The value of a key.
    Value,
}

pub(super) struct Compiler {
    templates: Templates,
    fragment_numbers: BTreeMap<String, usize>,
    /// Which fragments a fragment includes, and where.
    includes: Vec<Vec<(usize, Place)>>,
    current: Option<usize>,
    findings: Vec<Finding>,
}

/// Reads and compiles every template.
///
/// # Errors
/// Findings with their places: YAML, directives, expressions, includes.
pub(crate) fn compile(sources: &Sources) -> Result<Templates, Vec<Finding>> {
    let mut compiler = Compiler {
        templates: Templates::default(),
        fragment_numbers: BTreeMap::new(),
        includes: Vec::new(),
        current: None,
        findings: Vec::new(),
    };
    let mut fragments = Vec::new();
    let mut documents = Vec::new();
    for (path, text) in sources.templates() {
        if path.starts_with("templates/crds/") {
            continue;
        }
        let rules = ReadRules { merge_tags: false, single_document: false };
        match read_documents(&mut compiler.templates.tree, path, text, rules) {
            Ok(found) if is_fragment(path) => {
                if let [one] = found.as_slice() {
                    let name = path.strip_prefix("templates/").unwrap_or(path);
                    compiler.fragment_numbers.insert(name.to_owned(), fragments.len());
                    fragments.push(*one);
                } else {
                    let origin = provision_model::Origin::new(path, 1, 1);
                    let message = format!("a fragment holds one document; this one has {}", found.len());
                    compiler.findings.push(Finding::fatal("fragment-documents", message).at(origin));
                }
            }
            Ok(found) => documents.extend(found),
            Err(findings) => compiler.findings.extend(findings),
        }
    }
    compiler.includes = (0..fragments.len()).map(|_| Vec::new()).collect();
    for (number, fragment) in fragments.into_iter().enumerate() {
        compiler.current = Some(number);
        let compiled = compiler.template(fragment, Position::Item);
        compiler.templates.fragments.push(compiled);
    }
    compiler.current = None;
    for document in documents {
        let compiled = compiler.template(document, Position::Item);
        compiler.templates.documents.push(compiled);
    }
    compiler.cycles();
    if compiler.findings.is_empty() { Ok(compiler.templates) } else { Err(compiler.findings) }
}

fn is_fragment(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('_'))
}

impl Compiler {
    pub(super) fn fail(&mut self, place: Place, code: &str, message: impl Into<String>) -> &mut Finding {
        let origin = self.templates.tree.origin(place);
        self.findings.push(Finding::fatal(code, message).at(origin));
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    pub(super) fn template(&mut self, node: NodeId, position: Position) -> Template {
        let place = self.templates.tree.node(node).place;
        match self.templates.tree.node(node).content.clone() {
            Content::Scalar { text, plain } => match program::read(&text) {
                Some(program) => Template::Scalar(self.scalar(program, &text, place)),
                None if plain => Template::Literal(plain_value(&text), place),
                None => Template::Literal(Json::from(text), place),
            },
            Content::List(items) => Template::List(items.into_iter().map(|item| self.template(item, Position::Item)).collect(), place),
            Content::Map(entries) => self.map(entries, place, position),
        }
    }

    pub(super) fn scalar(&mut self, program: Program, text: &str, place: Place) -> Scalar {
        self.templates.mentioned.extend(program::names(text).into_iter().flatten());
        self.templates.mentioned.extend(quoted_words(text));
        let slot = self.templates.sources.len();
        self.templates.sources.push((program.clone(), place));
        Scalar { program, place, slot }
    }

    pub(super) fn entry(&mut self, entry: crate::tree::Entry) -> TemplateEntry {
        let key = match program::read(&entry.key) {
            Some(program) => Key::Computed(self.scalar(program, &entry.key, entry.key_place)),
            None => Key::Literal(entry.key.clone()),
        };
        let value = self.template(entry.value, Position::Value);
        TemplateEntry { key, value, dependencies: entry.key == annotations::DEPENDS_ON }
    }

    /// Finds a fragment for an include and notes who includes whom.
    pub(super) fn fragment(&mut self, name: &str, place: Place) -> Option<usize> {
        let Some(number) = self.fragment_numbers.get(name).copied() else {
            let near = crate::suggest::nearest(name, self.fragment_numbers.keys().map(String::as_str)).map(str::to_owned);
            let known = crate::suggest::listed(self.fragment_numbers.keys().map(String::as_str));
            let finding = self.fail(place, "unknown-fragment", format!("there is no fragment `templates/{name}`"));
            finding.help = Some(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("fragments start with `_`; there are {known}"),
            });
            return None;
        };
        if let Some(current) = self.current {
            self.includes[current].push((number, place));
        }
        Some(number)
    }

    /// Reports every cycle of includes once, with its whole way.
    fn cycles(&mut self) {
        let names: BTreeMap<usize, String> = self.fragment_numbers.iter().map(|(name, number)| (*number, name.clone())).collect();
        let mut reported: Vec<Vec<usize>> = Vec::new();
        for start in 0..self.includes.len() {
            let Some(way) = self.way_back(start, start, &mut Vec::new()) else { continue };
            let mut members: Vec<usize> = way.iter().map(|(number, _)| *number).collect();
            members.sort_unstable();
            if reported.contains(&members) {
                continue;
            }
            reported.push(members);
            let name = |number: &usize| names.get(number).cloned().unwrap_or_default();
            let mut text = name(&start);
            for (number, _) in &way {
                text.push_str(" -> ");
                text.push_str(&name(number));
            }
            let places: Vec<_> = way.iter().map(|(_, place)| self.templates.tree.origin(*place)).collect();
            self.findings
                .push(Finding { origins: places, ..Finding::fatal("include-cycle", format!("includes go round in a circle: {text}")) });
        }
    }

    fn way_back(&self, from: usize, to: usize, seen: &mut Vec<usize>) -> Option<Vec<(usize, Place)>> {
        seen.push(from);
        for (next, place) in &self.includes[from] {
            if *next == to {
                return Some(vec![(*next, *place)]);
            }
            if !seen.contains(next)
                && let Some(rest) = self.way_back(*next, to, seen)
            {
                return Some([vec![(*next, *place)], rest].concat());
            }
        }
        None
    }
}

/// Lists the words in quotes, since `values.config['KEY']` mentions a key too.
fn quoted_words(text: &str) -> Vec<String> {
    text.split(['\'', '"']).skip(1).step_by(2).map(str::to_owned).collect()
}
